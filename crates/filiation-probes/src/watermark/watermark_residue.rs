//! `watermark-residue`: what the suspect finds likely after a teacher's texts, under the key that
//! marked them.
//!
//! **Null hypothesis**: what the suspect does after a window was settled without the key. The key was
//! drawn at random, so that the scores of its tokens follow the law of the scheme: our own
//! randomisation, whatever the suspect is. Windows that occur earlier in the same text are left out.

use std::collections::BTreeMap;

use filiation_core::{
    Abstention, Answer, Axis, Basis, CandidateScore, Exact, MethodId, Observations, Party, Power,
    Probe, Prompt, Reason, Request, RequestId, Role, Statistic, Want,
};
use filiation_stats::holm;
use filiation_watermark::tuples::{Collector, FORMAT, Found, Header, Mode, Tuples, align};
use filiation_watermark::{Scheme, Test, WatermarkError, Weighted};

use crate::{MarkLog, ProbeError, ProbeOptions, Suite};

/// Likely tokens that are asked for at each place.
const LIKELY: u32 = 32;
/// Decoy keys.
const DECOYS: u32 = 99;
/// Windows at most, the most frequent ones.
const WINDOWS: usize = 20_000;
/// Fewest windows that are tested.
const LEAST_WINDOWS: u64 = 50;
/// Size at which the finding names a teacher, and at which a control voids it; all tests counted.
const FOUND: f64 = 0.001;
/// Size and power of the smallest excess that is stated.
const SIZE: f64 = 1e-6;
const POWER: f64 = 0.9;

/// The probe.
#[derive(Debug)]
pub struct WatermarkResidue {
    id: MethodId,
    plan: Vec<Request>,
    logs: Vec<MarkLog>,
    seed: u64,
}

impl WatermarkResidue {
    /// Plans the probe over the marked texts in `options`. The suites play no part.
    ///
    /// # Errors
    /// [`ProbeError::NoMarks`] without any.
    pub fn new(_: &[Suite], options: &ProbeOptions) -> Result<Self, ProbeError> {
        if options.marks.is_empty() {
            return Err(ProbeError::NoMarks {
                probe: "watermark-residue",
            });
        }
        let mut plan = Vec::new();
        for (i, log) in options.marks.iter().enumerate() {
            for (j, text) in log.texts.iter().enumerate() {
                plan.push(Request {
                    id: request(log, i, j),
                    to: vec![Role::Suspect, Role::Base, Role::Control],
                    want: Want::Read {
                        prompt: Prompt::Text(text.prompt.clone()),
                        continuation: text.text.clone(),
                        k: LIKELY,
                    },
                });
            }
        }
        Ok(Self {
            id: method(options),
            plan,
            logs: options.marks.clone(),
            seed: options.seed,
        })
    }
}

fn request(log: &MarkLog, number: usize, text: usize) -> RequestId {
    RequestId::new(format!("watermark-residue/{number}-{}/{text}", log.teacher))
}

fn method(options: &ProbeOptions) -> MethodId {
    let logs: Vec<String> = options
        .marks
        .iter()
        .map(|log| {
            let digest = &log.digest.to_string()[..16];
            let key = short(log);
            let marked = if log.marked { "" } else { ":unmarked" };
            format!("{}:{key}:{digest}{marked}", log.teacher)
        })
        .collect();
    MethodId::new(
        "watermark-residue",
        1,
        &[
            ("decoys", &DECOYS),
            ("least_windows", &LEAST_WINDOWS),
            ("likely", &LIKELY),
            ("logs", &logs.join("+")),
            ("seed", &options.seed),
            ("windows", &WINDOWS),
        ],
    )
}

// Enough of the commitment to tell keys apart.
fn short(log: &MarkLog) -> &str {
    log.key.commitment.get(..16).unwrap_or(&log.key.commitment)
}

/// One log, read.
struct Seen<'a> {
    log: &'a MarkLog,
    kept: f64,
    copied: u64,
    named: Weighted,
    found: Found,
    against: Option<String>,
    controls: Vec<(String, f64)>,
    log10_p: f64,
}

impl WatermarkResidue {
    fn seen<'a>(
        &self,
        number: usize,
        log: &'a MarkLog,
        seen: &Observations<'_>,
    ) -> Result<Seen<'a>, Abstention> {
        let missing = || Abstention::new(Reason::TooFewAnswers, "no suspect in the case");
        let scheme = scheme(log)?;
        let width = scheme.reading().width;
        let tuples = |party: &Party| tuples((number, log), width, party, seen);
        let suspect = tuples(seen.suspect().ok_or_else(missing)?)?;
        let test = Test {
            decoys: DECOYS,
            seed: self.seed,
            log10_size: SIZE.log10(),
        };
        let mut others = Vec::new();
        for party in seen.base().into_iter().chain(seen.controls()) {
            // One that does not read is no control; the suspect stands without it.
            if let Ok(tuples) = tuples(party) {
                others.push((party.name.clone(), tuples));
            }
        }
        let first = others.first().map(|(_, tuples)| tuples);
        let found = test
            .tuples(&*scheme, &suspect, first)
            .map_err(|e| unfit(&e))?;
        let windows = found.named().map_or(0, |w| w.windows);
        let Some(named) = found.named().copied().filter(|_| windows >= LEAST_WINDOWS) else {
            return Err(Abstention::new(
                Reason::TooFewAnswers,
                format!("{windows} windows can be scored, expected at least {LEAST_WINDOWS}"),
            ));
        };
        let mut controls = Vec::new();
        for (name, tuples) in &others {
            let found = test.tuples(&*scheme, tuples, None).map_err(|e| unfit(&e))?;
            controls.push((name.clone(), found.mass.map_or(0.0, |w| w.reported())));
        }
        Ok(Seen {
            log,
            kept: suspect.header.kept(),
            copied: suspect.header.copied,
            log10_p: named.reported(),
            named,
            found,
            against: others.first().map(|(name, _)| name.clone()),
            controls,
        })
    }
}

