//! One attempt over HTTP, and patience between attempts.

mod headers;
mod http;
mod pace;

pub(crate) use headers::retry_after;
pub(crate) use http::{Attempt, Http};
pub(crate) use pace::Pace;
