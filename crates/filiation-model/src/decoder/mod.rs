//! One decoder for every architecture: the configuration says what a block is made of.

mod backend;
mod budget;
mod cache;
mod crew;
mod device;
mod host;
mod layout;
mod load;
mod network;
mod pass;
mod rotary;
mod scoring;
mod stream;
mod view;

use std::ops::Range;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use filiation_checkpoint::config::ModelConfig;

use crate::LoadError;
use crate::source::WeightSource;
use backend::Outcome;
use budget::Layers;
pub(crate) use budget::{Budget, resident};
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
use stream::Source;

/// Most tokens that one worker takes at a time: enough to feed the matrix products, few enough for
/// the activations to stay in its cache.
const CHUNK: usize = 512;

/// Tokens a worker below which all threads share each product, and read the weights once, rather
/// than each worker for itself.
const SHARED: usize = 128;

/// A decoder with its weights, on the processor or on a device.
///
/// On the processor weights stay where and as they are stored (f32, bf16, f16); the arithmetic is
/// f32 everywhere. A sequence is never padded: what it gives does not depend on the others.
pub struct Decoder {
    config: ModelConfig,
    inner: Inner,
    budget: Budget,
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
        Ok(Self::new(config, Inner::Host(Box::new(network))))
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
        Ok(Self::new(config, Inner::Device(Box::new(network), on)))
    }

    /// As [`Self::load`], in `space` bytes of the device's memory for weights and states. Where the
    /// weights do not fit, layers are made one after the other, and all rows pass through each; the
    /// results are the same, bit by bit.
    ///
    /// # Errors
    /// As [`Self::load`], and [`LoadError::Memory`] where not even one layer fits.
    pub fn load_within(
        config: &ModelConfig,
        weights: Arc<dyn WeightSource + Send + Sync>,
        device: &Device,
        space: u64,
    ) -> Result<Self, LoadError> {
        let budget = Budget::within(config, &*weights, space)?;
        let mut decoder = match budget.layers {
            Layers::Held => Self::load(config, &*weights, device)?,
            Layers::Streamed { ahead, vocabulary } => {
                Self::streamed(config, &weights, device, (ahead, vocabulary))?
            }
        };
        decoder.budget = budget;
        Ok(decoder)
    }

    fn streamed(
        config: &ModelConfig,
        weights: &Source,
        device: &Device,
        how: (bool, usize),
    ) -> Outcome<Self> {
        let inner = if device.is_cpu() {
            let on = Host::new(Threads::One);
            Inner::Host(Box::new(load::streamed(config, weights, &on, how)?))
        } else {
            let on = OnDevice::new(device.clone());
            // The queue of a device runs ahead by itself.
            let how = (false, how.1);
            Inner::Device(Box::new(load::streamed(config, weights, &on, how)?), on)
        };
        Ok(Self::new(config, inner))
    }

    fn new(config: &ModelConfig, inner: Inner) -> Self {
        Self {
            config: config.clone(),
            inner,
            budget: Budget::unbounded(config),
        }
    }

    /// How much is held at once.
    pub(crate) const fn budget(&self) -> &Budget {
        &self.budget
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
