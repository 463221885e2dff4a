//! What stands where, and what no file may hold.

use std::collections::BTreeSet;
use std::fs;

use crate::tree::{entries, files, name, read, root, shown, with_extension};

#[test]
fn the_root_holds_what_it_should() {
    const EXPECTED: [&str; 14] = [
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE",
        "README.md",
        "benches",
        "corpora",
        "crates",
        "deny.toml",
        "docs",
        "probes",
        "tests",
        "target",
    ];
    let found: BTreeSet<_> = entries(&root()).iter().map(|p| name(p)).collect();
    for name in &found {
        let ignored = name == "runs" || name.starts_with('.') || name.ends_with(".tmp");
        assert!(
            ignored || EXPECTED.contains(&name.as_str()),
            "`{name}` stands at the root, expected one of {EXPECTED:?}"
        );
    }
    for name in EXPECTED.iter().filter(|n| **n != "target") {
        assert!(found.contains(*name), "`{name}` is missing at the root");
    }
}

#[test]
fn files_stay_small() {
    for path in with_extension(&["rs", "py", "sh"]) {
        let lines = read(&path).lines().count();
        assert!(
            lines <= 600,
            "`{}` has {lines} lines, expected at most 600",
            shown(&path)
        );
    }
    let mut corpora = 0;
    for path in files() {
        let bytes = fs::metadata(&path).expect("a listed file").len();
        assert!(
            bytes <= 4 << 20,
            "`{}` has {bytes} bytes, expected at most 4 MiB",
            shown(&path)
        );
        if shown(&path).starts_with("corpora/demo/") {
            corpora += bytes;
        }
    }
    assert!(
        corpora <= 25_000_000,
        "corpora/demo holds {corpora} bytes, expected at most 25 MB"
    );
}

#[test]
fn no_lint_is_switched_off_and_no_work_left_open() {
    let forbidden = [
        "#[al|low(",
        "#![al|low(",
        "todo|!(",
        "unimple|mented!(",
        "#[ign|ore]",
    ]
    .map(|word| word.replace('|', ""));
    for path in with_extension(&["rs"]) {
        let text = read(&path);
        for word in &forbidden {
            assert!(!text.contains(word), "`{}` holds `{word}`", shown(&path));
        }
    }
}

#[test]
fn no_path_of_one_machine_is_written_down() {
    let folders = ["wo|rk", "ro|ot", "ho|me", "Us|ers", "t|mp"].map(|f| f.replace('|', ""));
    let mut texts = with_extension(&["rs", "toml", "md", "py", "sh", "json", "jsonl", "yml"]);
    texts.extend([".ci/run", ".ci/cuda"].map(|script| root().join(script)));
    for path in texts {
        for (number, line) in read(&path).lines().enumerate() {
            let named = folders.iter().find(|f| begins_a_path(line, f));
            assert!(
                named.is_none(),
                "`{}` line {} names a path below `{}`",
                shown(&path),
                number + 1,
                named.map_or("", String::as_str)
            );
        }
    }
}

/// Whether `/folder/` occurs at the start of a path, not inside one.
fn begins_a_path(line: &str, folder: &str) -> bool {
    let needle = format!("/{folder}/");
    line.match_indices(&needle).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "._-}$)".contains(c))
    })
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut links = 0;
    for page in with_extension(&["md"]) {
        let folder = page.parent().expect("a file in a folder");
        let text = read(&page);
        for rest in text.split("](").skip(1) {
            let link = rest.split(')').next().unwrap_or_default();
            let file = link.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            links += 1;
            let found = folder.join(file).exists();
            assert!(found, "`{}` links to `{link}`", shown(&page));
        }
    }
    assert!(links > 10, "{links} links found");
}
