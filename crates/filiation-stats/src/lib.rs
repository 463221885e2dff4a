//! Statistics: exact tails in log space, resampling, divergences, assignment, CKA.
//!
//! Everything is deterministic: random draws come from ChaCha8 under a seed that the caller
//! passes in. Tail probabilities are log10, so that 1e-3000 is a number like any other;
//! divergences say their unit in their name.

#![forbid(unsafe_code)]

pub mod anytime;
pub mod assignment;
mod bootstrap;
pub mod cka;
mod continued;
pub mod divergence;
mod error;
mod fisher;
mod gamma;
mod permutation;
mod power;
mod quantile;
mod rank;
mod robust;
pub mod tails;
mod uniformity;

pub use bootstrap::{Bootstrap, Clusters, Estimate};
pub use error::StatsError;
pub use fisher::{Combined, fisher};
pub use permutation::{PermutationTest, log10_p_of_count, sign_flip};
pub use power::{power_of_t, smallest_effect};
pub use quantile::{normal_quantile, student_t_quantile};
pub use rank::{RankMethod, Spearman, average_ranks, spearman};
pub use robust::{Moments, clipped_mean, moments};
pub use uniformity::{KsTest, ks_uniform};
