//! Log-probabilities of given text: drawn text is given back, and must be found as likely as it was.

use filiation_core::Prompt;

use super::seen::Asking;
use super::{Notes, SUM_SLACK};
use crate::call::{Complete, Completed, Input, Token};
use crate::forced::{Text, score};
use crate::{Capability, Dialect, TeacherError, Tier};

const CHECK: &str = "prompt-logprobs";
/// Continued with little doubt by every model, over more than one token.
const OPENING: &str = "One, two, three, four, five, six, seven,";
const LENGTH: u32 = 12;
/// Tokens that must be comparable for the check to say anything.
const LEAST: usize = 4;
/// Largest median difference between two computations of one engine (up to 0.1 nat was seen of one
/// token between two builds), nats.
const APART: f64 = 0.2;
/// Two tokens this near may change places.
const TIE: f64 = 0.05;

pub(super) fn check(
    asking: &mut Asking<'_>,
    declared: &Capability,
    notes: &mut Notes,
) -> Result<(), TeacherError> {
    if declared.tier < Tier::TeacherForced || notes.tier < Tier::TopOfOutput {
        return Ok(());
    }
    if !declared.text {
        notes.cap(Tier::TopOfOutput);
        notes.unproved(CHECK, "plain text cannot be given: nothing was proved");
        return Ok(());
    }
    let draw = Complete {
        top: Some(declared.top.clamp(1, 5)),
        ..Complete::of(Input::Text(OPENING.into()), LENGTH).greedy()
    };
    let drawn = match asking.complete(draw)? {
        Ok(drawn) => drawn,
        Err(why) => {
            notes.fault(CHECK, "no-completion", Tier::TopOfOutput, why);
            return Ok(());
        }
    };
    match asking.client().endpoint().dialect() {
        Dialect::LlamaCpp => stepped(asking, &drawn, notes),
        _ => echoed(asking, declared, &drawn, notes),
    }
    .map(|()| {
        // What was not proved is not granted.
        let proved = notes
            .checks
            .iter()
            .any(|c| c.name == CHECK && c.verdict == super::Verdict::Sound);
        if !proved {
            notes.cap(Tier::TopOfOutput);
        }
    })
}

fn echoed(
    asking: &mut Asking<'_>,
    declared: &Capability,
    drawn: &Completed,
    notes: &mut Notes,
) -> Result<(), TeacherError> {
    let whole = format!("{OPENING}{}", drawn.text);
    let call = Complete {
        forced: Some(declared.top.clamp(1, 5)),
        ..Complete::of(Input::Text(whole.clone()), 1).greedy()
    };
    let given = match asking.complete(call)? {
        Ok(given) => given.input,
        Err(why) => {
            let ignored = why.contains("ignored");
            let name = if ignored {
                "echo-silently-ignored"
            } else {
                "prompt-logprobs-refused"
            };
            notes.fault(CHECK, name, Tier::TopOfOutput, why);
            return Ok(());
        }
    };
    let with = given.iter().filter(|t| t.logprob.is_some()).count();
    if with == 0 {
        let detail = format!(
            "{} bytes were to be scored, and no log-probability came",
            whole.len()
        );
        notes.fault(
            CHECK,
            "prompt-logprobs-silently-ignored",
            Tier::TopOfOutput,
            detail,
        );
        return Ok(());
    }
    let spelled: Vec<u8> = given.iter().flat_map(|t| t.bytes.iter().copied()).collect();
    if !spelled.ends_with(whole.as_bytes()) {
        let detail = format!(
            "the {} tokens of the input spell {} bytes that are not the {} that were given",
            given.len(),
            spelled.len(),
            whole.len()
        );
        notes.fault(
            CHECK,
            "prompt-tokens-do-not-spell-prompt",
            Tier::TopOfOutput,
            detail,
        );
        return Ok(());
    }
    if let Some(bad) = given
        .iter()
        .filter_map(|t| t.logprob)
        .find(|l| *l > SUM_SLACK)
    {
        notes.fault(
            CHECK,
            "positive-logprob",
            Tier::TopOfOutput,
            format!("{bad}, expected at most 0"),
        );
        return Ok(());
    }
    let pairs = laid(&given, drawn, spelled.len() - drawn.text.len());
    judge(&given, &pairs, notes);
    Ok(())
}

/// Where a drawn token stands among the given ones.
struct Pair<'a> {
    place: usize,
    drawn: &'a Token,
}

// Drawn tokens that stand at the same bytes of the given text, as the same token.
fn laid<'a>(given: &[Token], drawn: &'a Completed, from: usize) -> Vec<Pair<'a>> {
    let mut starts = std::collections::BTreeMap::new();
    let mut at = 0;
    for (place, token) in given.iter().enumerate() {
        if !token.bytes.is_empty() {
            starts.insert((at, token.bytes.as_slice()), place);
        }
        at += token.bytes.len();
    }
    let mut pairs = Vec::new();
    let mut at = from;
    for token in &drawn.tokens {
        if let Some(place) = starts.get(&(at, token.bytes.as_slice())) {
            pairs.push(Pair {
                place: *place,
                drawn: token,
            });
        }
        at += token.bytes.len();
    }
    pairs
}

