use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use filiation_core::Digest;
use rand::RngCore;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::{LabError, Slice};

/// Independent random streams of one seed, so that one more draw in one place moves nothing else.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stream {
    Split = 1,
    Initialise = 2,
    Order = 3,
    Sample = 4,
    Mix = 5,
    Deal = 6,
    Hide = 7,
}

pub(crate) fn stream(seed: u64, stream: Stream) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream as u64);
    rng
}

/// Uniform in [0, 1), 53 bits.
pub(crate) fn uniform(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// Fisher-Yates.
pub(crate) fn shuffle<T>(items: &mut [T], rng: &mut ChaCha8Rng) {
    for i in (1..items.len()).rev() {
        let j = (uniform(rng) * (i + 1) as f64) as usize;
        items.swap(i, j);
    }
}

/// The sources of a recipe, shuffled once.
#[derive(Debug)]
pub(crate) struct Sources {
    lines: BTreeMap<String, Vec<String>>,
    digests: BTreeMap<String, Digest>,
}

impl Sources {
    /// Reads `files`, name to file in `folder`.
    pub(crate) fn read(
        files: &BTreeMap<String, String>,
        split_seed: u64,
        folder: &Path,
    ) -> Result<Self, LabError> {
        let mut sources = Self {
            lines: BTreeMap::new(),
            digests: BTreeMap::new(),
        };
        for (name, file) in files {
            let path = folder.join(file);
            let text =
                fs::read_to_string(&path).map_err(|source| LabError::Read { path, source })?;
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.retain(|line| !line.trim().is_empty());
            shuffle(&mut lines, &mut stream(split_seed, Stream::Split));
            sources
                .digests
                .insert(name.clone(), Digest::of(text.as_bytes()));
            sources.lines.insert(name.clone(), lines);
        }
        Ok(sources)
    }

    /// Digest of each file.
    pub(crate) const fn digests(&self) -> &BTreeMap<String, Digest> {
        &self.digests
    }

    /// The lines of the slices, one slice after the other.
    pub(crate) fn lines(&self, slices: &[Slice]) -> Result<Vec<&str>, LabError> {
        let mut all = Vec::new();
        for slice in slices {
            let lines = self.lines.get(&slice.source).map_or(&[][..], Vec::as_slice);
            let part = lines
                .get(slice.from..slice.to)
                .ok_or_else(|| LabError::Slice {
                    source_name: slice.source.clone(),
                    lines: lines.len(),
                    from: slice.from,
                    to: slice.to,
                })?;
            all.extend(part.iter().map(String::as_str));
        }
        Ok(all)
    }
}
