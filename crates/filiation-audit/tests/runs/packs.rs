use std::fs;
use std::path::PathBuf;

use filiation_audit::{AuditError, Pack, Run};
use serde_json::Value;

use crate::birds::Bench;

/// A bench whose case takes its teachers from packs.
fn recorded() -> Bench {
    let bench = Bench::new();
    bench.record().expect("records");
    bench.edit_case(use_packs);
    bench
}

fn use_packs(case: String) -> String {
    case.replace(
        r#"["t1", "t2", "t3"]"#,
        r#"["packs/t1.pack", "packs/t2.pack", "packs/t3.pack"]"#,
    )
}

fn pack(bench: &Bench, name: &str) -> PathBuf {
    bench.path().join(format!("packs/{name}.pack"))
}

fn refused(bench: &Bench) -> String {
    let error = bench.run("refused").expect_err("refused");
    assert!(
        !bench.path().join("refused").exists(),
        "a run was left behind"
    );
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text += &format!(": {inner}");
        cause = inner.source();
    }
    text
}

#[test]
fn a_recording_says_what_the_model_said() {
    let bench = Bench::new();
    let live = bench.run("live").expect("runs");
    bench.record().expect("records");
    bench.edit_case(use_packs);
    bench.birds.opened.borrow_mut().clear();
    let offline = bench.run("offline").expect("runs");
    let opened = bench.birds.opened.borrow();
    assert!(
        opened.iter().all(|name| !name.starts_with('t')),
        "{opened:?}"
    );
    let parse = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).expect("JSON");
    let (live, offline) = (parse(&live), parse(&offline));
    assert_eq!(live["probes"], offline["probes"]);
    assert_eq!(live["opinion"], offline["opinion"]);
    assert!(live["recordings"].as_array().expect("a list").is_empty());
    let recording = &offline["recordings"][1];
    assert_eq!(recording["party"], "t2");
    assert_eq!(recording["recorded"], "2026-02-03");
    assert_eq!(recording["version"], "spring");
    let digest = Pack::read(&pack(&bench, "t2")).expect("reads").digest();
    assert_eq!(recording["pack"], digest.to_string());
    // What teachers were asked about one another is recorded too; the suspect nobody could know.
    let run = Run::open(&bench.path().join("offline")).expect("opens without packs");
    assert_eq!(run.parties().len(), 6);
}

#[test]
fn the_same_recording_is_the_same_file() {
    let (one, other) = (Bench::new(), Bench::new());
    one.record().expect("records");
    other.birds.refuse.set(Some("t3"));
    other.record().expect_err("the last teacher fails");
    let before = other.birds.asked.load(std::sync::atomic::Ordering::SeqCst);
    assert!(before > 0);
    other.birds.refuse.set(None);
    other.record().expect("goes on");
    let asked = |b: &Bench| b.birds.asked.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!(asked(&one), asked(&other), "asked twice");
    for name in ["t1", "t2", "t3"] {
        let read = |bench| fs::read(pack(bench, name)).expect("reads");
        assert!(read(&one) == read(&other), "{name}");
    }
    assert!(!other.path().join("packs.part").exists());
    let error = other.record().expect_err("there already");
    assert!(matches!(error, AuditError::PackExists { .. }), "{error}");
}

#[test]
fn a_pack_that_was_cut_or_changed_is_refused() {
    let bench = recorded();
    let path = pack(&bench, "t1");
    let whole = fs::read(&path).expect("reads");
    let text = String::from_utf8(whole.clone()).expect("UTF-8");
    let head_end = text.find('\n').expect("a first line");
    let first_line = |change: &dyn Fn(&str) -> String| {
        let mut new = change(&text[..head_end]);
        new += &text[head_end..];
        new.into_bytes()
    };
    for (bytes, told) in [
        (whole[..whole.len() - 10].to_vec(), "bytes of answers"),
        (whole[..=head_end].to_vec(), "holds 0 bytes of answers"),
        (whole[..head_end / 2].to_vec(), "is not a pack"),
        (
            text.replacen("said 0.", "said 9.", 1).into_bytes(),
            "of another digest",
        ),
        (
            first_line(&|l| l.replace("2026-02-03", "2025-02-03")),
            "says of itself",
        ),
        (
            first_line(&|l| l.replace("pack/1", "pack/2")),
            "has format `filiation-pack/2`",
        ),
        (b"{}\n".to_vec(), "is not a pack"),
        (Vec::new(), "is not a pack"),
    ] {
        fs::write(&path, bytes).expect("spoils");
        let error = refused(&bench);
        assert!(
            error.contains(told) && error.contains("t1.pack"),
            "{told}: {error}"
        );
    }
    fs::remove_file(&path).expect("removes");
    assert!(refused(&bench).contains("cannot read"));
}

#[test]
fn a_pack_of_other_options_is_refused_with_what_differs() {
    for (from, to, told) in [
        (
            "name =",
            "max_tokens = 40\nname =",
            "`max_tokens` is 48 there and 40 here",
        ),
        (
            "name =",
            "temperature = 0.5\nname =",
            "`temperature` is 1 there and 0.5 here",
        ),
        ("name =", "seed = 3\nname =", "`seed` is 0 there and 3 here"),
        (
            "\"suite.jsonl\"",
            "\"other.jsonl\"",
            "suite `other.jsonl` was not asked there",
        ),
    ] {
        let bench = recorded();
        let suite = fs::read_to_string(bench.path().join("suite.jsonl")).expect("reads");
        let other = suite.replace("open ", "begin ");
        fs::write(bench.path().join("other.jsonl"), other).expect("writes");
        bench.edit_case(|case| case.replace(from, to));
        let error = refused(&bench);
        assert!(error.contains(told), "{told}: {error}");
        assert!(
            error.contains("teacher `t1` is a recording that lacks"),
            "{error}"
        );
    }
}

#[test]
fn fewer_prompts_than_were_recorded_will_do() {
    let bench = recorded();
    bench.edit_case(|case| case.replace(r#"["tlu-did", "choice-priors"]"#, r#"["tlu-did"]"#));
    bench.run("one-probe").expect("runs");
    bench.edit_case(|case| format!("limit = 60\n{case}"));
    bench.run("fewer").expect("runs");
}

#[test]
fn a_digest_in_the_case_must_be_that_of_the_pack_or_model() {
    let bench = recorded();
    let digest = Pack::read(&pack(&bench, "t1")).expect("reads").digest();
    let other = Pack::read(&pack(&bench, "t2")).expect("reads").digest();
    let pinned = |digest| format!(r#"{{ path = "packs/t1.pack", digest = "{digest}" }}"#);
    bench.edit_case(|case| case.replace("\"packs/t1.pack\"", &pinned(digest)));
    bench.run("pinned").expect("runs");
    bench.edit_case(|case| case.replace(&digest.to_string(), &other.to_string()));
    let error = refused(&bench);
    assert!(
        error.contains("`t1` has digest") && error.contains("the case expects"),
        "{error}"
    );
    bench.edit_case(|case| case.replace("\"packs/t2.pack\"", "{ path = \"t2\", digest = \"00\" }"));
    assert!(refused(&bench).contains("is not valid"));
}
