//! From states to logits and log-probabilities.

use candle_core::{Device, Storage, Tensor};
use rayon::prelude::*;

use super::backend::Outcome;
use super::host::{self, Host, Share, Threads};
use super::network::Network;
use super::stream::Table;
use super::{Decoder, Inner};
use crate::LoadError;

/// Rows whose log-probabilities a device works out at a time.
const DEVICE_ROWS: usize = 256;

impl Decoder {
    /// Logits of states, (rows, vocabulary), f32, final soft-cap included.
    ///
    /// # Errors
    /// [`LoadError::Engine`] where the states are not (rows, width) in f32.
    pub fn logits(&self, states: &Tensor) -> Result<Tensor, LoadError> {
        match &self.inner {
            Inner::Device(network, on) => network.logits(on, states),
            Inner::Host(network) => {
                let logits = self.host_logits(network, states)?;
                let shape = (states.dim(0)?, self.config.vocabulary);
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
        let most = self.budget.logits.max(1);
        let mut items = items.into_iter();
        let mut found = Vec::with_capacity(items.len());
        for start in (0..states.dim(0)?).step_by(most) {
            let lot: Vec<R> = items.by_ref().take(most).collect();
            let states = states.narrow(0, start, lot.len())?;
            let logits = match &self.inner {
                Inner::Device(network, on) => {
                    network.logits(on, &states)?.flatten_all()?.to_vec1()?
                }
                Inner::Host(network) => self.host_logits(network, &states)?,
            };
            let rows = logits.par_chunks_exact(self.config.vocabulary).zip(lot);
            found.par_extend(rows.map(|(logits, item)| read(item, logits)));
        }
        Ok(found)
    }

    /// Log-probability, nats, of `targets[i]` under the logits of row i of `states`.
    ///
    /// # Errors
    /// [`LoadError::TokenId`] for a target outside the vocabulary, [`LoadError::Engine`] where
    /// `states` is not (targets, width) in f32.
    pub fn logprobs(&self, states: &Tensor, targets: &[u32]) -> Result<Vec<f64>, LoadError> {
        self.check_ids(targets)?;
        match &self.inner {
            Inner::Device(network, on) => {
                let rows = self.budget.logits.clamp(1, DEVICE_ROWS);
                on.logprobs(network, states, targets, rows)
            }
            Inner::Host(network) => self.with_rows(states, |rows, states| {
                if rows != targets.len() {
                    let expected = format!("{rows} rows of states, {} targets", targets.len());
                    return Err(candle_core::Error::Msg(expected).into());
                }
                host_logprobs(network, states, targets)
            }),
        }
    }

    fn host_logits(&self, network: &Network<Host>, states: &Tensor) -> Outcome<Vec<f32>> {
        self.with_rows(states, |_, states| {
            network.logits(&Host::new(Threads::All), &states.to_vec())
        })
    }

    /// Calls `read` with the number of rows of `states` and their values.
    fn with_rows<T>(
        &self,
        states: &Tensor,
        read: impl FnOnce(usize, &[f32]) -> Outcome<T>,
    ) -> Outcome<T> {
        let (rows, width) = states.dims2()?;
        if width != self.config.width {
            let message = format!("states of width {width}, expected {}", self.config.width);
            return Err(candle_core::Error::Msg(message).into());
        }
        let (storage, layout) = states.storage_and_layout();
        match (&*storage, layout.contiguous_offsets()) {
            (Storage::Cpu(values), Some((start, end))) => {
                read(rows, &values.as_slice::<f32>()?[start..end])
            }
            _ => {
                drop(storage);
                read(rows, &states.flatten_all()?.to_vec1::<f32>()?)
            }
        }
    }
}

fn host_logprobs(network: &Network<Host>, states: &[f32], targets: &[u32]) -> Outcome<Vec<f64>> {
    let on = Host::new(Threads::All);
    let (of, softcap) = ((states, targets), network.logit_softcap);
    let stored = match &network.head {
        Table::Held(head) => return Ok(on.logprobs(of, head, softcap)),
        Table::Stored(stored) => stored,
    };
    let mut shares: Vec<Vec<Share>> = vec![Vec::new(); targets.len()];
    for part in stored.parts() {
        let first = part.start;
        let head = stored.ready(&on, part)?;
        on.shares(of, (&head, first), softcap, &mut shares);
    }
    Ok(shares.into_iter().map(host::logprob).collect())
}
