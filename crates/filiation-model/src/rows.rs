//! Rows of tokens through the decoder, in batches of bounded size.

use candle_core::Tensor;
use filiation_core::ModelError;

use crate::LoadError;
use crate::decoder::{Decoder, shared};
use crate::sample::{log_sum_exp, top_k};

pub(crate) type Outcome<T> = Result<T, ModelError>;

/// What is read off a row of tokens: tokens and their log-probabilities.
#[derive(Debug, Clone)]
pub(crate) enum Read {
    /// Its own tokens from this one on; the first has none before it and is left out.
    From(usize),
    /// In the place of each of its tokens from this one on, so many most likely ones.
    Each(usize, usize),
    /// The most likely tokens after it.
    Best(usize),
    /// These tokens after it.
    Of(Vec<u32>),
}

/// Tokens, and what is read off them.
pub(crate) type Row = (Vec<u32>, Read);

/// Tokens and their log-probabilities.
pub(crate) type Logprobs = Vec<(u32, f64)>;

/// What each row asks for. What rows begin with alike is computed once in a batch.
pub(crate) fn read(decoder: &Decoder, rows: &[Row]) -> Vec<Outcome<Logprobs>> {
    let mut results: Vec<_> = rows.iter().map(|_| Err(short())).collect();
    in_batches(
        decoder,
        rows,
        (0..rows.len()).collect(),
        fed,
        |batch| read_batch(decoder, batch),
        &mut results,
    );
    results
}

/// The tokens that must be run: nothing is read after the last of a scored row.
fn fed((ids, read): &Row) -> &[u32] {
    match read {
        Read::From(_) | Read::Each(..) => &ids[..ids.len().saturating_sub(1)],
        Read::Best(_) | Read::Of(_) => ids,
    }
}

fn read_batch(decoder: &Decoder, batch: &[&Row]) -> Result<Vec<Outcome<Logprobs>>, LoadError> {
    let ids: Vec<&[u32]> = batch.iter().map(|row| fed(row)).collect();
    let (mut reads, mut targets, mut nexts) = (Vec::new(), Vec::new(), Vec::new());
    for (ids, read) in batch {
        // The state of a token gives the distribution of the one after it.
        reads.push(match read {
            Read::From(first) => {
                let first = (*first).clamp(1, ids.len());
                targets.extend_from_slice(&ids[first..]);
                first - 1..ids.len() - 1
            }
            Read::Each(first, _) => {
                let first = (*first).clamp(1, ids.len());
                nexts.extend((first..ids.len()).map(|at| (at, read)));
                first - 1..ids.len() - 1
            }
            Read::Best(_) | Read::Of(_) => {
                nexts.push((ids.len(), read));
                ids.len() - 1..ids.len()
            }
        });
    }
    let states = decoder.states(&ids, None, &reads, &[])?.states;
    let (mut scored, mut after, mut start) = (Vec::new(), Vec::new(), 0);
    for ((_, read), rows) in batch.iter().zip(&reads) {
        let places = start..start + rows.len() as u32;
        start = places.end;
        match read {
            Read::From(_) => scored.extend(places),
            Read::Each(..) | Read::Best(_) | Read::Of(_) => after.extend(places),
        }
    }
    let scored = decoder.logprobs(&pick(&states, &scored)?, &targets)?;
    let mut scored = targets.into_iter().zip(scored);
    let nexts = decoder.read_logits(&pick(&states, &after)?, nexts, |(at, read), logits| {
        next(at, read, logits)
    })?;
    let mut nexts = nexts.into_iter();
    let results = batch.iter().map(|(ids, read)| match read {
        Read::From(first) => {
            let first = (*first).clamp(1, ids.len());
            let row: Vec<_> = scored.by_ref().take(ids.len() - first).collect();
            finite(&row, first)?;
            Ok(row)
        }
        Read::Each(first, _) => {
            let places = ids.len() - (*first).clamp(1, ids.len());
            let mut row = Vec::new();
            // All are taken, so that the next row's come next.
            let each: Vec<_> = nexts.by_ref().take(places).collect();
            for one in each {
                row.extend(one?);
            }
            Ok(row)
        }
        Read::Best(_) | Read::Of(_) => nexts.next().unwrap_or_else(|| Err(short())),
    });
    Ok(results.collect())
}

/// What `read` asks for of the logits after token `at`.
fn next(at: usize, read: &Read, logits: &[f32]) -> Outcome<Logprobs> {
    all_finite(logits, at)?;
    let total = log_sum_exp(logits);
    let ids = match read {
        Read::Best(k) | Read::Each(_, k) => top_k(logits, *k),
        Read::Of(ids) => ids.clone(),
        Read::From(_) => Vec::new(),
    };
    let with = |id: u32| (id, f64::from(logits[id as usize]) - total);
    Ok(ids.into_iter().map(with).collect())
}

