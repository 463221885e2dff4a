//! One decoder for every architecture: the configuration says what a block is made of.

mod backend;
mod device;
mod host;
mod load;
mod network;
mod rotary;
mod view;

use candle_core::{Device, Tensor};
use filiation_checkpoint::config::ModelConfig;
use rayon::prelude::*;

use crate::LoadError;
use crate::source::WeightSource;
use backend::Outcome;
use device::OnDevice;
use host::{Host, Threads};
use network::{KeptRow, Network};

/// Tokens that one worker takes at a time: enough to feed the matrix products, few enough for the
/// activations to stay in its cache.
const BATCH_TOKENS: usize = 512;

/// Tokens below which one worker with every thread reads the weights once, rather than each worker
/// for itself.
const SHARED_TOKENS: usize = 16;

/// Logits held at once by one worker: 32 MiB. Each lot of rows reads the whole head once, so fewer
/// are slower.
const LOGITS: usize = 1 << 23;

/// A decoder with its weights, on the processor or on a device.
///
/// On the processor weights stay where and as they are stored (f32, bf16, f16); the arithmetic is
/// f32 everywhere. A sequence is never padded: what it gives does not depend on the others.
pub struct Decoder {
    config: ModelConfig,
    inner: Inner,
}

enum Inner {
    Host(Box<Network<Host>>),
    Device(Box<Network<OnDevice>>, OnDevice),
}

/// Keys and values of sequences, each at its own length.
pub struct Cache {
    inner: CacheInner,
}

enum CacheInner {
    Host(Vec<KeptRow<Host>>),
    Device(Vec<KeptRow<OnDevice>>),
}

/// States of the tokens of all rows, one after the other.
#[derive(Debug)]
pub struct Hidden {
    /// After the final normalisation, (tokens, width), f32.
    pub states: Tensor,
    /// Those of each layer asked for, in the order asked, (tokens, width), f32.
    pub layers: Vec<Tensor>,
}

impl Decoder {
    /// Builds the decoder that `config` describes.
    ///
    /// # Errors
    /// [`LoadError`] for a tensor that is missing or has the wrong shape, or a device out of memory.
    pub fn load(
        config: &ModelConfig,
        weights: &dyn WeightSource,
        device: &Device,
    ) -> Result<Self, LoadError> {
        if !device.is_cpu() {
            return Self::load_plain(config, weights, device);
        }
        let network = load::network(config, weights, &Host::new(Threads::One))?;
        Ok(Self {
            config: config.clone(),
            inner: Inner::Host(Box::new(network)),
        })
    }

