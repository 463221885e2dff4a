use super::*;

fn slice(source: &str, from: usize, to: usize) -> Slice {
    Slice {
        source: source.into(),
        from,
        to,
    }
}

fn factorial() -> Factorial {
    Factorial {
        name: "s".into(),
        bases: vec!["a".into(), "b".into()],
        teachers: vec!["t".into(), "u".into(), "v".into()],
        by: vec![Signal::Text, Signal::Logits],
        shares: vec![1.0, 0.3, 0.1],
        repeats: 1,
        temperature: 1.0,
        schedule: "tune".into(),
        rows: 100,
        seed: 7,
        spread: 2.0,
        text: vec![slice("x", 10, 1_500), slice("y", 0, 1_500)],
    }
}

fn lineages() -> Lineages {
    Lineages {
        name: "clean".into(),
        of: Vec::new(),
        roots: Some(Roots {
            count: 3,
            role: Role::Base,
            shapes: vec!["wide".into(), "deep".into()],
            schedule: "base".into(),
            rows: 50,
        }),
        tune: Some(Tune {
            suspects: 1,
            controls: 4,
            schedule: "tune".into(),
            rows: 20,
            taught: None,
        }),
        seed: 100,
        spread: 3.0,
        text: vec![slice("x", 0, 400), slice("y", 0, 400)],
    }
}

/// Lines of each source, in order of their position; panics where one is given twice.
fn disjoint(models: &[ModelRecipe]) {
    let mut slices: Vec<&Slice> = models.iter().flat_map(|m| &m.text).collect();
    slices.sort_by_key(|s| (&s.source, s.from));
    for pair in slices.windows(2) {
        let apart = pair[0].source != pair[1].source || pair[0].to <= pair[1].from;
        assert!(apart, "{pair:?}");
    }
}

#[test]
fn a_factorial_has_every_cell_once_and_gives_no_line_twice() {
    let models = factorial().models().expect("models");
    assert_eq!(models.len(), 2 * 3 * 2 * 3);
    assert_eq!(models[0].name, "s-a-t-text-100");
    assert_eq!(models[35].name, "s-b-v-logits-10");
    assert_eq!(models[35].seed, 7 + 35);
    disjoint(&models);
    for model in &models {
        let teacher = model.teacher.as_ref().expect("a teacher");
        let people: usize = model.text.iter().map(Slice::lines).sum();
        let drawn = (teacher.share * 100.0).round() as usize;
        assert_eq!((model.rows, people), (Some(100), 100 - drawn));
    }
    assert_eq!(models, factorial().models().expect("again"));
}

#[test]
fn lineages_have_a_base_controls_and_a_suspect_each() {
    let models = lineages().models().expect("models");
    let names: Vec<&str> = models.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names.len(), 3 * 6);
    assert_eq!(names[0], "clean-001");
    assert_eq!(names[6 + 1], "clean-002-control-1");
    assert_eq!(names[17], "clean-003-suspect-1");
    assert_eq!(models[6].shape.as_deref(), Some("deep"));
    assert_eq!(models[17].start.as_deref(), Some("clean-003"));
    assert!(models.iter().all(|m| m.teacher.is_none()));
    disjoint(&models);
    let first = |m: &ModelRecipe| m.text.iter().find(|s| s.source == "x").map(Slice::lines);
    let mixes: Vec<_> = models
        .iter()
        .filter(|m| m.role == Role::Base)
        .map(first)
        .collect();
    assert!(
        mixes.windows(2).any(|w| w[0] != w[1]),
        "mixes differ: {mixes:?}"
    );
}

#[test]
fn suspects_of_lineages_learn_from_every_teacher_in_turn() {
    let mut taught = lineages();
    let tune = taught.tune.as_mut().expect("tune");
    tune.suspects = 2;
    tune.taught = Some(Taught {
        teachers: vec!["t".into(), "u".into(), "v".into()],
        by: vec![Signal::Text],
        shares: vec![1.0, 0.5],
        temperature: 1.0,
        hidden: None,
        mixed: false,
        cool: None,
    });
    let models = taught.models().expect("models");
    let of: Vec<(&str, f64)> = (models.iter().filter_map(|m| m.teacher.as_ref()))
        .map(|t| (t.model.as_str(), t.share))
        .collect();
    let want = [
        ("t", 1.0),
        ("t", 0.5),
        ("u", 1.0),
        ("u", 0.5),
        ("v", 1.0),
        ("v", 0.5),
    ];
    assert_eq!(of, want);
}