/// For each `(ids, layers)`, the states of the last token after those layers.
pub(crate) fn hidden_states(
    decoder: &Decoder,
    rows: &[(Vec<u32>, Vec<u32>)],
) -> Vec<Outcome<Vec<Vec<f32>>>> {
    let mut results: Vec<_> = rows.iter().map(|_| Err(short())).collect();
    let mut kinds: Vec<&[u32]> = rows.iter().map(|(_, layers)| &layers[..]).collect();
    kinds.sort_unstable();
    kinds.dedup();
    for layers in kinds {
        let places: Vec<usize> = (0..rows.len()).filter(|&i| rows[i].1 == layers).collect();
        let keep: Vec<usize> = layers.iter().map(|&layer| layer as usize).collect();
        let states = |batch: &[&(Vec<u32>, Vec<u32>)]| {
            let ids: Vec<&[u32]> = batch.iter().map(|(ids, _)| &ids[..]).collect();
            let last: Vec<_> = ids.iter().map(|ids| ids.len() - 1..ids.len()).collect();
            let hidden = decoder.states(&ids, None, &last, &keep)?;
            let layers = hidden.layers.iter().map(Tensor::to_vec2::<f32>);
            let layers = layers.collect::<Result<Vec<_>, _>>()?;
            let of_row = |(i, ids): (usize, &&[u32])| {
                let states = layers.iter().map(|rows| {
                    all_finite(&rows[i], ids.len() - 1)?;
                    Ok(rows[i].clone())
                });
                states.collect()
            };
            Ok(ids.iter().enumerate().map(of_row).collect())
        };
        in_batches(decoder, rows, places, |row| &row.0, states, &mut results);
    }
    results
}

/// Some rows of `states`.
pub(crate) fn pick(states: &Tensor, places: &[u32]) -> Result<Tensor, LoadError> {
    let index = Tensor::new(places, states.device())?;
    Ok(states.index_select(&index, 0)?)
}

/// Errors that a row brings by itself.
pub(crate) fn check(decoder: &Decoder, ids: &[u32]) -> Outcome<()> {
    let config = decoder.config();
    if ids.is_empty() {
        return Err(ModelError::Tokenizer {
            reason: "no tokens, expected at least one".into(),
        });
    }
    if let Some(id) = ids.iter().find(|&&id| id as usize >= config.vocabulary) {
        return Err(ModelError::Tokenizer {
            reason: format!("token id {id}, expected less than {}", config.vocabulary),
        });
    }
    if ids.len() > config.positions {
        return Err(ModelError::TooLong {
            tokens: ids.len() as u64,
            limit: config.positions as u64,
        });
    }
    fits(decoder, ids.len())
}

/// An error where a row of so many tokens does not fit the bound on memory.
pub(crate) fn fits(decoder: &Decoder, tokens: usize) -> Outcome<()> {
    match decoder.budget().longest {
        Some(longest) if tokens > longest => Err(ModelError::Engine {
            reason: format!(
                "{tokens} tokens in a row, expected at most {longest} in the memory allowed"
            ),
        }),
        _ => Ok(()),
    }
}

/// An error where a value of the token at `position` is NaN or infinite.
fn all_finite(values: &[f32], position: usize) -> Outcome<()> {
    if values.iter().all(|v| v.is_finite()) {
        return Ok(());
    }
    let position = position as u64;
    Err(ModelError::NotFinite { position })
}

/// An error for the first value that is NaN or infinite; `values[0]` belongs to token `first`.
fn finite(values: &[(u32, f64)], first: usize) -> Outcome<()> {
    match values.iter().position(|(_, v)| !v.is_finite()) {
        Some(at) => Err(ModelError::NotFinite {
            position: (first + at) as u64,
        }),
        None => Ok(()),
    }
}

pub(crate) fn failed(error: LoadError) -> ModelError {
    match error {
        LoadError::TooLong { tokens, limit } => ModelError::TooLong {
            tokens: tokens as u64,
            limit: limit as u64,
        },
        LoadError::Engine(source) => ModelError::Engine {
            reason: source.to_string(),
        },
        other => ModelError::Engine {
            reason: other.to_string(),
        },
    }
}

pub(crate) fn short() -> ModelError {
    ModelError::Engine {
        reason: "a batch came back short".into(),
    }
}

/// Runs `work` on batches of the rows at `places`, those that begin alike together, and puts what
/// it gives in their places. `fed` gives the tokens of a row that are run.
fn in_batches<K, T>(
    decoder: &Decoder,
    rows: &[(Vec<u32>, K)],
    mut places: Vec<usize>,
    fed: impl Fn(&(Vec<u32>, K)) -> &[u32],
    work: impl Fn(&[&(Vec<u32>, K)]) -> Result<Vec<Outcome<T>>, LoadError>,
    results: &mut [Outcome<T>],
) {
    places.retain(|&i| match check(decoder, &rows[i].0) {
        Ok(()) => true,
        Err(error) => {
            results[i] = Err(error);
            false
        }
    });
    places.sort_by(|&a, &b| fed(&rows[a]).cmp(fed(&rows[b])));
    let mut left = &places[..];
    while !left.is_empty() {
        let fits = batch_rows(decoder.budget().tokens, left.iter().map(|&i| fed(&rows[i])));
        let (batch, rest) = left.split_at(fits);
        left = rest;
        let chosen: Vec<_> = batch.iter().map(|&i| &rows[i]).collect();
        match work(&chosen) {
            Ok(done) => {
                for (&i, result) in batch.iter().zip(done) {
                    results[i] = result;
                }
            }
            Err(error) => {
                let error = failed(error);
                for &i in batch {
                    results[i] = Err(error.clone());
                }
            }
        }
    }
}

/// Sorted rows, from the first on, that a batch of `most` tokens takes.
fn batch_rows<'a>(most: usize, rows: impl Iterator<Item = &'a [u32]>) -> usize {
    let (mut tokens, mut before): (usize, &[u32]) = (0, &[]);
    let fits = rows.take_while(|row| {
        let known = shared(before, row);
        tokens += row.len() - known;
        before = row;
        // A long beginning is not computed again for the sake of a few more tokens.
        tokens <= if known > most / 8 { 4 * most } else { most }
    });
    fits.count().max(1)
}
