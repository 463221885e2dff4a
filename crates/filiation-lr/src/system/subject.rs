use std::collections::{BTreeMap, BTreeSet};

use filiation_core::{Axis, Basis, Digest, Statistic};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::known::{Known, Taught};
use crate::LrError;
use crate::record::{History, Outcome, Record, Scored, place};

/// How far a model leads towards each candidate of each other one: antisymmetric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Leads {
    names: Vec<String>,
    /// Row by row.
    of: Vec<f64>,
}

/// What is written of leads: those of candidate i over candidate j > i, row by row.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    candidates: Vec<String>,
    leads: Vec<f64>,
}

impl From<Leads> for Stored {
    fn from(leads: Leads) -> Self {
        let n = leads.names.len();
        let row = |i: usize| leads.of[i * n + i + 1..(i + 1) * n].iter().copied();
        Self {
            leads: (0..n).flat_map(row).collect(),
            candidates: leads.names,
        }
    }
}

impl TryFrom<Stored> for Leads {
    type Error = LrError;

    fn try_from(stored: Stored) -> Result<Self, LrError> {
        let n = stored.candidates.len();
        let width = LrError::Width {
            row: 0,
            got: stored.leads.len(),
            expected: n * n.saturating_sub(1) / 2,
        };
        if stored.leads.len() != n * n.saturating_sub(1) / 2 {
            return Err(width);
        }
        let lead = |i: usize, j: usize| Some(stored.leads[place(n, i, j)]);
        Self::new(stored.candidates, lead)?.ok_or(width)
    }
}

/// A model whose history is known, with what the probes measured of it before any control is taken off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// Name, history and no scores.
    pub known: Known,
    /// What the case was like apart from its scores.
    pub features: BTreeMap<String, f64>,
    /// By probe.
    pub leads: BTreeMap<String, Leads>,
}

/// What a case is like: a population is brought to the same form before it is fitted, so that one ratio
/// is not read off another kind of case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Candidates; all where absent. A student keeps its teachers, and every second one a sibling of them.
    pub candidates: Option<usize>,
    /// Controls whose mean leads are taken off: clean fine-tunes of other lineages, drawn for each model;
    /// all of them where absent.
    pub controls: Option<usize>,
    /// Seed of the draws.
    pub seed: u64,
}

impl Leads {
    /// From the lead of candidate i over candidate j > i.
    ///
    /// # Errors
    /// [`LrError::Value`] for a lead that is not finite.
    pub fn new(
        names: Vec<String>,
        lead: impl Fn(usize, usize) -> Option<f64>,
    ) -> Result<Option<Self>, LrError> {
        let n = names.len();
        let mut of = vec![0.0; n * n];
        for i in 0..n {
            for j in i + 1..n {
                let Some(lead) = lead(i, j) else {
                    return Ok(None);
                };
                if !lead.is_finite() {
                    return Err(LrError::Value {
                        index: i * n + j,
                        got: lead,
                        expected: "a finite lead",
                    });
                }
                of[i * n + j] = lead;
                of[j * n + i] = -lead;
            }
        }
        Ok((n > 1).then_some(Self { names, of }))
    }

    /// Those of a suspect, or of a control of that name, in a case.
    ///
    /// # Errors
    /// As [`Leads::new`].
    pub fn of_case(statistic: &Statistic, control: Option<&str>) -> Result<Option<Self>, LrError> {
        let names: Vec<String> = statistic
            .candidates
            .iter()
            .map(|c| c.candidate.clone())
            .collect();
        let key = |i: usize, j: usize| match control {
            None => format!("lead/{}/{}", names[i], names[j]),
            Some(control) => format!("lead/{}/{}/{control}", names[i], names[j]),
        };
        Self::new(names.clone(), |i, j| {
            statistic.details.get(&key(i, j)).copied()
        })
    }

    /// The candidates.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The least and the mean lead of each of some candidates over the others of them, `less` taken off.
    fn over(&self, among: &BTreeSet<&str>, less: Option<&Self>) -> BTreeMap<String, [f64; 2]> {
        let n = self.names.len();
        let inside: Vec<usize> = (0..n)
            .filter(|i| among.contains(self.names[*i].as_str()))
            .collect();
        let lead =
            |i: usize, j: usize| self.of[i * n + j] - less.map_or(0.0, |less| less.of[i * n + j]);
        let over = |i: usize| {
            let leads = inside.iter().filter(|j| **j != i).map(|j| lead(i, *j));
            let (least, sum) = leads.fold((f64::INFINITY, 0.0), |(least, sum), lead| {
                (lead.min(least), sum + lead)
            });
            [least, sum / (inside.len() - 1) as f64]
        };
        let over = |i: &usize| (self.names[*i].clone(), over(*i));
        inside.iter().map(over).collect()
    }