fn scheme(log: &MarkLog) -> Result<Box<dyn Scheme>, Abstention> {
    let absent = || Abstention::new(Reason::NotSupported, withheld(log));
    log.scheme().ok_or_else(absent)?.map_err(|e| unfit(&e))
}

fn withheld(log: &MarkLog) -> String {
    format!(
        "the key of `{}`, commitment {}",
        log.teacher, log.key.commitment
    )
}

/// What `party` finds likely after the windows of the texts of log `number`.
fn tuples(
    (number, log): (usize, &MarkLog),
    width: usize,
    party: &Party,
    seen: &Observations<'_>,
) -> Result<Tuples, Abstention> {
    let same = party.identity.tokenizer == Some(log.tokenizer);
    let spelling = (!same).then_some(&log.spelling);
    let mut collector = Collector::new(width, None);
    let mut answered = 0;
    for (i, text) in log.texts.iter().enumerate() {
        if let Some(Answer::Read(read)) = seen.answer(party, &request(log, number, i)) {
            collector.fed(&text.ids, &align(&text.starts, read, spelling));
            answered += 1;
        }
    }
    if answered == 0 {
        return Err(Abstention::new(
            Reason::NotSupported,
            format!(
                "`{}` was read on none of {} texts",
                party.name,
                log.texts.len()
            ),
        ));
    }
    let header = Header {
        format: FORMAT,
        mode: Mode::Open,
        marked_text: log.marked,
        width: 0,
        model: party.identity.digest.to_string(),
        tokenizer: log.tokenizer.to_string(),
        vocabulary: log.vocabulary,
        texts: log.digest.to_string(),
        positions: 0,
        copied: 0,
        unaligned: 0,
        rare: 0,
    };
    Ok(collector.finish(header, WINDOWS))
}

fn unfit(error: &WatermarkError) -> Abstention {
    Abstention::new(Reason::NotComparable, error.to_string())
}

