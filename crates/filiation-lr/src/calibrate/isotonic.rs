use super::Sample;

/// Log10 likelihood ratios that rise with the score and nothing else: pool adjacent violators
/// (Ayer et al. 1955), each class weighed as if it were half of all.
///
/// At its ends it says ±∞, and it fits the very sample it is made of: a measure of what the scores
/// could tell apart, never a likelihood ratio for a case.
#[derive(Debug, Clone, PartialEq)]
pub struct Isotonic {
    blocks: Vec<Block>,
    /// Lineages of H2 and of H1.
    totals: [f64; 2],
}

/// Neighbouring scores that are pooled.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Block {
    first: f64,
    last: f64,
    /// Weights of H2 and of H1.
    counts: [f64; 2],
}

impl Isotonic {
    /// Pools until the ratios rise.
    pub fn fit(sample: &Sample) -> Self {
        let mut items = sample.items().to_vec();
        items.sort_by(|a, b| a.value.total_cmp(&b.value));
        let mut blocks: Vec<Block> = Vec::new();
        let mut totals = [0.0; 2];
        let mut at = 0;
        while at < items.len() {
            // −0 and 0 are one score.
            let tied = items[at..].partition_point(|i| i.value <= items[at].value);
            let mut block = Block {
                first: items[at].value,
                last: items[at].value,
                counts: [0.0; 2],
            };
            for item in &items[at..at + tied] {
                block.counts[usize::from(item.distilled)] += item.weight;
                totals[usize::from(item.distilled)] += item.weight;
            }
            at += tied;
            while let Some(before) = blocks.last().filter(|before| !before.is_below(&block)) {
                block.first = before.first;
                for (count, more) in block.counts.iter_mut().zip(before.counts) {
                    *count += more;
                }
                blocks.pop();
            }
            blocks.push(block);
        }
        Self { blocks, totals }
    }

    /// The log10 likelihood ratio at a score. Between blocks the probability at even odds is
    /// interpolated; beyond all scores it is that of the outermost.
    pub fn llr(&self, score: f64) -> f64 {
        let after = self.blocks.partition_point(|b| b.last < score);
        let Some(block) = self.blocks.get(after) else {
            return self.blocks.last().map_or(0.0, |b| b.llr(self.totals));
        };
        let before = after.checked_sub(1).map(|at| &self.blocks[at]);
        let (Some(before), true) = (before, score < block.first) else {
            return block.llr(self.totals);
        };
        let [low, high] = [before, block].map(|b| b.probability(self.totals));
        let share = match (before.last.is_finite(), block.first.is_finite()) {
            (true, true) => (score - before.last) / (block.first - before.last),
            (false, _) => 1.0,
            (true, false) => 0.0,
        };
        let p = low + share * (high - low);
        (p / (1.0 - p)).log10()
    }

    /// Corners of the convex hull of the ROC curve: shares of H2 at or above, and of H1 below, each
    /// threshold between blocks, from the lowest threshold on.
    pub(super) fn hull(&self) -> Vec<[f64; 2]> {
        let mut below = [0.0; 2];
        let mut corners = vec![[1.0, 0.0]];
        for block in &self.blocks {
            for (below, count) in below.iter_mut().zip(block.counts) {
                *below += count;
            }
            let above = 1.0 - below[0] / self.totals[0];
            corners.push([above.max(0.0), (below[1] / self.totals[1]).min(1.0)]);
        }
        corners
    }
}

impl Block {
    /// Whether its ratio lies below that of the next.
    fn is_below(&self, next: &Self) -> bool {
        self.counts[1] * next.counts[0] < next.counts[1] * self.counts[0]
    }

    fn llr(&self, totals: [f64; 2]) -> f64 {
        (self.counts[1] / totals[1]).log10() - (self.counts[0] / totals[0]).log10()
    }

    fn probability(&self, totals: [f64; 2]) -> f64 {
        let [other, distilled] = [0, 1].map(|class| self.counts[class] / totals[class]);
        distilled / (distilled + other)
    }
}
