//! What is computed: rows, prompts and texts, the same in every run and for every side.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use filiation_checkpoint::{Checkpoint, Limits};
use serde_json::{Value, json};

/// Tokens of a prompt, and tokens made after it.
pub(crate) const PROMPT: usize = 32;
pub(crate) const NEW: usize = 64;

pub(crate) fn json_file(path: &Path) -> Result<Value> {
    let bytes = fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// Token rows out of what `tests/real/setup.py` stored beside the model.
pub(crate) fn rows(model: &Path, count: usize, length: usize) -> Result<Vec<Vec<u32>>> {
    let oracle = json_file(&model.join("oracle.json"))?;
    let windows = oracle["windows"].as_array().context("no windows")?;
    let tokens = windows.iter().flat_map(|w| w["tokens"].as_array());
    let pool: Vec<u32> = tokens
        .flatten()
        .filter_map(|t| t.as_u64()?.try_into().ok())
        .collect();
    let row = |r| {
        let at = |i| pool[(r * 37 + i) % pool.len()];
        (0..length).map(at).collect()
    };
    Ok((0..count).map(row).collect())
}

/// Prompts of about 60 tokens with `completions` texts of about 60 tokens each, cut from `text` so
/// that lengths differ and no two are the same.
pub(crate) fn forensic(text: &str, prompts: usize, completions: usize) -> Vec<Value> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let cut = |from: usize, count: usize| {
        let words = words.iter().cycle().skip(from % words.len()).take(count);
        words.copied().collect::<Vec<_>>().join(" ")
    };
    let one = |i: usize| {
        let completion = |j: usize| {
            let from = i * 53 + 211 + (j + 1) * 1009;
            format!(" {}", cut(from, 38 + (completions * i + j) * 11 % 19))
        };
        json!({
            "prompt": cut(i * 53, 40 + i * 7 % 15),
            "completions": (0..completions).map(completion).collect::<Vec<_>>(),
        })
    };
    (0..prompts).map(one).collect()
}

/// `count` prompts of [`PROMPT`] tokens each, as ids and as the text that gives those ids.
pub(crate) fn prompts(model: &Path, text: &str, count: usize) -> Result<Vec<Value>> {
    let checkpoint = Checkpoint::open(model, &Limits::default())?;
    let tokenizer = checkpoint.tokenizer()?;
    let pool = tokenizer.encode(text, false)?.ids;
    let mut found = Vec::new();
    for start in (0..pool.len() - PROMPT).step_by(PROMPT + 9) {
        let ids = &pool[start..start + PROMPT];
        let text = tokenizer.decode(ids, false)?;
        if tokenizer.encode(&text, false)?.ids == ids {
            found.push(json!({ "text": text, "ids": ids }));
        }
        if found.len() == count {
            return Ok(found);
        }
    }
    bail!("{} prompts in the text, expected {count}", found.len())
}

/// The model with nothing that ends a text, so that each side makes the same number of tokens.
pub(crate) fn endless(model: &Path, folder: PathBuf) -> Result<PathBuf> {
    fs::create_dir(&folder)?;
    for entry in fs::read_dir(model)? {
        let entry = entry?;
        let (from, to) = (entry.path(), folder.join(entry.file_name()));
        let name = entry.file_name();
        if name == "config.json" || name == "generation_config.json" {
            let mut json = json_file(&from)?;
            json.as_object_mut()
                .context("a configuration is an object")?
                .remove("eos_token_id");
            fs::write(to, json.to_string())?;
        } else if fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to)?;
        }
    }
    Ok(folder)
}

/// Lines of made-up words: enough different ones for a tokenizer of 2048 entries.
fn made_up(lines: usize) -> String {
    const HEADS: [&str; 16] = [
        "b", "br", "d", "f", "g", "gl", "k", "l", "m", "n", "p", "r", "s", "st", "t", "v",
    ];
    const TAILS: [&str; 8] = ["a", "an", "e", "el", "i", "o", "or", "u"];
    // The generator of Knuth's MMIX; its high bits are good enough for words.
    let mut state = 1_u64;
    let mut draw = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut text = String::new();
    for _ in 0..lines {
        for word in 0..12 {
            if word > 0 {
                text.push(' ');
            }
            for _ in 0..2 + draw(2) {
                text.push_str(HEADS[draw(HEADS.len())]);
                text.push_str(TAILS[draw(TAILS.len())]);
            }
        }
        text.push('\n');
    }
    text
}

/// A Llama of 1.02 million parameters to be trained for `steps` updates, its text in `folder`.
pub(crate) fn training(folder: &Path, steps: u32) -> Result<Value> {
    let lines = 4000;
    fs::create_dir_all(folder)?;
    fs::write(folder.join("made-up.txt"), made_up(lines))?;
    let slice = json!([{ "source": "made-up", "from": 0, "to": lines }]);
    let recipe = json!({
        "format": 1,
        "split_seed": 1,
        "stored": "f32",
        "tokenizer": { "vocabulary": 2048, "text": slice },
        "sources": { "made-up": "made-up.txt" },
        "shapes": { "small": {
            "layers": 4, "hidden": 128, "heads": 4, "kv_heads": 4, "intermediate": 320,
            "context": 128, "rope_theta": 10000.0, "norm_eps": 1e-5,
        } },
        "schedules": { "short": {
            "steps": steps, "windows": 32, "rate": 1e-3, "warmup": 0, "floor": 1.0,
            "weight_decay": 0.01, "clip": 1.0,
        } },
        "model": [{
            "name": "small", "role": "base", "shape": "small", "schedule": "short", "seed": 1,
            "text": slice,
        }],
    });
    Ok(json!({ "text": folder, "recipe": recipe }))
}
