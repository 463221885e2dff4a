//! Statistics: exact tails in log space, resampling, divergences, assignment, CKA, regression.
//!
//! Everything is deterministic: random draws come from ChaCha8 under a seed that the caller
//! passes in. Tail probabilities are log10, so that 1e-3000 is a number like any other;
//! divergences say their unit in their name.

#![forbid(unsafe_code)]

pub mod anytime;
pub mod assignment;
mod bootstrap;
mod choices;
pub mod cka;
mod continued;
pub mod divergence;
mod error;
mod fisher;
mod gamma;
mod logistic;
mod mmd;
mod multiplicity;
mod nnls;
mod permutation;
mod poisson_binomial;
mod power;
mod proportion;
mod quantile;
mod rank;
mod robust;
mod shrinkage;
pub mod tails;
mod two_sample;
mod uniformity;

pub use anytime::{Betting, Wealth};
pub use bootstrap::{Bootstrap, Clusters, Estimate};
pub use choices::uniform_sum_at_least;
pub use error::StatsError;
pub use fisher::{Combined, fisher};
pub use logistic::{Logistic, Softmax, SparseRows};
pub use mmd::{AnswerPair, HammingMmd, code_points};
pub use multiplicity::holm;
pub use nnls::nnls;
pub use permutation::{PermutationTest, log10_p_of_count, sign_flip};
pub use poisson_binomial::poisson_binomial_at_least;
pub use power::{power_of_t, smallest_effect};
pub use proportion::clopper_pearson;
pub use quantile::{normal_quantile, student_t_quantile};
pub use rank::{RankMethod, Spearman, average_ranks, spearman};
pub use robust::{Moments, clipped_mean, moments};
pub use shrinkage::LedoitWolf;
pub use two_sample::{auc, hedges_g};
pub use uniformity::{KsTest, ks_uniform};