    /// The mean of some, all of the same candidates; `None` of none.
    pub fn mean<'a>(all: impl IntoIterator<Item = &'a Self>) -> Option<Self> {
        let mut all = all.into_iter();
        let mut mean = all.next()?.clone();
        let mut count = 1.0;
        for leads in all.filter(|l| l.names == mean.names).collect::<Vec<_>>() {
            count += 1.0;
            mean.of.iter_mut().zip(&leads.of).for_each(|(m, l)| *m += l);
        }
        mean.of.iter_mut().for_each(|m| *m /= count);
        Some(mean)
    }

    /// Root mean square over the pairs of some candidates.
    pub(crate) fn size(&self, among: &BTreeSet<&str>) -> f64 {
        let n = self.names.len();
        let inside: Vec<usize> = (0..n)
            .filter(|i| among.contains(self.names[*i].as_str()))
            .collect();
        let pairs = inside
            .iter()
            .flat_map(|i| inside.iter().map(move |j| self.of[i * n + j]));
        let (sum, count) = pairs.fold((0.0, 0.0), |(sum, count), lead| {
            (sum + lead * lead, count + 1.0)
        });
        f64::sqrt(sum / count)
    }

    /// The scores of each candidate in a case: its least and its mean lead over the others, the mean of
    /// the controls' taken off.
    pub fn scores(&self, controls: &[Self]) -> BTreeMap<String, [f64; 2]> {
        let among = self.names.iter().map(String::as_str).collect();
        self.over(&among, Self::mean(controls).as_ref())
    }
}

impl Subject {
    /// The models of some records, in their order.
    ///
    /// # Errors
    /// [`LrError::Contradiction`], [`LrError::Labels`] and [`LrError::OneModel`] for two histories of one model,
    /// [`LrError::Repeated`] for two records of it by one probe, [`LrError::Value`] for a score that is not
    /// finite.
    pub fn all(records: &[Record]) -> Result<Vec<Self>, LrError> {
        let mut found: Vec<Self> = Vec::new();
        let mut places: BTreeMap<&str, (usize, &Record)> = BTreeMap::new();
        let mut models: BTreeMap<Digest, &Record> = BTreeMap::new();
        let mut probes: BTreeSet<(&str, &str)> = BTreeSet::new();
        for (index, record) in records.iter().enumerate() {
            let (at, first) = *places.entry(&record.suspect).or_insert_with(|| {
                found.push(Self::of(record, Taught::of(&record.history)));
                (found.len() - 1, record)
            });
            agree(first, record)?;
            same_model(models.entry(record.model).or_insert(record), record)?;
            if !probes.insert((record.suspect.as_str(), record.method.name())) {
                return Err(LrError::Repeated {
                    suspect: record.suspect.clone(),
                    probe: record.method.name().to_owned(),
                });
            }
            let subject = &mut found[at];
            let Outcome::Scored(scored) = &record.outcome else {
                continue;
            };
            if scored.axis != Axis::TeacherIdentity || scored.basis != Basis::Population {
                continue;
            }
            check(index, scored)?;
            let names = scored.candidates.iter().map(|c| c.name.clone()).collect();
            if let Some(leads) = Leads::new(names, |i, j| scored.lead(i, j))? {
                subject.leads.insert(record.method.name().to_owned(), leads);
            }
        }
        Ok(found)
    }

    fn of(record: &Record, taught: Option<Taught>) -> Self {
        Self {
            known: Known {
                name: record.suspect.clone(),
                lineage: record.lineage.clone(),
                family: record.kind.clone(),
                independent: record.history == History::Independent,
                taught,
                scores: BTreeMap::new(),
            },
            features: record.features.clone(),
            leads: BTreeMap::new(),
        }
    }

    /// A candidate other than this one, drawn by the model's name.
    pub(super) fn other_than(&self, candidate: &str) -> Option<&str> {
        let names = self.leads.values().next()?.names.iter();
        let others: Vec<&String> = names.filter(|name| *name != candidate).collect();
        let at = number(&self.known) % others.len().max(1) as u64;
        others.get(at as usize).map(|name| name.as_str())
    }

    /// Whether it may stand as a control: a fine-tune held against its own base, without a teacher.
    fn is_control(&self) -> bool {
        self.known.taught.is_none() && !self.known.independent
    }
}

/// Whether two records of one suspect say the same of it.
fn agree(one: &Record, other: &Record) -> Result<(), LrError> {
    let [taught, also] = [one, other].map(|r| Taught::of(&r.history));
    if taught != also {
        let teacher = [taught, also].into_iter().flatten().next();
        return Err(LrError::Contradiction {
            suspect: one.suspect.clone(),
            teacher: teacher.map(|t| t.teacher).unwrap_or_default(),
        });
    }
    let told = |r: &Record| {
        let history = match r.history {
            History::Distilled { .. } => "distilled",
            History::FineTune => "fine-tune",
            History::Independent => "independent",
        };
        [
            ("digest", r.model.to_string()),
            ("lineage", r.lineage.clone()),
            ("history", history.to_owned()),
        ]
    };
    let differ = told(one).into_iter().zip(told(other)).find(|(a, b)| a != b);
    match differ {
        None => Ok(()),
        Some(((what, one_says), (_, other_says))) => Err(LrError::Labels {
            suspect: one.suspect.clone(),
            what,
            one: one_says,
            other: other_says,
        }),
    }
}

