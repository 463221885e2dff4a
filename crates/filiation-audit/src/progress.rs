/// Told how collecting goes. Never part of a result.
pub trait Progress {
    /// A stage of `total` requests begins, `done` of which are on disk already.
    fn begin(&self, stage: &str, done: u64, total: u64);
    /// `count` more are on disk.
    fn advance(&self, count: u64);
    /// The stage is over.
    fn end(&self);
}

/// Says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &str, _: u64, _: u64) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
}
