//! Who works off the parts of a pass.

use std::sync::Mutex;

use rayon::prelude::*;

use super::backend::{Backend, Outcome};
use super::device::OnDevice;
use super::host::{Host, Threads};

/// Works off parts that do not depend on each other.
pub(super) trait Crew<B: Backend>: Sync {
    /// Calls `work` on every part; what it gives, in order.
    fn each<T: Send, U: Send>(
        &self,
        parts: Vec<T>,
        work: impl Fn(&B, T) -> Outcome<U> + Sync,
    ) -> Outcome<Vec<U>>;

    /// Parts that are worked off at a time.
    fn hands(&self) -> usize;
}

/// The threads of the processor: one a part, or all of them where there is one part.
#[derive(Default)]
pub(super) struct HostCrew {
    idle: Mutex<Vec<Host>>,
    alone: Mutex<Vec<Host>>,
}

impl HostCrew {
    fn on<U>(
        stock: &Mutex<Vec<Host>>,
        threads: Threads,
        work: impl FnOnce(&Host) -> Outcome<U>,
    ) -> Outcome<U> {
        let idle = lock(stock).pop();
        let host = idle.unwrap_or_else(|| Host::new(threads));
        let done = work(&host);
        lock(stock).push(host);
        done
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

impl Crew<Host> for HostCrew {
    fn each<T: Send, U: Send>(
        &self,
        mut parts: Vec<T>,
        work: impl Fn(&Host, T) -> Outcome<U> + Sync,
    ) -> Outcome<Vec<U>> {
        if parts.len() > 1 {
            return parts
                .into_par_iter()
                .map(|part| Self::on(&self.idle, Threads::One, |host| work(host, part)))
                .collect();
        }
        let part = parts.pop();
        let done = part.map(|part| Self::on(&self.alone, Threads::All, |host| work(host, part)));
        done.into_iter().collect()
    }

    fn hands(&self) -> usize {
        rayon::current_num_threads()
    }
}

impl Crew<Self> for OnDevice {
    fn each<T: Send, U: Send>(
        &self,
        parts: Vec<T>,
        work: impl Fn(&Self, T) -> Outcome<U> + Sync,
    ) -> Outcome<Vec<U>> {
        parts.into_iter().map(|part| work(self, part)).collect()
    }

    fn hands(&self) -> usize {
        1
    }
}