/// Whether two records of one digest agree on what it learned. One model may be held against two bases, under
/// two names.
fn same_model(one: &Record, other: &Record) -> Result<(), LrError> {
    match Taught::of(&one.history) == Taught::of(&other.history) {
        true => Ok(()),
        false => Err(LrError::OneModel {
            one: one.suspect.clone(),
            other: other.suspect.clone(),
        }),
    }
}

fn check(index: usize, scored: &Scored) -> Result<(), LrError> {
    match scored.candidates.iter().find(|c| !c.score.is_finite()) {
        None => Ok(()),
        Some(candidate) => Err(LrError::Value {
            index,
            got: candidate.score,
            expected: "a finite score",
        }),
    }
}

/// Controls of one probe: mean leads by lineage.
type Pool<'a> = BTreeMap<&'a str, Leads>;

impl Frame {
    /// Every candidate and every control that there is.
    pub const WHOLE: Self = Self {
        candidates: None,
        controls: None,
        seed: 1,
    };

    /// The models with their scores in a case of this form, the controls taken from `pool`.
    pub fn known(&self, subjects: &[&Subject], pool: &[&Subject]) -> Vec<Known> {
        let streams: BTreeSet<&str> = subjects
            .iter()
            .flat_map(|s| s.leads.keys())
            .map(String::as_str)
            .collect();
        let pools: BTreeMap<&str, Pool<'_>> = streams
            .into_iter()
            .map(|stream| (stream, controls(pool, stream)))
            .collect();
        let known = |subject: &&Subject| {
            let mut known = subject.known.clone();
            for (stream, leads) in &subject.leads {
                let among = self.among(&subject.known, &leads.names);
                let less = self.controls(&subject.known, &pools[stream.as_str()]);
                known
                    .scores
                    .insert(stream.clone(), leads.over(&among, less.as_ref()));
            }
            known
        };
        subjects.iter().map(known).collect()
    }

    /// The candidates that a model keeps.
    pub(crate) fn among<'a>(&self, known: &Known, names: &'a [String]) -> BTreeSet<&'a str> {
        let all = || names.iter().map(String::as_str);
        let wanted = self.candidates.unwrap_or(names.len());
        if wanted >= names.len() {
            return all().collect();
        }
        let mut rng = self.rng(known, 0);
        let mut order: Vec<&str> = all().collect();
        order.shuffle(&mut rng);
        if let Some(taught) = &known.taught {
            let with_sibling = rand::Rng::random::<bool>(&mut rng);
            let sibling = |name: &str| with_sibling && taught.siblings.iter().any(|s| s == name);
            order.sort_by_key(|name| match *name {
                name if taught.is_by(name) => 0,
                name if sibling(name) => 1,
                _ => 2,
            });
        }
        order.truncate(wanted);
        order.into_iter().collect()
    }

    /// The mean leads of the controls of a model.
    fn controls(&self, known: &Known, pool: &Pool<'_>) -> Option<Leads> {
        let mut lineages: Vec<&str> = pool
            .keys()
            .copied()
            .filter(|l| *l != known.lineage)
            .collect();
        if let Some(wanted) = self.controls {
            lineages.shuffle(&mut self.rng(known, 1));
            lineages.truncate(wanted);
        }
        Leads::mean(lineages.iter().map(|lineage| &pool[lineage]))
    }

    /// A stream of its own for every model, whichever others there are.
    fn rng(&self, known: &Known, use_: u64) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(number(known) << 1 | use_);
        rng
    }
}

/// A number that its name gives to a model.
fn number(known: &Known) -> u64 {
    let digest = Digest::of(known.name.as_bytes()).to_string();
    u64::from_str_radix(&digest[..15], 16).unwrap_or_default()
}

fn controls<'a>(pool: &[&'a Subject], stream: &str) -> Pool<'a> {
    let mut of: BTreeMap<&str, Vec<&Leads>> = BTreeMap::new();
    for subject in pool.iter().filter(|s| s.is_control()) {
        if let Some(leads) = subject.leads.get(stream) {
            of.entry(&subject.known.lineage).or_default().push(leads);
        }
    }
    let mean = |(lineage, leads): (&'a str, Vec<&Leads>)| Some((lineage, Leads::mean(leads)?));
    of.into_iter().filter_map(mean).collect()
}
