//! What the places of all logs say, every test counted.

use std::collections::{BTreeMap, BTreeSet};

use filiation_core::{Abstention, Axis, Basis, CandidateScore, Exact, Power, Statistic};
use filiation_stats::anytime::Betting;
use filiation_stats::{Clusters, holm, moments, smallest_effect};

use super::ranks::{Place, RankedLog, log10_p_high};
use super::{LEAST_PAIRS, RegenerationRank};
use crate::contrast::undefined;

/// Size at which the finding names a teacher or an account, all tests counted.
const FOUND: f64 = 0.001;
const SIZE: f64 = 0.01;
const POWER: f64 = 0.9;

/// A test of one teacher's whole log, or of one account of it.
struct Test<'a> {
    teacher: usize,
    account: Option<&'a str>,
    places: Vec<Place>,
    log10_p: f64,
    log10_e: f64,
    /// With all tests counted.
    counted_p: f64,
    counted_e: f64,
}

impl<'a> Test<'a> {
    fn of(
        teacher: usize,
        account: Option<&'a str>,
        places: Vec<Place>,
    ) -> Result<Self, Abstention> {
        Ok(Self {
            log10_p: log10_p_high(&places)?,
            log10_e: log10_e(&places)?,
            counted_p: 0.0,
            counted_e: 0.0,
            teacher,
            account,
            places,
        })
    }

    fn lead(&self) -> f64 {
        self.places.iter().map(|p| p.lead()).sum::<f64>() / self.places.len() as f64
    }
}

/// Half of the stake goes to a gambler who bets on a higher mean place, which pays where every
/// place is a little higher; half to one who bets on the places that came before, which pays where
/// some are first. The mean of e-values is one.
fn log10_e(places: &[Place]) -> Result<f64, Abstention> {
    let mut gambler = Betting::new(0.0).map_err(undefined)?;
    // By number of fresh responses and place: how often it came, and one for each place at first.
    let mut came: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    let mut by_place = 0.0;
    for place in places {
        gambler.bet(place.lead()).map_err(undefined)?;
        let n = place.fresh as usize + 1;
        let counts = came.entry(place.fresh).or_insert_with(|| vec![1.0; n]);
        let count = &mut counts[place.below as usize];
        let before = *count;
        *count += 1.0;
        let total = counts.iter().sum::<f64>() - 1.0;
        by_place += (n as f64 * before / total).log10();
    }
    let both = [gambler.wealth().log10_e, by_place].into_iter();
    Ok(sum_of_powers(both) - std::f64::consts::LOG10_2)
}

pub(super) fn statistic(
    probe: &RegenerationRank,
    logs: &[RankedLog<'_>],
    refused: Option<&Abstention>,
) -> Result<Statistic, Abstention> {
    let tests = tests(logs)?;
    let candidates = logs
        .iter()
        .enumerate()
        .map(|(i, log)| candidate(probe, i, log, &tests))
        .collect::<Result<Vec<_>, _>>()?;
    let mut finding = finding(logs, &tests);
    if let Some(why) = refused {
        finding += &format!("; another log is left out: {why}");
    }
    Ok(Statistic {
        method: probe.id.clone(),
        axis: Axis::TeacherIdentity,
        basis: Basis::Design,
        unit: "lead over fresh responses".into(),
        power: power(&candidates, logs),
        candidates,
        controls: Vec::new(),
        finding: Some(finding),
        details: details(logs, &tests),
    })
}

/// Of each log the whole, and every account with enough pairs where there is more than one.
fn tests<'a>(logs: &[RankedLog<'a>]) -> Result<Vec<Test<'a>>, Abstention> {
    let mut tests = Vec::new();
    for (i, log) in logs.iter().enumerate() {
        let whole = log.pairs.iter().filter(|r| r.pair.first_of_prompt);
        tests.push(Test::of(i, None, whole.map(|r| r.place).collect())?);
        let mut accounts: BTreeMap<&str, Vec<Place>> = BTreeMap::new();
        let mut all = BTreeSet::new();
        for ranked in &log.pairs {
            all.insert(&ranked.pair.account);
            if let Some(account) = &ranked.pair.account {
                accounts.entry(account).or_default().push(ranked.place);
            }
        }
        if all.len() > 1 {
            for (account, places) in accounts {
                if places.len() >= LEAST_PAIRS {
                    tests.push(Test::of(i, Some(account), places)?);
                }
            }
        }
    }
    let raw: Vec<f64> = tests.iter().map(|t| t.log10_p).collect();
    let counted = (tests.len() as f64).log10();
    for (test, p) in tests.iter_mut().zip(holm(&raw)) {
        test.counted_p = p;
        // The mean of e-values is one: each counts as its share of it.
        test.counted_e = test.log10_e - counted;
    }
    Ok(tests)
}