fn judge(given: &[Token], pairs: &[Pair<'_>], notes: &mut Notes) {
    if pairs.len() < LEAST {
        let detail = format!(
            "{} tokens of the drawn text are found in the given one, at least {LEAST} are needed",
            pairs.len()
        );
        return notes.unproved(CHECK, detail);
    }
    let n = pairs.len();
    let first = |shift: isize| {
        let hits = pairs.iter().filter(|p| is_first(given, p, shift)).count();
        (hits, shift)
    };
    let here = first(0).0;
    // One place may be a tie.
    if here + 1 < n {
        let (best, shift) = [first(-1), first(1)].into_iter().max().unwrap_or((0, 0));
        if best + 1 >= n {
            let (name, side) = match shift {
                -1 => (
                    "prompt-logprobs-off-by-one",
                    "the token before: each entry is of the token that follows it",
                ),
                _ => (
                    "prompt-logprobs-off-by-minus-one",
                    "the token after: each entry is of the token before it",
                ),
            };
            let detail = format!(
                "{here} of {n} tokens drawn at temperature 0 are likeliest at their own place, {best} at that of {side}"
            );
            return notes.fault(CHECK, name, Tier::TopOfOutput, detail);
        }
        let detail = format!(
            "{here} of {n} tokens drawn at temperature 0 are the likeliest where they stand when given back"
        );
        return notes.fault(
            CHECK,
            "prompt-logprobs-of-another-text",
            Tier::TopOfOutput,
            detail,
        );
    }
    let mut apart: Vec<f64> = pairs
        .iter()
        .filter_map(|p| Some((given[p.place].logprob? - p.drawn.logprob?).abs()))
        .collect();
    apart.sort_by(f64::total_cmp);
    let median = apart.get(apart.len() / 2).copied();
    match median {
        Some(median) if median > APART => {
            let detail = format!(
                "given back, drawn tokens differ by {median:.3} nat at the median from what they had when drawn, \
                 expected at most {APART}: another temperature, or another model"
            );
            notes.fault(CHECK, "prompt-logprobs-differ", Tier::TopOfOutput, detail);
        }
        Some(median) => notes.sound(
            CHECK,
            format!("{here} of {n} drawn tokens are likeliest at their own place, {median:.4} nat apart at the median"),
        ),
        None => notes.unproved(CHECK, "the drawn tokens have no log-probabilities to hold them against"),
    }
}

// Whether a drawn token is the likeliest by the entry `shift` places on.
fn is_first(given: &[Token], pair: &Pair<'_>, shift: isize) -> bool {
    let Some(entry) = pair
        .place
        .checked_add_signed(shift)
        .and_then(|at| given.get(at))
    else {
        return false;
    };
    let own = entry
        .top
        .iter()
        .find(|a| a.bytes == pair.drawn.bytes)
        .map(|a| a.logprob);
    // At its own place the token's own value counts where it is not among the alternatives.
    let own = own.or(entry.logprob.filter(|_| shift == 0));
    let best = entry
        .top
        .iter()
        .map(|a| a.logprob)
        .fold(f64::NEG_INFINITY, f64::max);
    own.is_some_and(|own| own + TIE >= best)
}

// A token at a time: the drawn text must be as likely as when it was drawn.
fn stepped(
    asking: &mut Asking<'_>,
    drawn: &Completed,
    notes: &mut Notes,
) -> Result<(), TeacherError> {
    let text = Text::joint(&Prompt::Text(OPENING.into()), &drawn.text);
    let scored = score(asking.client(), &[text]).pop();
    let scored = match scored {
        Some(Ok(scored)) => scored,
        Some(Err(error)) if error.is_data() => {
            notes.fault(
                CHECK,
                "prompt-logprobs-refused",
                Tier::TopOfOutput,
                error.to_string(),
            );
            return Ok(());
        }
        Some(Err(error)) => return Err(error),
        None => return Ok(()),
    };
    asking.also_asked(scored.tokens.len() as u32 + 2);
    let (mut at, mut apart) = (0_u32, Vec::new());
    for token in &drawn.tokens {
        let end = at + token.bytes.len() as u32;
        let same = scored.tokens.iter().find(|s| s.start == at && s.end == end);
        apart.extend(
            same.zip(token.logprob)
                .map(|(s, own)| (s.logprob - own).abs()),
        );
        at = end;
    }
    apart.sort_by(f64::total_cmp);
    if apart.len() < LEAST {
        let detail = format!(
            "{} tokens of the drawn text are found in the given one, at least {LEAST} are needed",
            apart.len()
        );
        notes.unproved(CHECK, detail);
        return Ok(());
    }
    let median = apart[apart.len() / 2];
    if median > APART {
        let detail = format!(
            "stepped over, drawn tokens differ by {median:.3} nat at the median, expected at most {APART}"
        );
        notes.fault(CHECK, "prompt-logprobs-differ", Tier::TopOfOutput, detail);
    } else {
        let detail = format!(
            "{} drawn tokens stepped over, {median:.4} nat apart at the median",
            apart.len()
        );
        notes.sound(CHECK, detail);
    }
    Ok(())
}
