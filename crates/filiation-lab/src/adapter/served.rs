use std::fs;
use std::path::{Path, PathBuf};

use filiation_core::{Finish, canonical};
use serde::Serialize;

use crate::adapter::material::{Pair, asked, by_teacher};
use crate::adapter::recipe::{AdapterRecipe, AdapterTeacher};
use crate::folder::cannot_write;
use crate::{LabError, Progress};

/// A line of a log of served responses, as `probes/README.md` describes it.
#[derive(Serialize)]
struct Line<'a> {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<[Turn<'a>; 1]>,
    response: &'a str,
    max_tokens: u32,
    temperature: f64,
    top_p: f64,
    finish: Finish,
}

#[derive(Serialize)]
struct Turn<'a> {
    role: &'a str,
    content: &'a str,
}

/// Draws again what the teachers of a recipe's adapters answered, from the same seeds, and writes one log
/// of served responses (JSONL) an adapter under `out`: what an owner of the teacher would have kept. Gives
/// the logs. Adapters without a teacher have none.
///
/// Texts are those that the adapters learned from where the models in the folder `models` are the ones
/// that taught them, marked where the recipe says so. A text that is longer than rows may be is whole here.
///
/// # Errors
/// When the recipe is wrong, a suite or model cannot be read, or a log cannot be written. Logs finished
/// before stay.
pub fn served(
    recipe: &Path,
    models: &Path,
    out: &Path,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Vec<PathBuf>, LabError> {
    let folder = recipe.parent().unwrap_or_else(|| Path::new(""));
    let recipe = AdapterRecipe::read(recipe)?;
    fs::create_dir_all(out).map_err(cannot_write(out))?;
    let mut logs = Vec::new();
    for entry in &recipe.adapters {
        let Some(teacher) = &entry.teacher else {
            continue;
        };
        let documents = teacher.rows_of(entry.rows);
        progress(Progress::Sampling {
            model: &entry.name,
            documents,
        });
        let (prompts, _) = asked(&recipe, teacher, folder)?;
        let how = (recipe.raw, entry.seed);
        let pairs = by_teacher(
            &models.join(&teacher.model),
            teacher,
            &prompts,
            documents,
            how,
            recipe.marker(entry)?,
        )?;
        let mut lines = Vec::new();
        for (at, pair) in pairs.iter().enumerate() {
            let line = line(at, pair, teacher, recipe.raw);
            lines.extend(canonical::to_bytes(&line));
            lines.push(b'\n');
        }
        let path = out.join(format!("{}.jsonl", entry.name));
        fs::write(&path, lines).map_err(cannot_write(&path))?;
        logs.push(path);
    }
    Ok(logs)
}

fn line<'a>(at: usize, pair: &'a Pair, teacher: &AdapterTeacher, raw: bool) -> Line<'a> {
    let turn = Turn {
        role: "user",
        content: &pair.prompt,
    };
    Line {
        id: format!("served-{:05}", at + 1),
        prompt: raw.then_some(&pair.prompt),
        messages: (!raw).then_some([turn]),
        response: &pair.answer,
        max_tokens: teacher.max_tokens,
        temperature: teacher.temperature,
        top_p: 1.0,
        finish: if pair.ended {
            Finish::Stop
        } else {
            Finish::Length
        },
    }
}