fn candidate(
    probe: &RegenerationRank,
    teacher: usize,
    log: &RankedLog<'_>,
    tests: &[Test<'_>],
) -> Result<CandidateScore, Abstention> {
    let own = || tests.iter().filter(|t| t.teacher == teacher);
    let whole = own().find(|t| t.account.is_none());
    let leads: Vec<f64> = whole
        .iter()
        .flat_map(|t| &t.places)
        .map(|p| p.lead())
        .collect();
    let mean = |units: &[usize]| units.iter().map(|&u| leads[u]).sum::<f64>() / units.len() as f64;
    let estimate = probe
        .bootstrap
        .percentile(&Clusters::singletons(leads.len()), mean)
        .map_err(undefined)?;
    let log10_p = own().map(|t| t.counted_p).fold(0.0, f64::min);
    Ok(CandidateScore {
        candidate: log.log.teacher.clone(),
        score: estimate.value,
        interval: Some(estimate.interval),
        effect: moments(&leads).map_err(undefined)?.effect(),
        units: leads.len() as u32,
        exact: Some(Exact {
            log10_p,
            log10_e: Some(sum_of_powers(own().map(|t| t.counted_e))),
        }),
    })
}

fn sum_of_powers(log10: impl Iterator<Item = f64>) -> f64 {
    let all: Vec<f64> = log10.collect();
    let top = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    top + all
        .iter()
        .map(|l| 10_f64.powf(l - top))
        .sum::<f64>()
        .log10()
}

fn finding(logs: &[RankedLog<'_>], tests: &[Test<'_>]) -> String {
    let mut found: Vec<&Test<'_>> = tests
        .iter()
        .filter(|t| t.counted_p <= FOUND.log10())
        .collect();
    found.sort_by(|a, b| a.counted_p.total_cmp(&b.counted_p));
    let count = tests.len();
    if found.is_empty() {
        let least = tests.iter().map(|t| t.counted_p).fold(0.0, f64::min);
        return format!(
            "no log and no account stands out: served responses are to the suspect as fresh ones \
             are (least log10 p {least:.1}, {count} tests counted)"
        );
    }
    let told: Vec<String> = found
        .iter()
        .take(5)
        .map(|t| {
            let teacher = &logs[t.teacher].log.teacher;
            let whose = match t.account {
                Some(account) => format!("what `{teacher}` served to account `{account}`"),
                None => format!("what `{teacher}` served"),
            };
            format!(
                "{whose} (log10 p {:.1}, log10 e {:.1})",
                t.counted_p, t.counted_e
            )
        })
        .collect();
    format!(
        "the suspect depends on {}; {count} tests counted",
        told.join(", and on ")
    )
}

fn power(candidates: &[CandidateScore], logs: &[RankedLog<'_>]) -> Option<Power> {
    let least = candidates.iter().map(|c| c.units).min()?;
    // A uniform place among m + 1 has this variance; the fewest fresh responses, the widest.
    let fresh = logs
        .iter()
        .flat_map(|l| &l.pairs)
        .map(|r| r.place.fresh)
        .min()?;
    let sd = ((f64::from(fresh) + 2.0) / (3.0 * f64::from(fresh))).sqrt();
    let smallest_effect = smallest_effect(least as usize, sd, SIZE, POWER).ok()?;
    Some(Power {
        smallest_effect,
        size: SIZE,
        power: POWER,
    })
}

fn details(logs: &[RankedLog<'_>], tests: &[Test<'_>]) -> BTreeMap<String, f64> {
    let mut all = BTreeMap::new();
    all.insert("tests".to_owned(), tests.len() as f64);
    for log in logs {
        let teacher = &log.log.teacher;
        let mut put = |what: &str, value: f64| all.insert(format!("{what}/{teacher}"), value);
        put("pairs", log.pairs.len() as f64);
        put("pairs-told-apart", log.told_apart as f64);
        put("pairs-unusable", log.log.unusable as f64);
        put("pairs-repeated", log.log.repeated as f64);
        put("less-base", f64::from(u8::from(log.less_base)));
        for check in &log.checks {
            put(&format!("drift-log10-p/{}", check.name), check.log10_p);
        }
    }
    for test in tests {
        let teacher = &logs[test.teacher].log.teacher;
        let name = match test.account {
            Some(account) => format!("account/{teacher}/{account}"),
            None => format!("whole/{teacher}"),
        };
        let mut put = |what: &str, value: f64| all.insert(format!("{name}/{what}"), value);
        put("pairs", test.places.len() as f64);
        put("lead", test.lead());
        put("log10-p", test.log10_p);
        put("log10-p-counted", test.counted_p);
        put("log10-e", test.log10_e);
        put("log10-e-counted", test.counted_e);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_wealth_over_all_places_is_one_and_grows_where_some_are_first() {
        // Three pairs with 2, 1 and 2 fresh responses: 18 equally likely outcomes.
        let fresh = [2, 1, 2];
        let mut sum = 0.0;
        for a in 0..=2 {
            for b in 0..=1 {
                for c in 0..=2 {
                    let places: Vec<Place> = fresh
                        .iter()
                        .zip([a, b, c])
                        .map(|(&fresh, below)| Place { below, fresh })
                        .collect();
                    sum += 10_f64.powf(log10_e(&places).expect("three bets"));
                }
            }
        }
        assert!((sum / 18.0 - 1.0).abs() < 1e-12, "{sum}");
        let first = vec![Place { below: 9, fresh: 9 }; 25];
        assert!(log10_e(&first).expect("25 bets") > 15.0);
    }
}
