use super::backend::Backend;
use super::device::OnDevice;
use super::host::Host;
use super::network::KeptRow;
use super::{Decoder, Inner};

/// Keys and values of sequences, each at its own length.
pub struct Cache {
    pub(super) inner: CacheInner,
}

pub(super) enum CacheInner {
    Host(Vec<KeptRow<Host>>),
    Device(Vec<KeptRow<OnDevice>>),
}

impl Decoder {
    /// An empty cache for `rows` sequences.
    pub fn cache(&self, rows: usize) -> Cache {
        self.cache_with_room(&vec![0; rows])
    }

    /// An empty cache for sequences of so many tokens in the end.
    pub(crate) fn cache_with_room(&self, room: &[usize]) -> Cache {
        let layers = self.config.layers.len();
        let rooms = room.iter();
        Cache {
            inner: match &self.inner {
                Inner::Host(_) => {
                    CacheInner::Host(rooms.map(|room| KeptRow::new(layers, *room)).collect())
                }
                Inner::Device(..) => {
                    CacheInner::Device(rooms.map(|room| KeptRow::new(layers, *room)).collect())
                }
            },
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

    /// Puts the rows of `other`, of the same decoder, after these.
    pub(crate) fn append(&mut self, other: Self) {
        match (&mut self.inner, other.inner) {
            (CacheInner::Host(rows), CacheInner::Host(more)) => rows.extend(more),
            (CacheInner::Device(rows), CacheInner::Device(more)) => rows.extend(more),
            _ => {}
        }
    }

    /// Gives row `to`, an empty one, what row `from` holds.
    pub(crate) fn fork(&mut self, from: usize, to: usize) {
        fn copy<B: Backend>(rows: &mut [KeptRow<B>], from: usize, to: usize) {
            if let Ok([from, to]) = rows.get_disjoint_mut([from, to]) {
                to.length = from.length;
                for (to, from) in to.layers.iter_mut().zip(&from.layers) {
                    *to = from.clone();
                }
            }
        }
        match &mut self.inner {
            CacheInner::Host(rows) => copy(rows, from, to),
            CacheInner::Device(rows) => copy(rows, from, to),
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
