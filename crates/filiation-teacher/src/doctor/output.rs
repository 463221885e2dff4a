//! Log-probabilities that come with a text: whether they are of that text, and of that model.

use super::seen::Asking;
use super::{Notes, SUM_SLACK};
use crate::call::{Complete, Completed, End, Token};
use crate::{Capability, TeacherError, Tier};

const TURN: &str = "Name the four seasons in order, separated by commas.";
const OPENING: &str = "The days of the week are Monday, Tuesday,";
pub(super) const LENGTH: u32 = 16;
/// Two tokens this near may change places between two computations of one engine.
const TIE: f64 = 0.05;
/// Alternatives that are asked for where as many are declared. What comes is what will be asked for.
const ALTERNATIVES: u32 = 20;

/// What was drawn greedily.
#[derive(Default)]
pub(super) struct Drawn {
    pub(super) text: Option<String>,
}

pub(super) fn check(
    asking: &mut Asking<'_>,
    declared: &Capability,
    notes: &mut Notes,
) -> Result<Drawn, TeacherError> {
    let length = LENGTH.max(declared.least_tokens);
    let input = asking.input(TURN, OPENING);
    let mut call = Complete::of(input, length);
    if declared.sampling {
        call = call.greedy();
    }
    let wanted = declared.tier >= Tier::TopOfOutput;
    if wanted {
        call.top = Some(declared.top.clamp(1, ALTERNATIVES));
    }
    let plain = Complete {
        top: None,
        ..call.clone()
    };
    let completed = match asking.complete(call)? {
        Ok(completed) => completed,
        Err(why) if wanted => {
            notes.fault("logprobs", "logprobs-refused", Tier::Samples, why);
            match asking.complete(plain)? {
                Ok(completed) => completed,
                Err(why) => {
                    notes.fault("completion", "no-completion", Tier::Samples, why);
                    return Ok(Drawn { text: None });
                }
            }
        }
        Err(why) => {
            notes.fault("completion", "no-completion", Tier::Samples, why);
            return Ok(Drawn { text: None });
        }
    };
    judge_length(&completed, length, notes);
    if notes.tier >= Tier::TopOfOutput {
        judge(&completed, declared.sampling, notes);
    }
    if notes.tier == Tier::Full {
        whole(asking, declared, notes)?;
    }
    Ok(Drawn {
        text: Some(completed.text),
    })
}

fn judge_length(completed: &Completed, length: u32, notes: &mut Notes) {
    let drawn = completed.usage.map(|u| u.output).filter(|n| *n > 0);
    let drawn = drawn.unwrap_or(completed.tokens.len() as u64);
    if drawn > u64::from(length) {
        let detail = format!("{drawn} tokens were drawn, at most {length} were asked for");
        notes.odd("length", "max-tokens-ignored", detail);
    } else {
        let end = match &completed.end {
            Some(End::Stop) => "ended by the model",
            Some(End::Length) => "ended by the limit",
            Some(End::Filtered(_)) => "filtered",
            None => "with no word on why it ended",
        };
        notes.sound(
            "length",
            format!("{drawn} of at most {length} tokens, {end}"),
        );
    }
    let hidden = completed.usage.map_or(0, |u| u.reasoning);
    if hidden > 0 || completed.reasoning.as_ref().is_some_and(|r| !r.is_empty()) {
        let detail =
            format!("{hidden} tokens of reasoning came before the text, which hangs on them");
        notes.odd("reasoning", "hidden-reasoning", detail);
    }
}

