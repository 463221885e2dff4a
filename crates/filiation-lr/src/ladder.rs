//! The claim ladder: how many independent lineages buy which claim.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Models of known history that scores are held against. Counts are of independent lineages:
/// the variants of one family count once.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Population {
    /// Lineages distilled from a known teacher (L1).
    pub distilled: u32,
    /// Lineages known not to be (L0).
    pub other: u32,
    /// Distinct teachers.
    pub teachers: u32,
    /// Cllr (bits) with each teacher left out in turn, where it was measured.
    pub left_out_cllr: Option<f64>,
    /// Measured and declared procedural error rate of a design-based stream, where there is one.
    pub procedural_error: Option<f64>,
}

impl Population {
    /// No population at all.
    pub const NONE: Self = Self {
        distilled: 0,
        other: 0,
        teachers: 0,
        left_out_cllr: None,
        procedural_error: None,
    };
}

/// A rung of the claim ladder.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// Scores and ranks, no likelihood ratio.
    Tier0,
    /// A likelihood ratio of at most 10.
    Tier1,
    /// A likelihood ratio capped by the population, at about 30.
    Tier2,
    /// A likelihood ratio capped by the population, at about 100.
    Tier3,
    /// Design-based evidence beside a population of tier 2 or more.
    Tier4,
}

impl Tier {
    /// 0 to 4.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The highest tier that `population` supports.
    pub fn of(population: &Population) -> Self {
        LADDER
            .iter()
            .rev()
            .find(|rung| rung.needs.shortfall(population).is_none())
            .map_or(Self::Tier0, |rung| rung.tier)
    }

    /// The rung above, where there is one.
    pub fn next(self) -> Option<&'static Rung> {
        LADDER.get(usize::from(self.number()) + 1)
    }
}

/// What a tier needs of its population.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Needs {
    /// Least number of distilled lineages (L1).
    pub distilled: u32,
    /// Least number of other lineages (L0).
    pub other: u32,
    /// Least number of teachers.
    pub teachers: u32,
    /// The left-out-teacher Cllr (bits) must lie below this.
    pub left_out_cllr_below: Option<f64>,
    /// Whether a design-based stream with a measured error rate is needed.
    pub procedural_error: bool,
}

/// How far a population is from a tier.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Shortfall {
    /// Distilled lineages missing.
    pub distilled: u32,
    /// Other lineages missing.
    pub other: u32,
    /// Teachers missing.
    pub teachers: u32,
    /// Whether a validation with each teacher left out is missing or too poor.
    pub validation: bool,
    /// Whether a design-based stream with a measured error rate is missing.
    pub procedural_error: bool,
}

impl Needs {
    /// What `population` lacks; `None` when it has all.
    pub fn shortfall(&self, population: &Population) -> Option<Shortfall> {
        let validated = self
            .left_out_cllr_below
            .is_none_or(|limit| population.left_out_cllr.is_some_and(|cllr| cllr < limit));
        let short = Shortfall {
            distilled: self.distilled.saturating_sub(population.distilled),
            other: self.other.saturating_sub(population.other),
            teachers: self.teachers.saturating_sub(population.teachers),
            validation: !validated,
            procedural_error: self.procedural_error && population.procedural_error.is_none(),
        };
        let nothing = Shortfall {
            distilled: 0,
            other: 0,
            teachers: 0,
            validation: false,
            procedural_error: false,
        };
        (short != nothing).then_some(short)
    }
}

/// One rung: what it needs and what it allows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Rung {
    /// The tier.
    pub tier: Tier,
    /// What it needs.
    pub needs: Needs,
    /// What may then be said.
    pub allows: &'static str,
}

/// The ladder, lowest first. The lineage counts follow from the tail-ratio bound: with L0 clean
/// lineages no ratio above about L0 + 1 can be defended.
pub const LADDER: [Rung; 5] = [
    Rung {
        tier: Tier::Tier0,
        needs: needs(0, 0, 0),
        allows: "scores, ranks and direction; no likelihood ratio",
    },
    Rung {
        tier: Tier::Tier1,
        needs: needs(5, 20, 0),
        allows: "a shrunk likelihood ratio of at most 10",
    },
    Rung {
        tier: Tier::Tier2,
        needs: needs(20, 60, 5),
        allows: "a likelihood ratio capped by the lineage-weighted bound (about 30), at most 2 \
                 streams fused",
    },
    Rung {
        tier: Tier::Tier3,
        needs: Needs {
            left_out_cllr_below: Some(0.5),
            ..needs(50, 200, 8)
        },
        allows: "a likelihood ratio capped at about 100 with its interval, at most 5 streams fused",
    },
    Rung {
        tier: Tier::Tier4,
        needs: Needs {
            procedural_error: true,
            ..needs(20, 60, 5)
        },
        allows: "design-based evidence up to the reciprocal of its procedural error rate, shown \
                 apart from the population's likelihood ratio",
    },
];

const fn needs(distilled: u32, other: u32, teachers: u32) -> Needs {
    Needs {
        distilled,
        other,
        teachers,
        left_out_cllr_below: None,
        procedural_error: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn population(distilled: u32, other: u32, teachers: u32) -> Population {
        Population {
            distilled,
            other,
            teachers,
            ..Population::NONE
        }
    }

    #[test]
    fn tiers_follow_the_lineages_and_not_one_of_the_counts() {
        assert_eq!(Tier::of(&Population::NONE), Tier::Tier0);
        assert_eq!(Tier::of(&population(4, 500, 9)), Tier::Tier0);
        assert_eq!(Tier::of(&population(500, 19, 9)), Tier::Tier0);
        assert_eq!(Tier::of(&population(5, 20, 1)), Tier::Tier1);
        assert_eq!(Tier::of(&population(20, 60, 5)), Tier::Tier2);
        let unvalidated = population(50, 200, 8);
        assert_eq!(Tier::of(&unvalidated), Tier::Tier2);
        let validated = Population {
            left_out_cllr: Some(0.3),
            ..unvalidated
        };
        assert_eq!(Tier::of(&validated), Tier::Tier3);
        let designed = Population {
            procedural_error: Some(1e-3),
            ..population(20, 60, 5)
        };
        assert_eq!(Tier::of(&designed), Tier::Tier4);
    }

    #[test]
    fn a_shortfall_names_what_is_missing() {
        let next = Tier::Tier0.next().expect("there is a rung above 0");
        let short = next.needs.shortfall(&population(2, 3, 1));
        let short = short.expect("two and three are too few");
        assert_eq!((short.distilled, short.other, short.teachers), (3, 17, 0));
        assert!(Tier::Tier4.next().is_none());
    }

    #[test]
    fn the_ladder_is_in_order_of_its_tiers() {
        assert!(
            LADDER
                .iter()
                .enumerate()
                .all(|(i, r)| usize::from(r.tier.number()) == i)
        );
    }
}
