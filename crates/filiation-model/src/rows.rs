//! Rows of tokens through the decoder, in batches of bounded size.

use candle_core::Tensor;
use filiation_core::ModelError;

use crate::LoadError;
use crate::decoder::Decoder;
use crate::sample::{log_sum_exp, top_k};

/// Values of states that a batch may hold: 128 MiB of f32.
const BATCH_VALUES: usize = 1 << 25;
/// Tokens a thread in a batch, so that no thread waits long for the last.
const THREAD_TOKENS: usize = 2048;
/// Rows whose logits are held at once.
const LOGIT_ROWS: usize = 64;

pub(crate) type Outcome<T> = Result<T, ModelError>;

/// What is read off the distribution of the next token.
#[derive(Debug, Clone)]
pub(crate) enum Next {
    /// The most likely tokens.
    Best(usize),
    /// These tokens.
    Of(Vec<u32>),
}

/// For each `(ids, first)`, the log-probabilities of `ids[first..]`; `first` is at least 1.
pub(crate) fn scores(decoder: &Decoder, rows: &[(Vec<u32>, usize)]) -> Vec<Outcome<Vec<f64>>> {
    by_length(
        decoder,
        rows,
        |row| &row.0,
        |batch| {
            let ids: Vec<&[u32]> = batch.iter().map(|row| &row.0[..]).collect();
            let hidden = decoder.hidden(&ids, None, &[])?;
            let (mut places, mut targets, mut start) = (Vec::new(), Vec::new(), 0);
            for (ids, first) in batch {
                // The state of a token gives the distribution of the one after it.
                let first = (*first).clamp(1, ids.len());
                places.extend((first..ids.len()).map(|i| (start + i - 1) as u32));
                targets.extend_from_slice(&ids[first..]);
                start += ids.len();
            }
            let mut found = decoder
                .logprobs(&pick(&hidden.states, &places)?, &targets)?
                .into_iter();
            let results = batch.iter().map(|(ids, first)| {
                let first = (*first).clamp(1, ids.len());
                let row: Vec<f64> = found.by_ref().take(ids.len() - first).collect();
                finite(&row, first)?;
                Ok(row)
            });
            Ok(results.collect())
        },
    )
}

/// For each `(ids, next)`, tokens after `ids` and their log-probabilities.
pub(crate) fn nexts(decoder: &Decoder, rows: &[(Vec<u32>, Next)]) -> Vec<Outcome<Vec<(u32, f64)>>> {
    by_length(
        decoder,
        rows,
        |row| &row.0,
        |batch| {
            let ids: Vec<&[u32]> = batch.iter().map(|row| &row.0[..]).collect();
            let states = last_states(&decoder.hidden(&ids, None, &[])?.states, &ids)?;
            let mut results = Vec::with_capacity(batch.len());
            for (at, chunk) in batch.chunks(LOGIT_ROWS).enumerate() {
                let states = states.narrow(0, at * LOGIT_ROWS, chunk.len())?;
                let logits = decoder.logits(&states)?.to_vec2::<f32>()?;
                let read = chunk.iter().zip(&logits).map(|((ids, next), row)| {
                    all_finite(row, ids.len())?;
                    let total = log_sum_exp(row);
                    let ids = match next {
                        Next::Best(k) => top_k(row, *k),
                        Next::Of(ids) => ids.clone(),
                    };
                    let with = |id: u32| (id, f64::from(row[id as usize]) - total);
                    Ok(ids.into_iter().map(with).collect())
                });
                results.extend(read);
            }
            Ok(results)
        },
    )
}

/// For each `(ids, layers)`, the states of the last token after those layers.
pub(crate) fn hidden_states(
    decoder: &Decoder,
    rows: &[(Vec<u32>, Vec<u32>)],
) -> Vec<Outcome<Vec<Vec<f32>>>> {
    let one = |(ids, layers): &(Vec<u32>, Vec<u32>)| -> Outcome<Vec<Vec<f32>>> {
        check(decoder, ids)?;
        let keep: Vec<usize> = layers.iter().map(|&layer| layer as usize).collect();
        let hidden = decoder.hidden(&[ids], None, &keep).map_err(failed)?;
        let last = |layer: &Tensor| -> Result<Vec<f32>, candle_core::Error> {
            layer.narrow(0, ids.len() - 1, 1)?.flatten_all()?.to_vec1()
        };
        let read = |layer| {
            let values = last(layer).map_err(|e| failed(e.into()))?;
            all_finite(&values, ids.len() - 1)?;
            Ok(values)
        };
        hidden.layers.iter().map(read).collect()
    };
    rows.iter().map(one).collect()
}

/// The states of the last token of each row.
pub(crate) fn last_states(states: &Tensor, rows: &[&[u32]]) -> Result<Tensor, LoadError> {
    let mut end = 0;
    let ends = rows.iter().map(|row| {
        end += row.len() as u32;
        end - 1
    });
    pick(states, &ends.collect::<Vec<_>>())
}

fn pick(states: &Tensor, places: &[u32]) -> Result<Tensor, LoadError> {
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
    Ok(())
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
fn finite(values: &[f64], first: usize) -> Outcome<()> {
    match values.iter().position(|v| !v.is_finite()) {
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

/// Runs `work` on batches of rows of like length, and puts the results back in order.
fn by_length<R, T>(
    decoder: &Decoder,
    rows: &[R],
    ids: impl Fn(&R) -> &[u32],
    work: impl Fn(&[&R]) -> Result<Vec<Outcome<T>>, LoadError>,
) -> Vec<Outcome<T>> {
    let mut results: Vec<Option<Outcome<T>>> = rows
        .iter()
        .map(|row| check(decoder, ids(row)).err().map(Err))
        .collect();
    let mut order: Vec<usize> = (0..rows.len()).filter(|&i| results[i].is_none()).collect();
    // Longest first: memory peaks at once, and the last batch is the shortest.
    order.sort_by_key(|&i| std::cmp::Reverse(ids(&rows[i]).len()));
    let budget = batch_tokens(decoder.config().width);
    let mut left = &order[..];
    while !left.is_empty() {
        let mut tokens = 0;
        let fits = left.iter().take_while(|&&i| {
            tokens += ids(&rows[i]).len();
            tokens <= budget
        });
        let (batch, rest) = left.split_at(fits.count().max(1));
        left = rest;
        let chosen: Vec<&R> = batch.iter().map(|&i| &rows[i]).collect();
        match work(&chosen) {
            Ok(done) => {
                for (&i, result) in batch.iter().zip(done) {
                    results[i] = Some(result);
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
    let unanswered = || {
        Err(ModelError::Engine {
            reason: "a batch came back short".into(),
        })
    };
    results
        .into_iter()
        .map(|r| r.unwrap_or_else(unanswered))
        .collect()
}

fn batch_tokens(width: usize) -> usize {
    let most = (BATCH_VALUES / width.max(1)).max(512);
    (THREAD_TOKENS * rayon::current_num_threads()).min(most)
}