// Each of these is of the one answer.
fn judge(completed: &Completed, greedy: bool, notes: &mut Notes) {
    const CHECK: &str = "logprobs";
    let tokens: Vec<&Token> = completed
        .tokens
        .iter()
        .filter(|t| t.logprob.is_some())
        .collect();
    if tokens.is_empty() {
        let detail = "log-probabilities were asked for, and the answer holds none";
        return notes.fault(CHECK, "logprobs-silently-ignored", Tier::Samples, detail);
    }
    let spelled: Vec<u8> = completed
        .tokens
        .iter()
        .flat_map(|t| t.bytes.iter().copied())
        .collect();
    // A token that ends the text may be listed, in words.
    let text = completed.text.trim().as_bytes();
    let there = text.is_empty() || spelled.windows(text.len().max(1)).any(|w| w == text);
    if !there {
        let detail = format!(
            "the tokens spell {} bytes that are not the text of {} bytes",
            spelled.len(),
            completed.text.len()
        );
        return notes.fault(CHECK, "tokens-do-not-spell-text", Tier::Samples, detail);
    }
    let positive = tokens
        .iter()
        .filter_map(|t| t.logprob)
        .find(|l| *l > SUM_SLACK);
    if let Some(positive) = positive {
        let detail = format!("a log-probability is {positive}, expected at most 0");
        return notes.fault(CHECK, "positive-logprob", Tier::Samples, detail);
    }
    let sums = tokens
        .iter()
        .map(|t| t.top.iter().map(|a| a.logprob.exp()).sum::<f64>());
    let most = sums.fold(0.0, f64::max);
    if most > 1.0 + SUM_SLACK {
        let detail =
            format!("alternatives have a probability of {most:.4} together, expected at most 1");
        return notes.fault(CHECK, "probabilities-above-one", Tier::Samples, detail);
    }
    let top = tokens.iter().map(|t| t.top.len()).max().unwrap_or(0);
    notes.top = Some(u32::try_from(top).unwrap_or(u32::MAX));
    if top == 0 {
        notes.cap(Tier::Samples);
        return notes.unproved(
            CHECK,
            "no alternatives came: nothing holds the log-probabilities against anything",
        );
    }
    // Drawn as the likeliest, so none may be likelier.
    let beaten = |t: &&&Token| {
        let best = t
            .top
            .iter()
            .map(|a| a.logprob)
            .fold(f64::NEG_INFINITY, f64::max);
        t.logprob.is_some_and(|own| best > own + TIE)
    };
    let wrong = tokens.iter().filter(beaten).count();
    if greedy && wrong > 0 {
        let detail = format!(
            "{wrong} of {} tokens drawn at temperature 0 are not the likeliest by the log-probabilities beside them",
            tokens.len()
        );
        return notes.fault(CHECK, "greedy-is-not-likeliest", Tier::Samples, detail);
    }
    notes.sound(
        CHECK,
        format!(
            "{} tokens, each the likeliest of up to {top} alternatives, which sum to {most:.4} at most",
            tokens.len()
        ),
    );
}

/// How far the sum of a whole distribution may lie from 1: engines normalise by a sum of as many terms in
/// 32 bits, which is off by n·2⁻²⁴ at worst. A quarter of that is allowed; llama.cpp was seen to be off by 1.7e-4
/// of 49,152 tokens and by 5.7e-4 of 262,144.
#[expect(clippy::cast_precision_loss, reason = "a count of tokens")]
fn slack(tokens: usize) -> f64 {
    SUM_SLACK.max(tokens as f64 * 2_f64.powi(-26))
}

// The whole distribution sums to one.
fn whole(
    asking: &mut Asking<'_>,
    declared: &Capability,
    notes: &mut Notes,
) -> Result<(), TeacherError> {
    const CHECK: &str = "distribution";
    let call = Complete {
        top: Some(declared.top),
        ..Complete::of(asking.input(TURN, OPENING), 1).greedy()
    };
    let first = asking.complete(call)?.map(|c| c.tokens.into_iter().next());
    let top = match first {
        Ok(Some(token)) => token.top,
        Ok(None) => {
            notes.fault(
                CHECK,
                "distribution-refused",
                Tier::TeacherForced,
                "no log-probabilities came",
            );
            return Ok(());
        }
        Err(why) => {
            notes.fault(CHECK, "distribution-refused", Tier::TeacherForced, why);
            return Ok(());
        }
    };
    let sum: f64 = top.iter().map(|a| a.logprob.exp()).sum();
    let detail = format!(
        "{} tokens with a probability of {sum:.5} together",
        top.len()
    );
    let slack = slack(top.len());
    if (sum - 1.0).abs() > slack {
        let detail = format!("{detail}, expected 1 within {slack:.1e}");
        notes.fault(CHECK, "distribution-not-whole", Tier::TeacherForced, detail);
    } else {
        notes.top = Some(u32::try_from(top.len()).unwrap_or(u32::MAX));
        notes.sound(CHECK, detail);
    }
    Ok(())
}
