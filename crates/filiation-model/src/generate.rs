//! Completions, many rows at a time over one cache.

use filiation_core::{Completion, Finish, Sampling};

use crate::LoadError;
use crate::decoder::Decoder;
use crate::rows::{Outcome, check, failed, last_states};
use crate::sample::Sampler;
use crate::text::Text;

/// Most rows that one decoding step takes.
const ROWS: usize = 64;
/// Keys and values that the caches of one batch may hold: 1 GiB of f32.
const CACHE_VALUES: usize = 1 << 28;

/// A completion that is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) prompt: Vec<u32>,
    pub(crate) max_tokens: usize,
    pub(crate) sampling: Sampling,
}

struct Row {
    /// Place in the batch.
    at: usize,
    sampler: Sampler,
    left: usize,
}

/// Tokens and why they end, or where the logits were not finite.
#[derive(Debug, Clone)]
struct Drawn {
    tokens: Vec<u32>,
    finish: Finish,
    not_finite: Option<usize>,
}

/// Completions of `wanted`, which end at the ids `ends`.
pub(crate) fn completions(
    decoder: &Decoder,
    text: &Text,
    ends: &[u32],
    wanted: &[Wanted],
) -> Vec<Outcome<Completion>> {
    let mut results: Vec<Option<Outcome<Completion>>> = wanted
        .iter()
        .map(|w| check(decoder, &w.prompt).err().map(Err))
        .collect();
    let mut order: Vec<usize> = (0..wanted.len())
        .filter(|&i| results[i].is_none())
        .collect();
    order.sort_by_key(|&i| std::cmp::Reverse(wanted[i].prompt.len()));
    let mut left = &order[..];
    while !left.is_empty() {
        let (batch, rest) = left.split_at(batch_rows(decoder, wanted, left));
        left = rest;
        let chosen: Vec<&Wanted> = batch.iter().map(|&i| &wanted[i]).collect();
        match draw(decoder, ends, &chosen) {
            Ok(drawn) => {
                for (&i, drawn) in batch.iter().zip(drawn) {
                    results[i] = Some(completion(text, &wanted[i], drawn));
                }
            }
            Err(error) => {
                let error = failed(error);
                batch
                    .iter()
                    .for_each(|&i| results[i] = Some(Err(error.clone())));
            }
        }
    }
    results.into_iter().flatten().collect()
}

fn batch_rows(decoder: &Decoder, wanted: &[Wanted], left: &[usize]) -> usize {
    let config = decoder.config();
    let token = 2 * config.layers.len() * config.kv_heads * config.head_dim;
    let mut values = 0;
    let fits = left.iter().take(ROWS).take_while(|&&i| {
        let tokens = wanted[i].prompt.len() + wanted[i].max_tokens;
        values += tokens.min(config.positions) * token;
        values <= CACHE_VALUES
    });
    fits.count().max(1)
}

fn completion(text: &Text, wanted: &Wanted, drawn: Drawn) -> Outcome<Completion> {
    if let Some(after) = drawn.not_finite {
        return Err(filiation_core::ModelError::NotFinite {
            position: (wanted.prompt.len() + after) as u64,
        });
    }
    let mut decoded = text.decode(&drawn.tokens)?;
    if drawn.finish == Finish::Length {
        // A character that the last token leaves unfinished is not part of the text.
        decoded.truncate(decoded.trim_end_matches('\u{fffd}').len());
    }
    Ok(Completion {
        text: decoded,
        tokens: drawn.tokens,
        finish: drawn.finish,
    })
}

fn draw(decoder: &Decoder, ends: &[u32], wanted: &[&Wanted]) -> Result<Vec<Drawn>, LoadError> {
    let nothing = Drawn {
        tokens: Vec::new(),
        finish: Finish::Length,
        not_finite: None,
    };
    let mut drawn = vec![nothing; wanted.len()];
    let positions = decoder.config().positions;
    let mut rows: Vec<Row> = wanted
        .iter()
        .enumerate()
        .map(|(at, w)| Row {
            at,
            sampler: Sampler::new(w.sampling),
            // The last token is drawn but never read, so it needs no position of its own.
            left: w.max_tokens.min(positions + 1 - w.prompt.len()),
        })
        .filter(|row| row.left > 0)
        .collect();
    let mut cache = decoder.cache(rows.len());
    let mut inputs: Vec<Vec<u32>> = rows.iter().map(|r| wanted[r.at].prompt.clone()).collect();
    while !rows.is_empty() {
        let slices: Vec<&[u32]> = inputs.iter().map(Vec::as_slice).collect();
        let states = decoder.hidden(&slices, Some(&mut cache), &[])?.states;
        let logits = decoder
            .logits(&last_states(&states, &slices)?)?
            .to_vec2::<f32>()?;
        let going = step(&mut rows, &logits, ends, &mut drawn);
        cache.retain(&going);
        inputs = rows
            .iter()
            .filter_map(|row| drawn[row.at].tokens.last())
            .map(|&t| vec![t])
            .collect();
    }
    Ok(drawn)
}

/// Draws one token a row, drops the rows that end, and says which go on.
fn step(rows: &mut Vec<Row>, logits: &[Vec<f32>], ends: &[u32], drawn: &mut [Drawn]) -> Vec<bool> {
    let going: Vec<bool> = rows
        .iter_mut()
        .zip(logits)
        .map(|(row, logits)| {
            let drawn = &mut drawn[row.at];
            match row.sampler.next(logits) {
                None => {
                    drawn.not_finite = Some(drawn.tokens.len());
                    false
                }
                Some(token) if ends.contains(&token) => {
                    drawn.finish = Finish::Stop;
                    false
                }
                Some(token) => {
                    drawn.tokens.push(token);
                    row.left -= 1;
                    row.left > 0
                }
            }
        })
        .collect();
    let mut flags = going.iter();
    rows.retain(|_| flags.next().copied().unwrap_or(false));
    going
}