/// A control that shows the residue too says that what is seen is no trace of the teacher: a habit of the
/// language that this key meets, or a control that is none.
fn controls_clear(seen: &[Seen<'_>]) -> Result<(), Abstention> {
    let all: Vec<(&Seen<'_>, &(String, f64))> = seen
        .iter()
        .flat_map(|s| s.controls.iter().map(move |c| (s, c)))
        .collect();
    let counted = holm(&all.iter().map(|(_, c)| c.1).collect::<Vec<_>>());
    match all.iter().zip(counted).find(|(_, p)| *p <= FOUND.log10()) {
        None => Ok(()),
        Some(((seen, (name, _)), p)) => Err(Abstention::new(
            Reason::NotComparable,
            format!(
                "`{name}`, which is to know nothing of `{}`, shows the residue too (log10 p {p:.1})",
                seen.log.teacher
            ),
        )),
    }
}

impl Probe for WatermarkResidue {
    fn id(&self) -> &MethodId {
        &self.id
    }

    fn plan(&self) -> &[Request] {
        &self.plan
    }

    fn withheld(&self) -> Option<String> {
        let absent = self.logs.iter().filter(|log| log.open.is_none());
        absent.map(withheld).next()
    }

    fn measure(&self, seen: &Observations<'_>) -> Result<Statistic, Abstention> {
        let mut read = Vec::new();
        let mut refused = None;
        for (i, log) in self.logs.iter().enumerate() {
            match self.seen(i, log, seen) {
                Ok(one) => read.push(one),
                Err(why) => refused = Some(why),
            }
        }
        if let Some(why) = refused.clone().filter(|_| read.is_empty()) {
            return Err(why);
        }
        controls_clear(&read)?;
        // A key under which nothing could be read was tried all the same.
        let tried = self.logs.len();
        let mut raw: Vec<f64> = read.iter().map(|s| s.log10_p).collect();
        raw.resize(tried, 0.0);
        let counted = holm(&raw);
        let mut finding = finding(&read, &counted, tried);
        if let Some(why) = refused {
            finding += &format!("; another log is left out: {why}");
        }
        Ok(Statistic {
            method: self.id.clone(),
            axis: Axis::TeacherIdentity,
            basis: Basis::Design,
            unit: "excess of the mean score".into(),
            candidates: candidates(&read, &counted, tried),
            controls: seen.controls().map(|c| c.name.clone()).collect(),
            finding: Some(finding),
            power: power(&read),
            details: details(&read),
        })
    }
}

/// One entry a teacher: of several logs the one with the least p.
fn candidates(seen: &[Seen<'_>], counted: &[f64], tried: usize) -> Vec<CandidateScore> {
    let mut best: BTreeMap<&str, (f64, usize)> = BTreeMap::new();
    for (i, (one, p)) in seen.iter().zip(counted).enumerate() {
        let entry = best.entry(&one.log.teacher).or_insert((*p, i));
        if *p < entry.0 {
            *entry = (*p, i);
        }
    }
    let score = |(teacher, (p, i)): (&str, (f64, usize))| {
        let named = &seen[i].named;
        CandidateScore {
            candidate: teacher.to_owned(),
            score: named.excess,
            interval: None,
            effect: Some(named.z / (named.windows as f64).sqrt()),
            units: u32::try_from(named.windows).unwrap_or(u32::MAX),
            exact: Some(Exact {
                log10_p: p,
                // The mean of e-values is one: each counts as its share of it.
                log10_e: Some(e_value(named) - (tried as f64).log10()),
            }),
        }
    };
    best.into_iter().map(score).collect()
}

/// The logarithm divided by the variance inflation, as that of p is, where there is evidence at all.
fn e_value(of: &Weighted) -> f64 {
    let inflation = of.decoys.map_or(1.0, |d| d.inflation);
    if of.log10_e > 0.0 {
        of.log10_e / inflation
    } else {
        of.log10_e
    }
}

fn finding(seen: &[Seen<'_>], counted: &[f64], tried: usize) -> String {
    let said = |one: &Seen<'_>, p: f64| {
        let against = match &one.against {
            Some(control) => format!(" beyond `{control}`'s"),
            None => ", with no control beside it".into(),
        };
        format!(
            "`{}` under key {}: probabilities{against} exceed chance by {:+.5} over {} windows (log10 p \
             {p:.1}, log10 e {:.1}; {:.5} would have been seen; {:.0} % of places kept)",
            one.log.teacher,
            short(one.log),
            one.named.excess,
            one.named.windows,
            e_value(&one.named),
            one.named.smallest,
            100.0 * one.kept
        )
    };
    let mut found: Vec<(&Seen<'_>, f64)> = seen
        .iter()
        .zip(counted.iter().copied())
        .filter(|(_, p)| *p <= FOUND.log10())
        .collect();
    found.sort_by(|a, b| a.1.total_cmp(&b.1));
    let keys = if tried == 1 {
        "1 key tried".to_owned()
    } else {
        format!("{tried} keys tried and counted")
    };
    if found.is_empty() {
        let all: Vec<String> = seen.iter().zip(counted).map(|(s, p)| said(s, *p)).collect();
        return format!("no residue of a mark is seen: {}; {keys}", all.join("; "));
    }
    let all: Vec<String> = found.iter().map(|(s, p)| said(s, *p)).collect();
    format!(
        "the suspect was exposed to text that bears the mark of {}; {keys}",
        all.join(", and of ")
    )
}

fn power(seen: &[Seen<'_>]) -> Option<Power> {
    let smallest_effect = seen.iter().map(|s| s.named.smallest).reduce(f64::max)?;
    Some(Power {
        smallest_effect,
        size: SIZE,
        power: POWER,
    })
}

fn details(seen: &[Seen<'_>]) -> BTreeMap<String, f64> {
    let mut all = BTreeMap::new();
    for (i, one) in seen.iter().enumerate() {
        let name = format!("{}-{}", i + 1, one.log.teacher);
        let mut put = |what: &str, value: f64| all.insert(format!("{name}/{what}"), value);
        let tests = [
            ("mass", one.found.mass.as_ref()),
            ("beyond-control", one.found.beyond_control.as_ref()),
        ];
        for (test, of) in tests {
            let Some(w) = of else { continue };
            put(&format!("{test}/windows"), w.windows as f64);
            put(&format!("{test}/excess"), w.excess);
            put(&format!("{test}/log10-p"), w.log10_p);
            put(&format!("{test}/log10-e"), w.log10_e);
            put(&format!("{test}/log10-p-anytime"), w.log10_p_anytime);
            if let Some(d) = w.decoys {
                put(&format!("{test}/decoy-log10-p"), d.log10_p);
                put(&format!("{test}/inflation"), d.inflation);
                put(&format!("{test}/log10-p-inflated"), d.log10_p_inflated);
            }
        }
        if let Some(r) = one.found.argmax {
            put("argmax/units", r.scored as f64);
            put("argmax/mean", r.mean);
            put("argmax/expected", r.expected);
            put("argmax/log10-p", r.reported());
        }
        put("kept", one.kept);
        put("copied", one.copied as f64);
        for (control, p) in &one.controls {
            put(&format!("control-log10-p/{control}"), *p);
        }
    }
    all
}

#[cfg(test)]
mod tests;