#[test]
fn students_of_two_teachers_have_every_pair_in_turn() {
    let mut taught = lineages();
    let tune = taught.tune.as_mut().expect("tune");
    tune.suspects = 1;
    let mixed = Taught {
        teachers: vec!["t".into(), "u".into(), "v".into()],
        by: vec![Signal::Text],
        shares: vec![1.0],
        temperature: 1.0,
        hidden: None,
        mixed: true,
        cool: None,
    };
    tune.taught = Some(mixed.clone());
    let models = taught.models().expect("models");
    let of: Vec<(&str, Option<&str>)> = (models.iter().filter_map(|m| m.teacher.as_ref()))
        .map(|t| (t.model.as_str(), t.also.as_deref()))
        .collect();
    assert_eq!(of, [("t", Some("u")), ("u", Some("v")), ("v", Some("t"))]);
    let tune = taught.tune.as_mut().expect("tune");
    tune.taught = Some(Taught {
        teachers: vec!["t".into()],
        ..mixed
    });
    let error = taught.models().expect_err("one teacher").to_string();
    assert_eq!(
        error,
        "`clean`: teachers is 1, expected at least 1, and 2 where they are mixed"
    );
}

#[test]
fn beside_a_student_stands_what_further_training_makes_of_it() {
    let mut taught = lineages();
    let tune = taught.tune.as_mut().expect("tune");
    tune.suspects = 1;
    tune.taught = Some(Taught {
        teachers: vec!["t".into()],
        by: vec![Signal::Both],
        shares: vec![0.5],
        temperature: 1.0,
        hidden: Some(Hiding::Reworded),
        mixed: false,
        cool: Some(Cool {
            schedule: "short".into(),
            rows: 3,
        }),
    });
    let models = taught.models().expect("models");
    let cooled: Vec<&ModelRecipe> = models
        .iter()
        .filter(|m| m.name.ends_with("-cooled"))
        .collect();
    assert_eq!(cooled.len(), 3);
    assert_eq!(cooled[0].name, "clean-001-suspect-1-cooled");
    assert_eq!(cooled[0].start.as_deref(), Some("clean-001-suspect-1"));
    assert_eq!((cooled[0].role, cooled[0].rows), (Role::Suspect, Some(3)));
    assert!(cooled[0].teacher.is_none() && cooled[0].schedule == "short");
    let student = models
        .iter()
        .find(|m| m.name == "clean-001-suspect-1")
        .expect("a student");
    let teacher = student.teacher.as_ref().expect("a teacher");
    assert_eq!(
        (teacher.by, teacher.hidden),
        (Signal::Both, Some(Hiding::Reworded))
    );
    disjoint(&models);
}

#[test]
fn lineages_of_bases_that_stand_are_named_after_both() {
    let mut of = lineages();
    of.roots = None;
    of.of = vec!["base-a".into()];
    let models = of.models().expect("models");
    assert_eq!(models[0].name, "clean-base-a-control-1");
    assert_eq!(models[4].name, "clean-base-a-suspect-1");
    of.of.clear();
    let error = of.models().expect_err("no base").to_string();
    assert_eq!(
        error,
        "`clean`: number of `of` and `roots` is 0, expected 1"
    );
}

fn recipe(models: Vec<ModelRecipe>, lineages: Vec<Lineages>) -> Recipe {
    let small = include_str!("../../tests/small.toml");
    let mut recipe: Recipe = toml::from_str(small).expect("parses");
    recipe.models = models;
    recipe.lineages = lineages;
    recipe
}

#[test]
fn a_line_that_is_dealt_is_no_other_model_s() {
    let written = |name: &str, from: usize| ModelRecipe {
        name: name.into(),
        role: Role::Teacher,
        shape: Some("tiny".into()),
        start: None,
        schedule: "short".into(),
        seed: 1,
        text: vec![slice("x", from, from + 50)],
        rows: None,
        teacher: None,
    };
    let siblings = vec![written("t1", 400), written("t2", 420)];
    let mut sound = recipe(siblings.clone(), vec![lineages()]);
    sound.expand().expect("apart");
    assert_eq!(sound.models.len(), 2 + 18);
    assert!(sound.lineages.is_empty());

    let mut inside = recipe(vec![written("t1", 10)], vec![lineages()]);
    let error = inside.expand().expect_err("line 10 is dealt").to_string();
    assert!(
        error.starts_with("`t1` and `clean-001`") || error.starts_with("`clean-001` and `t1`"),
        "{error}"
    );

    let mut again = lineages();
    again.name = "more".into();
    let mut twice = recipe(siblings, vec![lineages(), again]);
    let error = twice.expand().expect_err("one pool twice").to_string();
    assert!(
        error.ends_with("both read lines of source `x` that are dealt out"),
        "{error}"
    );
}

#[test]
fn a_pool_that_runs_out_says_so() {
    let mut short = lineages();
    short.spread = 1.0;
    short.text = vec![slice("x", 0, 60)];
    let error = short.models().expect_err("sixty lines").to_string();
    let want = "`clean` has 10 lines of source `x` left, `clean-001-control-1` wants 20";
    assert_eq!(error, want);
    short.spread = 0.5;
    assert!(short.models().is_err());
}
