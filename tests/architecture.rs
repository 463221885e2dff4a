//! The invariants of `docs/architecture.md` that a test can see.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use crate::tree::{entries, name, read, root, shown, with_extension};

#[path = "architecture/catalogue.rs"]
mod catalogue;
#[path = "architecture/hygiene.rs"]
mod hygiene;
#[path = "architecture/tree.rs"]
mod tree;

const DEPENDENCY_TABLES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

/// The manifest of each crate by the name of its folder.
fn manifests() -> BTreeMap<String, Table> {
    entries(&root().join("crates"))
        .into_iter()
        .map(|folder| {
            let text = read(&folder.join("Cargo.toml"));
            let table = text
                .parse()
                .unwrap_or_else(|e| panic!("{}: {e}", name(&folder)));
            (name(&folder), table)
        })
        .collect()
}

/// Names of all packages that a manifest depends on, whatever the table, renames undone.
fn dependencies(manifest: &Table) -> BTreeSet<String> {
    let targets = manifest.get("target").and_then(Value::as_table);
    let platforms = targets
        .into_iter()
        .flat_map(Table::values)
        .filter_map(Value::as_table);
    std::iter::once(manifest)
        .chain(platforms)
        .flat_map(|tables| {
            DEPENDENCY_TABLES
                .iter()
                .filter_map(|t| tables.get(*t)?.as_table())
        })
        .flat_map(package_names)
        .collect()
}

fn package_names(table: &Table) -> impl Iterator<Item = String> {
    table.iter().map(|(key, value)| {
        let renamed = value.get("package").and_then(Value::as_str);
        renamed.unwrap_or(key).to_owned()
    })
}

/// The table of edges in `docs/architecture.md`: crate to what it may use.
fn allowed() -> BTreeMap<String, BTreeSet<String>> {
    let page = read(&root().join("docs/architecture.md"));
    let rows: Vec<(String, &str)> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `filiation-"))
        .map(|row| {
            let cells: Vec<_> = row.split('|').map(str::trim).collect();
            let krate = format!("filiation-{}", cells[0].trim_end_matches('`'));
            (krate, cells[2])
        })
        .collect();
    let uses = |cell: &str| match cell {
        "–" => BTreeSet::new(),
        "all" => rows.iter().map(|(krate, _)| krate.clone()).collect(),
        list => list.split(", ").map(|c| format!("filiation-{c}")).collect(),
    };
    rows.iter()
        .map(|(krate, cell)| (krate.clone(), uses(cell)))
        .collect()
}

#[test]
fn no_edge_is_outside_the_table() {
    let allowed = allowed();
    let manifests = manifests();
    assert!(
        allowed.keys().eq(manifests.keys()),
        "docs/architecture.md lists {:?}, crates/ holds {:?}",
        allowed.keys(),
        manifests.keys()
    );
    for (krate, manifest) in &manifests {
        for used in dependencies(manifest) {
            assert!(
                !used.starts_with("filiation-") || allowed[krate].contains(&used),
                "`{krate}` depends on `{used}`, which docs/architecture.md does not list"
            );
        }
    }
}

#[test]
fn every_crate_inherits_the_lints_and_bears_the_name_of_its_folder() {
    for (krate, manifest) in manifests() {
        let package = manifest["package"]["name"].as_str();
        assert_eq!(package, Some(krate.as_str()));
        let lints = manifest.get("lints").and_then(|l| l.get("workspace"));
        assert_eq!(lints, Some(&Value::Boolean(true)), "lints of `{krate}`");
    }
}

#[test]
fn only_model_and_lab_name_candle() {
    const AT_HOME: [&str; 2] = ["filiation-model", "filiation-lab"];
    for (krate, manifest) in manifests() {
        let named = dependencies(&manifest)
            .into_iter()
            .find(|d| d.starts_with("candle"));
        assert!(
            named.is_none() || AT_HOME.contains(&krate.as_str()),
            "`{krate}` depends on {named:?}"
        );
    }
    for path in with_extension(&["rs"]) {
        let shown = shown(&path);
        let at_home = AT_HOME
            .iter()
            .any(|c| shown.starts_with(&format!("crates/{c}/")));
        let text = read(&path);
        let code = text.lines().filter(|l| !l.trim_start().starts_with("//"));
        let named = code
            .flat_map(|l| l.split(|c: char| !c.is_alphanumeric() && c != '_'))
            .any(|word| word.split('_').next() == Some("candle") && word.contains('_'));
        assert!(at_home || !named, "`{shown}` names candle");
    }
}

#[test]
fn only_the_teacher_and_the_hub_open_sockets() {
    const AT_HOME: [&str; 2] = ["filiation-hub", "filiation-teacher"];
    const CLIENTS: [&str; 12] = [
        "async-std",
        "attohttpc",
        "curl",
        "hf-hub",
        "hyper",
        "isahc",
        "minreq",
        "reqwest",
        "surf",
        "tokio",
        "tungstenite",
        "ureq",
    ];
    for (krate, manifest) in manifests() {
        let named: Vec<_> = dependencies(&manifest)
            .into_iter()
            .filter(|d| CLIENTS.contains(&d.as_str()))
            .collect();
        assert!(
            named.is_empty() || AT_HOME.contains(&krate.as_str()),
            "`{krate}` depends on {named:?}"
        );
    }
    let socket = ["std", "net"].join("::");
    for path in with_extension(&["rs"]) {
        let shown = shown(&path);
        // Tests bring servers of their own.
        let at_home = shown.starts_with("tests/")
            || AT_HOME
                .iter()
                .any(|c| shown.starts_with(&format!("crates/{c}/")));
        assert!(
            at_home || !read(&path).contains(&socket),
            "`{shown}` opens sockets"
        );
    }
}

#[test]
fn the_core_does_no_io_and_keeps_no_clock() {
    for krate in ["filiation-core", "filiation-lr", "filiation-stats"] {
        for path in with_extension(&["rs"]) {
            if !shown(&path).starts_with(&format!("crates/{krate}/src/")) {
                continue;
            }
            let text = read(&path);
            for word in [
                "std::fs",
                "std::env",
                "std::io",
                "std::time",
                "thread_rng",
                "rand::rng",
            ] {
                assert!(!text.contains(word), "`{}` names `{word}`", shown(&path));
            }
        }
    }
}
