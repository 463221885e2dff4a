use crate::LrError;
use crate::calibrate::{Linear, Table};

use super::fit::Settings;
use super::fusion::Fusion;
use super::known::Scores;

/// From scores to one fused log10 likelihood ratio, before recalibration.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chain {
    streams: Vec<Calibrator>,
    pub(super) fusion: Fusion,
}

/// Of one stream: a regression of its least and mean leads.
///
/// Leads of whole students are tens of times as large as those at which the histories part, and would
/// settle a linear fit: asinh keeps small ones and takes the logarithm of large ones.
#[derive(Debug, Clone, PartialEq)]
struct Calibrator {
    /// Root mean square under H2.
    scale: [f64; 2],
    linear: Linear,
}

impl Calibrator {
    fn llr(&self, score: [f64; 2]) -> f64 {
        self.linear.llr(&self.pressed(score))
    }

    fn pressed(&self, score: [f64; 2]) -> [f64; 2] {
        [0, 1].map(|at| (score[at] / self.scale[at]).asinh())
    }

    /// Of the two columns of a table.
    fn fit(table: &Table, settings: &Settings) -> Result<Self, LrError> {
        let scale = [0, 1].map(|at| {
            let of_h2 = table.rows().filter(|(_, item)| !item.distilled);
            let (sum, total) = of_h2.fold((0.0, 0.0), |(sum, total), (row, item)| {
                (sum + item.weight * row[at] * row[at], total + item.weight)
            });
            Some(f64::sqrt(sum / total))
                .filter(|s| *s > 0.0)
                .unwrap_or(1.0)
        });
        let pressed = table.map(|at, score| (score / scale[at]).asinh())?;
        let (linear, _) = settings.logistic.fit_rising(&pressed)?;
        Ok(Self { scale, linear })
    }
}

impl Chain {
    /// From a table with two columns for each stream.
    pub(super) fn fit(table: &Table, settings: &Settings) -> Result<Self, LrError> {
        let streams = 0..settings.streams.len();
        let streams: Vec<Calibrator> = streams
            .map(|at| Calibrator::fit(&table.columns(&[2 * at, 2 * at + 1]), settings))
            .collect::<Result<_, _>>()?;
        let llrs = table.gather(streams.len(), |at, row| {
            streams[at].llr([row[2 * at], row[2 * at + 1]])
        })?;
        Ok(Self {
            fusion: Fusion::fit(&llrs, &settings.logistic)?,
            streams,
        })
    }

    /// The log10 likelihood ratio of each stream by itself; `None` where one has no score.
    pub(super) fn parts(
        &self,
        streams: &[String],
        scores: &Scores,
        candidate: &str,
    ) -> Option<Vec<f64>> {
        let of = |(stream, calibrator): (&String, &Calibrator)| {
            Some(calibrator.llr(*scores.get(stream)?.get(candidate)?))
        };
        streams.iter().zip(&self.streams).map(of).collect()
    }

    /// All of them fused.
    pub(super) fn llr(&self, streams: &[String], scores: &Scores, candidate: &str) -> Option<f64> {
        Some(self.fusion.llr(&self.parts(streams, scores, candidate)?))
    }
}