    /// As [`Self::load`], by candle's own operations on the processor too: what other devices
    /// compute, so that it can be checked without one.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_plain(
        config: &ModelConfig,
        weights: &dyn WeightSource,
        device: &Device,
    ) -> Result<Self, LoadError> {
        let on = OnDevice::new(device.clone());
        let network = load::network(config, weights, &on)?;
        Ok(Self {
            config: config.clone(),
            inner: Inner::Device(Box::new(network), on),
        })
    }

    /// The configuration.
    pub const fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// An empty cache for `rows` sequences.
    pub fn cache(&self, rows: usize) -> Cache {
        let layers = self.config.layers.len();
        Cache {
            inner: match &self.inner {
                Inner::Host(_) => {
                    CacheInner::Host((0..rows).map(|_| KeptRow::new(layers)).collect())
                }
                Inner::Device(..) => {
                    CacheInner::Device((0..rows).map(|_| KeptRow::new(layers)).collect())
                }
            },
        }
    }

    /// States of every token of `rows`, each row a sequence of its own. With a cache, row i goes on
    /// where entry i of the cache ends (rows may be empty then), and the cache grows by it.
    ///
    /// Layer 0 of `keep` is the embedding, layer i the output of block i, and the last is after the
    /// final normalisation.
    ///
    /// # Errors
    /// [`LoadError::TokenId`] for an id outside the vocabulary, [`LoadError::TooLong`] beyond the
    /// learned positions, [`LoadError::Layer`] for a layer that there is not,
    /// [`LoadError::CacheRows`] for a cache of another number of rows or another device.
    pub fn hidden(
        &self,
        rows: &[&[u32]],
        cache: Option<&mut Cache>,
        keep: &[usize],
    ) -> Result<Hidden, LoadError> {
        self.check(rows, cache.as_deref(), keep)?;
        match (&self.inner, cache.map(|c| &mut c.inner)) {
            (Inner::Host(network), None) => self.on_host(network, rows, None, keep),
            (Inner::Host(network), Some(CacheInner::Host(kept))) => {
                self.on_host(network, rows, Some(kept), keep)
            }
            (Inner::Device(network, on), None) => on_device(network, on, rows, None, keep),
            (Inner::Device(network, on), Some(CacheInner::Device(kept))) => {
                on_device(network, on, rows, Some(kept), keep)
            }
            _ => Err(LoadError::CacheRows {
                found: 0,
                expected: rows.len(),
            }),
        }
    }

    /// Logits of states, (rows, vocabulary), f32, final soft-cap included.
    ///
    /// # Errors
    /// [`LoadError::Engine`] where the states are not (rows, width) in f32.
    pub fn logits(&self, states: &Tensor) -> Result<Tensor, LoadError> {
        match &self.inner {
            Inner::Device(network, on) => network.logits(on, states),
            Inner::Host(network) => {
                let (rows, states) = self.rows_of(states)?;
                let on = Host::new(Threads::All);
                let logits = network.logits(&on, &states)?;
                let shape = (rows, self.config.vocabulary);
                Ok(Tensor::from_vec(logits, shape, &Device::Cpu)?)
            }
        }
    }

    /// Log-probability, nats, of `targets[i]` under the logits of row i of `states`. Logits are made
    /// a few rows at a time.
    ///
    /// # Errors
    /// [`LoadError::TokenId`] for a target outside the vocabulary, [`LoadError::Engine`] where
    /// `states` is not (targets, width) in f32.
    pub fn logprobs(&self, states: &Tensor, targets: &[u32]) -> Result<Vec<f64>, LoadError> {
        self.check_ids(targets)?;
        match &self.inner {
            Inner::Device(network, on) => {
                on.logprobs(network, states, targets, logit_rows(self.config.vocabulary))
            }
            Inner::Host(network) => {
                let (rows, states) = self.rows_of(states)?;
                if rows != targets.len() {
                    let expected = format!("{rows} rows of states, {} targets", targets.len());
                    return Err(candle_core::Error::Msg(expected).into());
                }
                host_logprobs(network, &states, targets)
            }
        }
    }

    fn on_host(
        &self,
        network: &Network<Host>,
        rows: &[&[u32]],
        kept: Option<&mut Vec<KeptRow<Host>>>,
        keep: &[usize],
    ) -> Outcome<Hidden> {
        let batches = batches(rows);
        let mut kept = kept.map(|kept| kept.as_mut_slice());
        let work: Vec<_> = batches
            .iter()
            .map(|range| {
                let mine = kept.take().map(|all| {
                    let (mine, rest) = all.split_at_mut(range.len());
                    kept = Some(rest);
                    mine
                });
                (&rows[range.clone()], mine)
            })
            .collect();
        let threads = if work.len() == 1 {
            Threads::All
        } else {
            Threads::One
        };
        let run = |(rows, kept): (&[&[u32]], Option<&mut [KeptRow<Host>]>)| {
            network.run(&Host::new(threads), rows, kept, keep)
        };
        let done = if work.len() == 1 {
            work.into_iter().map(run).collect::<Result<Vec<_>, _>>()?
        } else {
            work.into_par_iter()
                .map(run)
                .collect::<Result<Vec<_>, _>>()?
        };
        let mut states = Vec::with_capacity(done.len());
        let mut layers = vec![Vec::with_capacity(done.len()); keep.len()];
        for part in done {
            states.push(part.last);
            for (all, layer) in layers.iter_mut().zip(part.layers) {
                all.push(layer);
            }
        }
        Ok(Hidden {
            states: self.pack(states)?,
            layers: layers
                .into_iter()
                .map(|parts| self.pack(parts))
                .collect::<Result<_, _>>()?,
        })
    }

    fn pack(&self, mut parts: Vec<Vec<f32>>) -> Outcome<Tensor> {
        let values = if parts.len() == 1 {
            parts.remove(0)
        } else {
            parts.concat()
        };
        let shape = (values.len() / self.config.width, self.config.width);
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
    }

    fn rows_of(&self, states: &Tensor) -> Outcome<(usize, Vec<f32>)> {
        let (rows, width) = states.dims2()?;
        if width != self.config.width {
            let message = format!("states of width {width}, expected {}", self.config.width);
            return Err(candle_core::Error::Msg(message).into());
        }
        Ok((rows, states.flatten_all()?.to_vec1()?))
    }

    fn check(&self, rows: &[&[u32]], cache: Option<&Cache>, keep: &[usize]) -> Outcome<()> {
        let lengths = cache.map(Cache::lengths);
        if let Some(lengths) = &lengths
            && lengths.len() != rows.len()
        {
            return Err(LoadError::CacheRows {
                found: lengths.len(),
                expected: rows.len(),
            });
        }
        for (i, row) in rows.iter().enumerate() {
            self.check_ids(row)?;
            let tokens = row.len() + lengths.as_ref().map_or(0, |lengths| lengths[i]);
            if self.config.learned_positions && tokens > self.config.positions {
                return Err(LoadError::TooLong {
                    tokens,
                    limit: self.config.positions,
                });
            }
        }
        let last = self.config.layers.len();
        match keep.iter().find(|layer| **layer > last) {
            Some(layer) => Err(LoadError::Layer {
                found: *layer,
                last,
            }),
            None => Ok(()),
        }
    }

    fn check_ids(&self, ids: &[u32]) -> Outcome<()> {
        let vocabulary = self.config.vocabulary;
        match ids.iter().find(|id| **id as usize >= vocabulary) {
            Some(id) => Err(LoadError::TokenId {
                id: *id,
                vocabulary,
            }),
            None => Ok(()),
        }
    }
}

