//! What varies and what does not.

use super::Notes;
use super::output::{Drawn, LENGTH};
use super::seen::Asking;
use crate::call::Complete;
use crate::{Capability, TeacherError};

const TURN: &str = "Write one sentence about anything you like.";
const OPENING: &str = "Once upon a time";
/// Draws at temperature 1 that must not all be the same text.
const DRAWS: u64 = 4;
const SEED: u64 = 7;

pub(super) fn check(
    asking: &mut Asking<'_>,
    declared: &Capability,
    drawn: &Drawn,
    notes: &mut Notes,
) -> Result<(), TeacherError> {
    if drawn.text.is_none() {
        return Ok(());
    }
    let length = (2 * LENGTH).max(declared.least_tokens);
    let base = |asking: &Asking<'_>| Complete::of(asking.input(TURN, OPENING), length);
    if declared.sampling {
        let greedy = texts(
            asking,
            (0..2)
                .map(|sample| Complete {
                    sample,
                    ..base(asking).greedy()
                })
                .collect(),
        )?;
        match greedy.as_deref() {
            Ok([one, two]) if one == two => {
                notes.sound("determinism", "the same text twice at temperature 0");
            }
            Ok(_) => notes.odd(
                "determinism",
                "greedy-varies",
                "two texts at temperature 0 differ: numbers depend on what else the server computes",
            ),
            Err(why) => notes.unproved("determinism", why.clone()),
        }
    }
    let temperature = declared.sampling.then_some(1.0);
    let draw = |sample: u64, seed: Option<u64>, asking: &Asking<'_>| Complete {
        temperature,
        seed,
        sample,
        ..base(asking)
    };
    let calls = (0..DRAWS)
        .map(|i| draw(i, declared.seed.then_some(SEED + i), asking))
        .collect();
    let samples = match texts(asking, calls)? {
        Ok(samples) => samples,
        Err(why) => {
            notes.unproved("variation", why);
            return Ok(());
        }
    };
    let same = samples.iter().all(|s| *s == samples[0]);
    if same {
        let detail = format!(
            "{DRAWS} texts that should have been drawn at random are one: answers are kept, or temperature is ignored"
        );
        notes.odd("variation", "answers-do-not-vary", detail);
    } else {
        notes.sound(
            "variation",
            format!("{DRAWS} draws at random are not all the same text"),
        );
    }
    if !declared.seed || same {
        return Ok(());
    }
    let again = texts(asking, vec![draw(DRAWS, Some(SEED), asking)])?;
    match again.as_deref() {
        Ok([text]) if *text == samples[0] => {
            notes.sound("seed", "the same seed gave the same text")
        }
        Ok(_) => notes.odd("seed", "seed-ignored", "the same seed gave another text"),
        Err(why) => notes.unproved("seed", why.clone()),
    }
    Ok(())
}

fn texts(
    asking: &mut Asking<'_>,
    calls: Vec<Complete>,
) -> Result<Result<Vec<String>, String>, TeacherError> {
    let mut all = Vec::new();
    for call in calls {
        match asking.complete(call)? {
            Ok(completed) => all.push(completed.text),
            Err(why) => return Ok(Err(why)),
        }
    }
    Ok(Ok(all))
}
