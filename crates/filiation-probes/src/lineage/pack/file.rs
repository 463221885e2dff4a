//! The file of a pack: `FLNPACK` and the version, the length of a JSON header, the header, the
//! numbers, and the digest of everything before it. All sizes follow from the header's.
//!
//! Numbers are little-endian: the Gram matrix of embeddings in `f32`, its upper triangle; anchors ×
//! coordinates; then of each layer the Gram matrices of queries and keys, the neurons' numbers
//! (`u32`, their count first), what they read and their second view. Matrices other than the first
//! are an `f32` scale and values within ±1 in F16.

use std::fs;
use std::path::Path;

use filiation_core::{Digest, canonical};
use half::f16;
use ndarray::Array2;

use super::{ANCHORS, COORDINATES, Facts, LEAST_TOKENS, Layer, METHOD, NEURONS, Pack, TOKENS};
use crate::ProbeError;
use crate::error::PackProblem;

const MAGIC: &[u8; 7] = b"FLNPACK";
const VERSION: u8 = 1;
/// Of magic, version and header length.
const PREFIX: usize = 12;
const DIGEST: usize = 32;

/// Most bytes of a pack, and of its header: those of models of a thousand layers fit.
const MOST_BYTES: u64 = 256 << 20;
const MOST_HEADER: usize = 1 << 20;
const MOST_LAYERS: usize = 1024;

impl Pack {
    /// Whether a file begins as a pack does.
    pub fn is_pack(path: &Path) -> bool {
        use std::io::Read;
        let mut first = [0; MAGIC.len()];
        fs::File::open(path)
            .and_then(|mut file| file.read_exact(&mut first))
            .is_ok_and(|()| &first == MAGIC)
    }

    /// Reads the file of a pack.
    ///
    /// # Errors
    /// Where it cannot be read, or is not a sound pack.
    pub fn open(path: &Path) -> Result<Self, ProbeError> {
        let io = |source| ProbeError::ReadPack {
            file: path.to_owned(),
            source,
        };
        let problem = |problem| ProbeError::Pack {
            file: path.to_owned(),
            problem,
        };
        let found = fs::metadata(path).map_err(io)?.len();
        if found > MOST_BYTES {
            return Err(problem(PackProblem::TooMany {
                what: "its size in bytes",
                found,
                limit: MOST_BYTES,
            }));
        }
        Self::from_bytes(&fs::read(path).map_err(io)?).map_err(problem)
    }

    /// The pack as it is after a file: numbers rounded, the digest known.
    pub(super) fn through_bytes(&self) -> Result<Self, ProbeError> {
        Self::from_bytes(&self.to_bytes()).map_err(|problem| ProbeError::Pack {
            file: self.facts.identity.source.clone().into(),
            problem,
        })
    }

    /// The bytes of its file: the same for the same weights.
    pub fn to_bytes(&self) -> Vec<u8> {
        let header = canonical::to_bytes(&self.facts);
        let mut out = MAGIC.to_vec();
        out.push(VERSION);
        out.extend((header.len() as u32).to_le_bytes());
        out.extend(header);
        for value in upper(&self.gram) {
            out.extend(value.to_le_bytes());
        }
        put(&mut out, self.coordinates.iter().copied());
        for layer in &self.layers {
            put(&mut out, upper(&layer.query));
            put(&mut out, upper(&layer.key));
            out.extend((layer.neurons.len() as u32).to_le_bytes());
            for neuron in &layer.neurons {
                out.extend(neuron.to_le_bytes());
            }
            put(&mut out, layer.up.iter().copied());
            put(&mut out, layer.twin.iter().copied());
        }
        let digest = Digest::of(&out);
        out.extend(digest.as_bytes());
        out
    }

    /// A pack from the bytes of its file.
    ///
    /// # Errors
    /// Where they are not those of a sound pack.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PackProblem> {
        let body = bytes
            .strip_prefix(MAGIC)
            .and_then(|rest| rest.split_first())
            .ok_or(PackProblem::Magic)?;
        if *body.0 != VERSION {
            return Err(PackProblem::Version { found: *body.0 });
        }
        let (facts, start) = facts(bytes)?;
        let content = bytes.len().saturating_sub(DIGEST).max(start);
        let mut numbers = Numbers {
            bytes: &bytes[..content.min(bytes.len())],
            at: start,
        };
        let n = facts.tokens.len();
        let gram = symmetric(n, numbers.plain(n * (n + 1) / 2)?);
        let columns = COORDINATES.min(facts.shape.width);
        let coordinates = matrix(ANCHORS, columns, numbers.scaled(ANCHORS * columns)?);
        let mut layers = Vec::new();
        for _ in 0..facts.shape.layers {
            layers.push(numbers.layer(n, facts.shape.feed_forward)?);
        }
        let expected = numbers.at + DIGEST;
        if bytes.len() != expected {
            return Err(PackProblem::Length {
                found: bytes.len() as u64,
                expected: expected as u64,
            });
        }
        let digest = Digest::of(&bytes[..content]);
        if digest.as_bytes() != &bytes[content..] {
            return Err(PackProblem::Digest);
        }
        Ok(Self {
            facts,
            digest,
            gram,
            coordinates,
            layers,
        })
    }
}

