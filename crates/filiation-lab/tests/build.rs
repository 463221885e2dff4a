//! A whole set, small: same bytes twice, kept where finished, made anew where something changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use filiation_core::Role;
use filiation_lab::{Hiding, LabError, Progress, Recipe, Signal, Tie, build};
use tempfile::TempDir;

const RECIPE: &str = include_str!("small.toml");

fn recipe() -> Recipe {
    let recipe: Recipe = toml::from_str(RECIPE).expect("parses");
    recipe.check().expect("sound");
    recipe
}

/// A folder with a source of 400 made-up definitions.
fn text() -> TempDir {
    let folder = TempDir::new().expect("folder");
    let kinds = ["a small bird", "any of various trees", "the act of asking"];
    let places = [
        "of the north",
        "with long leaves",
        "that is kept in a house",
    ];
    let lines: String = (0..400)
        .map(|i| format!("{} {}, {i} in all\n", kinds[i % 3], places[i / 3 % 3]))
        .collect();
    fs::write(folder.path().join("made-up.txt"), lines).expect("writes");
    folder
}

/// Path below `root` and content of every file.
fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for model in fs::read_dir(root).expect("folder") {
        let model = model.expect("entry").path();
        for file in fs::read_dir(&model).expect("a model's folder") {
            let path = file.expect("entry").path();
            let below = path.strip_prefix(root).expect("below").to_path_buf();
            all.insert(below, fs::read(&path).expect("reads"));
        }
    }
    all
}

#[test]
fn same_recipe_same_bytes() {
    let text = text();
    let (one, two) = (TempDir::new().expect("one"), TempDir::new().expect("two"));
    for out in [&one, &two] {
        build(&recipe(), text.path(), out.path(), &mut |_| ()).expect("builds");
    }
    let (one, two) = (files(one.path()), files(two.path()));
    assert_eq!(one.len(), 5 * 6, "six files a model, no leftovers");
    assert!(one == two, "bytes differ");
}

#[test]
fn finished_folders_are_kept_and_damaged_or_changed_ones_made_anew() {
    let (text, out) = (text(), TempDir::new().expect("out"));
    let run = |recipe: &Recipe| -> Vec<bool> {
        let built = build(recipe, text.path(), out.path(), &mut |_| ()).expect("builds");
        built.iter().map(|b| b.kept).collect()
    };
    assert_eq!(run(&recipe()), [false; 5]);
    let first = files(out.path());
    assert_eq!(run(&recipe()), [true; 5]);

    // A cut weights file: only that model is made again, to the same bytes, so children stay.
    let weights = out.path().join("teacher/model.safetensors");
    let bytes = fs::read(&weights).expect("reads");
    fs::write(&weights, &bytes[..bytes.len() / 2]).expect("cuts");
    assert_eq!(run(&recipe()), [true, false, true, true, true]);
    assert!(files(out.path()) == first, "bytes differ");

    // Another teacher: its students change with it.
    let mut other = recipe();
    other.models[1].seed += 1;
    assert_eq!(run(&other), [true, false, false, false, true]);
}

#[test]
fn lineage_names_the_parents() {
    let (text, out) = (text(), TempDir::new().expect("out"));
    let mut steps = 0;
    let built = build(&recipe(), text.path(), out.path(), &mut |at| {
        steps += u32::from(matches!(at, Progress::Step { .. }));
    })
    .expect("builds");
    assert_eq!(steps, 5 * 6);
    let student = &built[2].lineage;
    assert_eq!((student.role, student.documents), (Role::Suspect, 40));
    let ties: Vec<(&str, Tie)> = (student.parents.iter())
        .map(|p| (p.model.as_str(), p.tie))
        .collect();
    let distilled = Tie::DistilledFrom {
        share: 0.5,
        by: Signal::Text,
        hidden: None,
        mark: None,
    };
    assert_eq!(
        ties,
        [("base", Tie::InitialisedFrom), ("teacher", distilled)]
    );
    assert_eq!(student.parents[1].weights, built[1].lineage.weights);
    assert!(built[0].lineage.parents.is_empty());
}

#[test]
fn students_hide_and_learn_both_ways_and_are_the_same_each_time() {
    let text = text();
    let (one, two) = (TempDir::new().expect("one"), TempDir::new().expect("two"));
    let mut recipe = recipe();
    recipe.models.truncate(3);
    let plain = recipe.models[2].clone();
    for (name, by, hidden) in [
        ("both", Signal::Both, None),
        ("filtered", Signal::Text, Some(Hiding::Filtered)),
        ("reworded", Signal::Text, Some(Hiding::Reworded)),
    ] {
        let mut student = plain.clone();
        student.name = name.into();
        let teacher = student.teacher.as_mut().expect("a teacher");
        (teacher.by, teacher.hidden) = (by, hidden);
        recipe.models.push(student);
    }
    let built = build(&recipe, text.path(), one.path(), &mut |_| ()).expect("builds");
    build(&recipe, text.path(), two.path(), &mut |_| ()).expect("builds");
    assert!(files(one.path()) == files(two.path()), "bytes differ");
    // One seed, and yet four different models.
    let weights: std::collections::BTreeSet<_> =
        built[2..].iter().map(|b| b.lineage.weights).collect();
    assert_eq!(weights.len(), 4);
    let filtered = Tie::DistilledFrom {
        share: 0.5,
        by: Signal::Text,
        hidden: Some(Hiding::Filtered),
        mark: None,
    };
    assert_eq!(built[4].lineage.parents[1].tie, filtered);

    // Who has no start has nothing to hide with.
    let shape = recipe.models[0].shape.clone();
    let student = recipe.models.last_mut().expect("students");
    (student.start, student.shape) = (None, shape);
    let error = recipe.check().expect_err("no start").to_string();
    assert!(error.contains("`start` of a student that hides"), "{error}");
}

