//! Stopped at any moment, a run goes on and ends in the same bytes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Instant;

use crate::tiny::{Bench, stderr};

/// Every file of a run by its path, the lock left out.
fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("lists the run") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with(".lock") {
                let name = path
                    .strip_prefix(root)
                    .expect("inside")
                    .display()
                    .to_string();
                found.insert(name, fs::read(&path).expect("reads"));
            }
        }
    }
    found
}

fn assert_same(
    found: &BTreeMap<String, Vec<u8>>,
    expected: &BTreeMap<String, Vec<u8>>,
    when: &str,
) {
    let names: Vec<_> = found.keys().collect();
    assert_eq!(names, expected.keys().collect::<Vec<_>>(), "{when}");
    for (name, bytes) in found {
        assert!(*bytes == expected[name], "`{name}` differs {when}");
    }
}

/// `kill -9` at ten random moments of a run, one run each.
#[test]
fn killed_at_ten_moments_it_ends_in_the_same_bytes() {
    let bench = Bench::new(150);
    let began = Instant::now();
    bench.stdout(&["audit", "case.toml", "--run", "whole"]);
    let whole = began.elapsed();
    let expected = files(&bench.path("whole"));
    assert!(expected.contains_key("report.json"));

    let mut state = 0x5eed_u64;
    let mut halves = 0;
    for i in 0..10 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let moment = whole.mul_f64((i as f64 + (state >> 33) as f64 / (1u64 << 31) as f64) / 10.0);
        let run = format!("killed-{i}");
        let mut child = bench
            .command(&["audit", "case.toml", "--run", &run])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("filiation starts");
        sleep(moment);
        child.kill().expect("kills");
        child.wait().expect("ends");
        let root = bench.path(&run);
        let transcripts = root.join("transcripts").is_dir();
        halves += usize::from(transcripts && !root.join("report.json").is_file());
        bench.stdout(&["audit", "case.toml", "--run", &run]);
        assert_same(
            &files(&root),
            &expected,
            &format!("after a kill at {moment:?} of {whole:?}"),
        );
    }
    assert!(halves >= 3, "only {halves} of 10 kills hit a run half done");
}

/// A transcript cut at any byte is what a crash may leave: the tail is asked again.
#[test]
fn a_torn_transcript_is_asked_again() {
    let bench = Bench::new(20);
    bench.stdout(&["audit", "case.toml", "--run", "run"]);
    let root = bench.path("run");
    let expected = files(&root);
    let path = root.join("transcripts/t1/answers.jsonl");
    let whole = fs::read(&path).expect("reads");
    for cut in [0, 1, whole.len() / 3, whole.len() - 1] {
        fs::write(&path, &whole[..cut]).expect("tears");
        fs::remove_file(root.join("report.json")).expect("takes the report away");
        bench.stdout(&["audit", "case.toml", "--run", "run"]);
        assert_same(
            &files(&root),
            &expected,
            &format!("after a cut at byte {cut}"),
        );
    }
}

/// A file that may not grow stands for a full disk: one clear error, nothing lost, and the same
/// command goes on.
#[cfg(unix)]
#[test]
fn a_full_disk_loses_nothing() {
    let bench = Bench::new(60);
    bench.stdout(&["audit", "case.toml", "--run", "whole"]);
    let expected = files(&bench.path("whole"));
    let largest = expected.values().map(Vec::len).max().expect("files");
    // In blocks of 512 bytes: above the plan, below the largest transcript.
    let blocks = largest * 6 / 10 / 512;
    let script =
        format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" audit case.toml --run full");
    let output = std::process::Command::new("sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_filiation")])
        .current_dir(bench.path(""))
        .output()
        .expect("sh starts");
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains("error: cannot write `full/transcripts/"),
        "{told}"
    );
    assert!(told.contains("hint: free some space"), "{told}");
    assert!(output.stdout.is_empty());

    let kept = files(&bench.path("full"));
    let answers: Vec<_> = kept
        .keys()
        .filter(|name| name.ends_with("answers.jsonl"))
        .collect();
    assert!(!answers.is_empty(), "{:?}", kept.keys());
    for name in answers {
        assert!(
            expected[name].starts_with(&kept[name]),
            "`{name}` is no beginning of the whole"
        );
    }
    bench.stdout(&["audit", "case.toml", "--run", "full"]);
    assert_same(&files(&bench.path("full")), &expected, "after a full disk");
}

#[test]
fn another_case_or_model_is_refused() {
    let bench = Bench::new(8);
    bench.stdout(&["audit", "case.toml", "--run", "run"]);
    let before = files(&bench.path("run"));

    let output = bench.run(&["audit", "case.toml", "--run", "run", "--seed", "6"]);
    assert_eq!(output.status.code(), Some(1));
    let told = stderr(&output);
    assert!(
        told.contains("error: run `run` holds another case"),
        "{told}"
    );

    let other = crate::tiny::weights(9);
    crate::tiny::write_model(&bench.path("t2"), &other);
    let output = bench.run(&["audit", "case.toml", "--run", "run"]);
    assert_eq!(output.status.code(), Some(1));
    let told = stderr(&output);
    assert!(told.contains("error: teacher `t2` has digest"), "{told}");

    fs::write(bench.path("openings.jsonl"), "").expect("empties the suite");
    assert_same(&files(&bench.path("run")), &before, "after refusals");
}

#[test]
fn a_folder_with_other_things_is_left_alone() {
    let bench = Bench::new(8);
    fs::create_dir(bench.path("mine")).expect("makes a folder");
    fs::write(bench.path("mine/letter.txt"), "dear").expect("writes");
    let output = bench.run(&["audit", "case.toml", "--run", "mine"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("expected a run directory"),
        "{}",
        stderr(&output)
    );
    assert_eq!(fs::read_dir(bench.path("mine")).expect("lists").count(), 1);
}