/// The header, and where the numbers begin.
fn facts(bytes: &[u8]) -> Result<(Facts, usize), PackProblem> {
    let short = |expected: usize| PackProblem::Length {
        found: bytes.len() as u64,
        expected: expected as u64,
    };
    let length = bytes
        .get(8..PREFIX)
        .and_then(|b| b.first_chunk())
        .map(|b| u32::from_le_bytes(*b) as usize)
        .ok_or_else(|| short(PREFIX))?;
    too_many("its header in bytes", length, MOST_HEADER)?;
    let start = PREFIX + length;
    let header = bytes.get(PREFIX..start).ok_or_else(|| short(start))?;
    let facts: Facts =
        serde_json::from_slice(header).map_err(|e| PackProblem::Header(e.to_string()))?;
    if facts.method != METHOD {
        return Err(PackProblem::Method {
            found: facts.method.chars().take(120).collect(),
            expected: METHOD,
        });
    }
    too_many("the number of tokens", facts.tokens.len(), TOKENS)?;
    too_many("the number of layers", facts.shape.layers, MOST_LAYERS)?;
    if facts.tokens.len() < LEAST_TOKENS || facts.shape.width == 0 {
        let found = facts.tokens.len();
        return Err(PackProblem::Header(format!(
            "{found} tokens and width {}, expected at least {LEAST_TOKENS} and 1",
            facts.shape.width
        )));
    }
    Ok((facts, start))
}

fn too_many(what: &'static str, found: usize, limit: usize) -> Result<(), PackProblem> {
    if found <= limit {
        return Ok(());
    }
    Err(PackProblem::TooMany {
        what,
        found: found as u64,
        limit: limit as u64,
    })
}

/// Writes a scale, and values by it.
fn put(out: &mut Vec<u8>, values: impl Iterator<Item = f32> + Clone) {
    let top = values.clone().fold(0f32, |m, x| m.max(x.abs()));
    out.extend(top.to_le_bytes());
    let per = if top > 0.0 { 1.0 / top } else { 0.0 };
    for value in values {
        out.extend(f16::from_f32(value * per).to_le_bytes());
    }
}

fn upper(matrix: &Array2<f32>) -> impl Iterator<Item = f32> + Clone + '_ {
    let n = matrix.nrows();
    (0..n).flat_map(move |i| (i..n).map(move |j| matrix[[i, j]]))
}

fn symmetric(n: usize, upper: Vec<f32>) -> Array2<f32> {
    let mut matrix = Array2::zeros((n, n));
    let mut values = upper.into_iter();
    for i in 0..n {
        for j in i..n {
            let value = values.next().unwrap_or(0.0);
            (matrix[[i, j]], matrix[[j, i]]) = (value, value);
        }
    }
    matrix
}

fn matrix(rows: usize, columns: usize, values: Vec<f32>) -> Array2<f32> {
    Array2::from_shape_vec((rows, columns), values).expect("as many values as were asked for")
}

/// Numbers of untrusted bytes.
struct Numbers<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Numbers<'_> {
    fn take(&mut self, count: usize) -> Result<&[u8], PackProblem> {
        let end = self.at + count;
        let found = self.bytes.get(self.at..end).ok_or(PackProblem::Length {
            found: (self.bytes.len() + DIGEST) as u64,
            expected: (end + DIGEST) as u64,
        })?;
        self.at = end;
        Ok(found)
    }

    fn plain(&mut self, count: usize) -> Result<Vec<f32>, PackProblem> {
        let bytes = self.take(4 * count)?.as_chunks::<4>().0;
        finite(bytes.iter().map(|b| f32::from_le_bytes(*b)).collect())
    }

    fn scaled(&mut self, count: usize) -> Result<Vec<f32>, PackProblem> {
        let scale = self.plain(1)?[0];
        let bytes = self.take(2 * count)?.as_chunks::<2>().0;
        let each = bytes.iter().map(|b| f16::from_le_bytes(*b).to_f32());
        finite(each.map(|x| x * scale).collect())
    }

    fn layer(&mut self, tokens: usize, feed_forward: usize) -> Result<Layer, PackProblem> {
        let triangle = tokens * (tokens + 1) / 2;
        let query = symmetric(tokens, self.scaled(triangle)?);
        let key = symmetric(tokens, self.scaled(triangle)?);
        let count = self.numbers(1)?[0] as usize;
        too_many("the neurons of a layer", count, NEURONS.min(feed_forward))?;
        let neurons = self.numbers(count)?;
        let ascend = neurons.windows(2).all(|w| w[0] < w[1]);
        if !ascend || neurons.last().is_some_and(|&n| n as usize >= feed_forward) {
            return Err(PackProblem::Header(format!(
                "neurons of a layer are not ascending numbers below {feed_forward}"
            )));
        }
        Ok(Layer {
            query,
            key,
            neurons,
            up: matrix(tokens, count, self.scaled(tokens * count)?),
            twin: matrix(tokens, count, self.scaled(tokens * count)?),
        })
    }

    fn numbers(&mut self, count: usize) -> Result<Vec<u32>, PackProblem> {
        let bytes = self.take(4 * count)?.as_chunks::<4>().0;
        Ok(bytes.iter().map(|b| u32::from_le_bytes(*b)).collect())
    }
}

fn finite(values: Vec<f32>) -> Result<Vec<f32>, PackProblem> {
    if values.iter().all(|x| x.is_finite()) {
        return Ok(values);
    }
    Err(PackProblem::NotFinite)
}
