//! One decoder for every architecture: the configuration says what a block is made of.

mod backend;
mod cache;
mod crew;
mod device;
mod host;
mod layout;
mod load;
mod network;
mod pass;
mod rotary;
mod view;

use std::ops::Range;

use candle_core::{Device, Tensor};
use filiation_checkpoint::config::ModelConfig;
use rayon::prelude::*;

use crate::LoadError;
use crate::source::WeightSource;
use backend::Outcome;
pub use cache::Cache;
use cache::CacheInner;
use crew::HostCrew;
use device::OnDevice;
pub use host::Product;
use host::{Host, Threads};
pub(crate) use host::{tempered, top};
pub(crate) use layout::shared;
use network::{KeptRow, Network};
use pass::Input;

/// Most tokens that one worker takes at a time: enough to feed the matrix products, few enough for
/// the activations to stay in its cache.
const CHUNK: usize = 512;

/// Tokens a worker below which all threads share each product, and read the weights once, rather
/// than each worker for itself.
const SHARED: usize = 128;

/// Values that a pass may hold between layers: 64 MiB of f32, or four times that where the threads
/// would have too little to do.
const BATCH_VALUES: usize = 1 << 24;
/// Tokens that a thread should have in a pass.
const THREAD_TOKENS: usize = 2048;

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
        let all: Vec<_> = rows.iter().map(|row| 0..row.len()).collect();
        self.states(rows, cache, &all, keep)
    }

    /// As [`Self::hidden`], the states of tokens `read[i]` of row i alone. What several rows begin
    /// with is computed once.
    pub(crate) fn states(
        &self,
        rows: &[&[u32]],
        cache: Option<&mut Cache>,
        read: &[Range<usize>],
        keep: &[usize],
    ) -> Outcome<Hidden> {
        self.check(rows, cache.as_deref(), keep)?;
        let input = Input { rows, read, keep };
        match (&self.inner, cache.map(|c| &mut c.inner)) {
            (Inner::Host(network), None) => self.on_host(network, &input, None),
            (Inner::Host(network), Some(CacheInner::Host(kept))) => {
                self.on_host(network, &input, Some(kept))
            }
            (Inner::Device(network, on), None) => on_device(network, on, &input, None),
            (Inner::Device(network, on), Some(CacheInner::Device(kept))) => {
                on_device(network, on, &input, Some(kept))
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

    /// What `read` makes of each item and the logits of its row of `states`, side by side.
    pub(crate) fn read_logits<R: Send, T: Send>(
        &self,
        states: &Tensor,
        items: Vec<R>,
        read: impl Fn(R, &[f32]) -> T + Sync,
    ) -> Outcome<Vec<T>> {
        let vocabulary = self.config.vocabulary;
        let most = logit_rows(vocabulary).max(64);
        let mut items = items.into_iter();
        let mut found = Vec::with_capacity(items.len());
        for start in (0..states.dim(0)?).step_by(most) {
            let lot: Vec<R> = items.by_ref().take(most).collect();
            let states = states.narrow(0, start, lot.len())?;
            let logits = match &self.inner {
                Inner::Device(network, on) => {
                    network.logits(on, &states)?.flatten_all()?.to_vec1()?
                }
                Inner::Host(network) => {
                    network.logits(&Host::new(Threads::All), &self.rows_of(&states)?.1)?
                }
            };
            let rows = logits.par_chunks_exact(vocabulary).zip(lot);
            found.par_extend(rows.map(|(logits, item)| read(item, logits)));
        }
        Ok(found)
    }

    /// Tokens that a pass should take at most.
    pub(crate) fn batch_tokens(&self) -> usize {
        let config = &self.config;
        let heads = config.heads + 2 * config.kv_heads;
        let token = 2 * config.width + heads * config.head_dim;
        let many = THREAD_TOKENS * rayon::current_num_threads();
        (BATCH_VALUES / token)
            .max(many)
            .min(4 * BATCH_VALUES / token)
            .max(512)
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
        input: &Input<'_>,
        kept: Option<&mut [KeptRow<Host>]>,
    ) -> Outcome<Hidden> {
        let states = pass::run(network, &HostCrew::default(), input, kept, chunk)?;
        let width = self.config.width;
        let pack = |values: Vec<f32>| {
            let shape = (values.len() / width, width);
            Tensor::from_vec(values, shape, &Device::Cpu)
        };
        Ok(Hidden {
            states: pack(states.last)?,
            layers: states
                .layers
                .into_iter()
                .map(pack)
                .collect::<Result<_, _>>()?,
        })
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

fn on_device(
    network: &Network<OnDevice>,
    on: &OnDevice,
    input: &Input<'_>,
    kept: Option<&mut [KeptRow<OnDevice>]>,
) -> Outcome<Hidden> {
    let states = pass::run(network, on, input, kept, |tokens| tokens)?;
    Ok(Hidden {
        states: states.last,
        layers: states.layers,
    })
}

/// Tokens of a chunk, so that every thread has as many to do, or all where there are few.
fn chunk(tokens: usize) -> usize {
    let threads = rayon::current_num_threads();
    if tokens < threads * SHARED {
        return tokens;
    }
    tokens.div_ceil(threads * tokens.div_ceil(threads * CHUNK))
}

fn logit_rows(vocabulary: usize) -> usize {
    (LOGITS / vocabulary).clamp(16, 256)
}

fn host_logprobs(network: &Network<Host>, states: &[f32], targets: &[u32]) -> Outcome<Vec<f64>> {
    let on = Host::new(Threads::All);
    Ok(on.logprobs(states, targets, &network.head, network.logit_softcap))
}