impl Cache {
    /// Tokens that each row holds.
    pub fn lengths(&self) -> Vec<usize> {
        match &self.inner {
            CacheInner::Host(rows) => rows.iter().map(|row| row.length).collect(),
            CacheInner::Device(rows) => rows.iter().map(|row| row.length).collect(),
        }
    }

    /// Keeps only the rows for which `keep` says so, in their order.
    pub fn retain(&mut self, keep: &[bool]) {
        fn filter<T>(rows: &mut Vec<T>, keep: &[bool]) {
            let mut flags = keep.iter();
            rows.retain(|_| flags.next().copied().unwrap_or(false));
        }
        match &mut self.inner {
            CacheInner::Host(rows) => filter(rows, keep),
            CacheInner::Device(rows) => filter(rows, keep),
        }
    }
}

fn on_device(
    network: &Network<OnDevice>,
    on: &OnDevice,
    rows: &[&[u32]],
    kept: Option<&mut Vec<KeptRow<OnDevice>>>,
    keep: &[usize],
) -> Outcome<Hidden> {
    let states = network.run(on, rows, kept.map(|kept| kept.as_mut_slice()), keep)?;
    Ok(Hidden {
        states: states.last,
        layers: states.layers,
    })
}

/// Runs of rows for one worker each: about `BATCH_TOKENS` tokens, fewer where there would not be one
/// for every thread.
fn batches(rows: &[&[u32]]) -> Vec<std::ops::Range<usize>> {
    let total: usize = rows.iter().map(|row| row.len()).sum();
    let share = total.div_ceil(rayon::current_num_threads());
    let target = share.clamp(SHARED_TOKENS, BATCH_TOKENS);
    let mut batches = Vec::new();
    let (mut start, mut tokens) = (0, 0);
    for (i, row) in rows.iter().enumerate() {
        if i > start && tokens + row.len() > target {
            batches.push(start..i);
            (start, tokens) = (i, 0);
        }
        tokens += row.len();
    }
    batches.push(start..rows.len());
    batches
}

fn logit_rows(vocabulary: usize) -> usize {
    (LOGITS / vocabulary).clamp(16, 256)
}

fn host_logprobs(network: &Network<Host>, states: &[f32], targets: &[u32]) -> Outcome<Vec<f64>> {
    let on = Host::new(Threads::All);
    Ok(on.logprobs(states, targets, &network.head, network.logit_softcap))
}