#[test]
fn a_student_of_two_teachers_has_half_of_its_texts_from_each() {
    let (text, out) = (text(), TempDir::new().expect("out"));
    let mut recipe = recipe();
    recipe.models.truncate(3);
    let mut second = recipe.models[1].clone();
    second.name = "other".into();
    second.seed += 1;
    let mut mixed = recipe.models[2].clone();
    mixed.name = "mixed".into();
    mixed.teacher.as_mut().expect("a teacher").also = Some("other".into());
    recipe.models.extend([second, mixed]);
    let built = build(&recipe, text.path(), out.path(), &mut |_| ()).expect("builds");
    let [alone, mixed] = [&built[2].lineage, &built[4].lineage];
    assert_ne!(alone.weights, mixed.weights);
    assert_eq!(alone.documents, mixed.documents);
    let half = Tie::DistilledFrom {
        share: 0.25,
        by: Signal::Text,
        hidden: None,
        mark: None,
    };
    let ties: Vec<_> = (mixed.parents.iter())
        .map(|p| (p.model.as_str(), p.tie))
        .collect();
    let start = ("base", Tie::InitialisedFrom);
    assert_eq!(ties, [start, ("teacher", half), ("other", half)]);

    type Spoil = fn(&mut filiation_lab::TeacherRecipe);
    let cases: [(Spoil, &str); 3] = [
        (
            |t| t.also = Some("teacher".into()),
            "number of teachers is 1",
        ),
        (|t| t.by = Signal::Logits, "beside `also` is 0"),
        (|t| t.also = Some("nobody".into()), "names teacher `nobody`"),
    ];
    for (spoil, message) in cases {
        let mut wrong = recipe.clone();
        let student = wrong.models.last_mut().expect("a student");
        spoil(student.teacher.as_mut().expect("a teacher"));
        let error = wrong.check().expect_err(message).to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn training_learns() {
    let (text, out) = (text(), TempDir::new().expect("out"));
    let mut longer = recipe();
    longer.models.truncate(1);
    longer.schedules.get_mut("short").expect("schedule").steps = 150;
    let mut losses = Vec::new();
    build(&longer, text.path(), out.path(), &mut |at| {
        if let Progress::Step { loss, .. } = at {
            losses.push(loss);
        }
    })
    .expect("builds");
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let (start, end) = (mean(&losses[..3]), mean(&losses[145..]));
    assert!(
        (start - 300_f64.ln()).abs() < 1.0,
        "starts near uniform: {start}"
    );
    assert!(end < 1.5, "nine patterns and a number: {end}");
}

#[test]
fn a_wrong_recipe_is_refused_before_anything_is_made() {
    type Spoil = fn(&mut Recipe);
    let cases: [(Spoil, &str); 7] = [
        (|r| r.format = 2, "recipe has format 2, expected 1"),
        (
            |r| r.models.swap(1, 2),
            "model `student` names teacher `teacher`, which no earlier part of the recipe defines",
        ),
        (
            |r| r.models[1].name = "base".into(),
            "two models are called `base`",
        ),
        (
            |r| r.models[0].name = "../base".into(),
            "`../base` is no model name, expected lower-case letters, digits, `-`, `_`, `.`",
        ),
        (
            |r| r.models[0].start = Some("base".into()),
            "`base`: number of `shape` and `start` is 2, expected 1",
        ),
        (
            |r| r.models[0].text[0].to = 401,
            "source `made-up` has 400 lines, slice wants 0..401",
        ),
        (
            |r| r.models[4].rows = Some(5_000),
            "model `control` wants 5000 rows of text, its slices give 100",
        ),
    ];
    let text = text();
    for (spoil, message) in cases {
        let out = TempDir::new().expect("out");
        let mut wrong = recipe();
        spoil(&mut wrong);
        let error = build(&wrong, text.path(), out.path(), &mut |_| ()).expect_err("refused");
        assert_eq!(error.to_string(), message);
        assert!(
            files(out.path()).is_empty(),
            "{message}: something was made"
        );
    }
}

#[test]
fn an_unknown_key_is_refused_and_the_file_named() {
    let folder = TempDir::new().expect("folder");
    let path = folder.path().join("recipe.toml");
    fs::write(&path, RECIPE.replace("clip =", "klip =")).expect("writes");
    let error = Recipe::read(&path).expect_err("refused");
    assert!(matches!(error, LabError::Recipe { .. }));
    let text = error.to_string();
    assert!(
        text.contains("recipe.toml") && text.contains("klip"),
        "{text}"
    );
}
