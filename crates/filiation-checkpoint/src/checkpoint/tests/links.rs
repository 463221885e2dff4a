//! Links, and what is no file.

use std::os::unix::fs::symlink;

use super::*;

#[test]
fn refuses_a_link_that_leads_out_of_the_folder() {
    let (inside, outside) = (folder(), folder());
    let path = inside.path().join("model.safetensors");
    fs::remove_file(&path).expect("it is there");
    symlink(outside.path().join("model.safetensors"), &path).expect("links work");
    let error = refused(&inside);
    assert!(
        matches!(error, CheckpointError::EscapesFolder { .. }),
        "{error}"
    );
    assert!(error.hint().is_some());
}

/// `models--o--m/snapshots/r`, files linked into `blobs`.
fn cache() -> (TempDir, PathBuf) {
    let cache = TempDir::new().expect("a temporary folder");
    let entry = cache.path().join("models--o--m");
    let (blobs, snapshot) = (entry.join("blobs"), entry.join("snapshots/r"));
    fs::create_dir_all(&blobs).expect("fresh");
    fs::create_dir_all(&snapshot).expect("fresh");
    for name in ["config.json", "model.safetensors"] {
        fs::copy(folder().path().join(name), blobs.join(name)).expect("fresh");
        symlink(format!("../../blobs/{name}"), snapshot.join(name)).expect("links work");
    }
    (cache, snapshot)
}

#[test]
fn a_snapshot_of_a_hub_cache_opens() {
    let (_cache, snapshot) = cache();
    let found = Checkpoint::open(&snapshot, &Limits::default()).expect("links into blobs");
    assert_eq!(found.files()[0].name, "config.json");
}

#[test]
fn a_snapshot_may_not_lead_out_of_its_entry() {
    let (cache, snapshot) = cache();
    fs::write(cache.path().join("secret"), "{}").expect("fresh");
    let path = snapshot.join("generation_config.json");
    symlink("../../../secret", path).expect("links work");
    let error = Checkpoint::open(&snapshot, &Limits::default()).expect_err("leads out");
    assert!(
        matches!(error, CheckpointError::EscapesFolder { .. }),
        "{error}"
    );
}

#[test]
fn the_hint_for_a_cache_entry_is_its_snapshot() {
    let (cache, snapshot) = cache();
    let entry = cache.path().join("models--o--m");
    let error = Checkpoint::open(&entry, &Limits::default()).expect_err("not the snapshot");
    let hint = error.hint().expect("there is one");
    assert!(hint.contains(&snapshot.display().to_string()), "{hint}");
}

#[test]
fn refuses_what_is_no_file() {
    let folder = folder();
    fs::create_dir(folder.path().join("tokenizer.json")).expect("fresh");
    let error = refused(&folder);
    assert!(matches!(error, CheckpointError::NotAFile { .. }), "{error}");
}

#[test]
fn a_dangling_link_is_an_error() {
    let folder = folder();
    symlink("nowhere", folder.path().join("tokenizer.json")).expect("links work");
    assert!(matches!(refused(&folder), CheckpointError::Io { .. }));
}
