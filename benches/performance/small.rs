//! Every kind of our work once, on a model of the demonstration: to see that the bench runs.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{child, jobs, root, say};

const TEXT: &str = "a small bird of the north with long leaves that is kept in a house, the act of asking \
    any of various trees for a place beside the water, one that is neither new nor old";

pub(crate) fn run() -> Result<()> {
    let scratch = tempfile::TempDir::new()?;
    let model = model()?;
    let rows: Vec<Vec<u32>> = (0..2).map(|r| (r..r + 64).collect()).collect();
    let prompts: Vec<Value> = (0..4)
        .map(|i| json!({ "text": &TEXT[i..i + 20] }))
        .collect();
    let mut training = jobs::training(scratch.path(), 2)?;
    // A hundredth of the work; the tokenizer of 2048 entries is most of what is left.
    training["recipe"]["schedules"]["short"]["windows"] = 1.into();
    training["recipe"]["tokenizer"]["vocabulary"] = 300.into();
    for (kind, job) in [
        ("score", json!({ "model": model, "rows": rows })),
        (
            "forensic",
            json!({ "model": model, "prompts": [
            { "prompt": TEXT, "completions": [" and more", " of the same"] },
        ] }),
        ),
        (
            "generate",
            json!({ "model": model, "prompts": prompts, "new": 4, "temperature": 1.0 }),
        ),
        ("train", training),
        ("product", json!({ "side": 64, "seconds": 0.01 })),
        ("lineage", json!({ "this": model, "other": model })),
        ("digests", json!({ "model": model })),
    ] {
        let mut found = child::work(kind, &job).with_context(|| format!("`{kind}`"))?;
        if let Some(found) = found.as_object_mut() {
            found.remove("rows");
        }
        say(&format!("{kind}: {found}"))?;
    }
    Ok(())
}

fn model() -> Result<PathBuf> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir(root().join("corpora/demo"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("model.safetensors").is_file())
        .collect();
    folders.sort();
    folders
        .into_iter()
        .next()
        .context("corpora/demo holds no model")
}
