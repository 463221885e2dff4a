use filiation_core::{Abstention, Digest, MethodId};

use super::*;
use crate::record::{Candidate, History, Scored};

const TEACHERS: [&str; 3] = ["t1", "t2", "t3"];

/// A number in [0, 1) that differs from place to place: the golden ratio's multiples.
fn spread(i: usize) -> f64 {
    (i as f64 * 0.618_033_988_749_895).fract()
}

fn record(probe: &str, suspect: String, lineage: &str, history: History, lead: [f64; 3]) -> Record {
    let candidates = TEACHERS.iter().zip(lead).map(|(name, score)| Candidate {
        name: (*name).into(),
        score,
        interval: Some([score - 1.0, score + 1.0]),
        effect: None,
        units: 10,
        log10_p_among_controls: Some(if score > 1.0 { -3.0 } else { -0.3 }),
        log10_p: None,
        log10_e: None,
        weight: None,
    });
    Record {
        model: Digest::of(suspect.as_bytes()),
        suspect,
        lineage: lineage.into(),
        kind: None,
        features: BTreeMap::new(),
        history,
        method: MethodId::new(probe, 1, &[]),
        cost: Cost {
            completions: 7,
            others: 2,
        },
        outcome: Outcome::Scored(Scored {
            axis: Axis::TeacherIdentity,
            basis: Basis::Population,
            controls: 4,
            candidates: candidates.collect(),
            leads: vec![],
        }),
    }
}

/// Two bases, three teachers of which two are siblings, two signals, three shares; the true
/// teacher's score is `gain` times the share above noise, and its sibling's half of that below.
fn population(probe: &str, gain: f64) -> Vec<Record> {
    let mut all = Vec::new();
    let mut at = 0;
    let mut noise = || {
        at += 1;
        0.2 * (spread(at) - 0.5)
    };
    for base in ["a", "b"] {
        for (k, teacher) in TEACHERS.iter().enumerate() {
            for by in ["text", "logits"] {
                for share in [1.0, 0.3, 0.1] {
                    let mut lead = [noise(), noise(), noise()];
                    lead[k] += gain * share;
                    let siblings: Vec<String> = match k {
                        0 => vec!["t2".into()],
                        1 => vec!["t1".into()],
                        _ => Vec::new(),
                    };
                    let history = History::Distilled {
                        teacher: (*teacher).into(),
                        also: None,
                        siblings,
                        share,
                        by: by.into(),
                    };
                    let name = format!("s-{base}-{teacher}-{by}-{share}");
                    all.push(record(probe, name, base, history, lead));
                }
            }
        }
        for i in 0..8 {
            let lead = [noise(), noise(), noise()];
            all.push(record(
                probe,
                format!("ha-{base}-{i}"),
                base,
                History::FineTune,
                lead,
            ));
        }
    }
    for i in 0..12 {
        let (name, lead) = (format!("hb-{i}"), [noise(), noise(), noise()]);
        all.push(record(
            probe,
            name.clone(),
            &name,
            History::Independent,
            lead,
        ));
    }
    for i in 0..110 {
        let (name, lead) = (format!("clean-{i}"), [noise(), noise(), noise()]);
        all.push(record(
            probe,
            format!("{name}-s"),
            &name,
            History::FineTune,
            lead,
        ));
    }
    all
}

#[test]
fn a_probe_that_sees_the_teacher_is_kept_and_its_smallest_share_found() {
    let pilot = pilot(&population("sees", 2.0));
    let [row] = &pilot.rows[..] else {
        panic!("one probe: {pilot:?}");
    };
    assert_eq!(row.carries_against, ["Ha", "Hb", "Hc"]);
    assert!(row.is_kept());
    let ha = row.against_ha.expect("models on both sides");
    assert_eq!((ha.distilled, ha.others), (36, 16));
    assert!(ha.g > 1.0 && ha.auc > 0.9, "{ha:?}");
    let alone = row.against_ha_without_siblings.expect("t3's students");
    assert_eq!((alone.distilled, alone.others), (12, 16));
    let hc = row.against_hc.expect("siblings");
    assert_eq!((hc.distilled, hc.others), (24, 24));
    let smallest: Vec<_> = row.smallest_share.values().copied().collect();
    assert_eq!(smallest, [Some(0.1), Some(0.1)]);
    assert_eq!(row.first, Some((36, 36)));
    let clean = row.errors.clean.expect("clean lineages");
    assert_eq!((clean.hits, clean.of), (0, 110));
    assert!((clean.interval.upper - 0.033).abs() < 1e-3);
    let power = row.errors.teacher.expect("students");
    assert_eq!((power.hits, power.of), (12, 36));
    assert_eq!(row.cost.completions, 7);
}

#[test]
fn a_probe_that_sees_nothing_carries_nothing() {
    let mut records = population("sees", 2.0);
    records.extend(population("blind", 0.0));
    let pilot = pilot(&records);
    let blind = &pilot.rows[1];
    assert!(blind.carries_against.is_empty(), "{blind:?}");
    assert!(!blind.is_kept());
    assert!(blind.smallest_share.values().all(Option::is_none));
    let [pair] = &pilot.dependence[..] else {
        panic!("one pair");
    };
    // The noise of both is the same, which is all there is for innocents.
    assert!(pair.innocents.expect("pairs") > 0.999);
    assert!(pair.distilled.expect("pairs") < 0.5, "{pair:?}");
}

#[test]
fn scores_that_mirror_each_other_are_no_two_samples() {
    let mut records = population("mirror", 0.0);
    for record in &mut records {
        if let Outcome::Scored(scored) = &mut record.outcome {
            scored.candidates[1].score = -scored.candidates[0].score;
        }
    }
    let hc = pilot(&records).rows[0].against_hc.expect("siblings");
    let of = |k: usize| -> Vec<f64> {
        let students = records
            .iter()
            .filter_map(|r| match (&r.history, &r.outcome) {
                (History::Distilled { teacher, .. }, Outcome::Scored(s)) if teacher != "t3" => {
                    let own = TEACHERS.iter().position(|t| t == teacher)?;
                    Some(s.candidates[if k == 0 { own } else { 1 - own }].score)
                }
                _ => None,
            });
        students.collect()
    };
    let apart = effect(&of(0), &of(1)).expect("two samples");
    let width = |e: &Effect| e.interval.upper - e.interval.lower;
    assert!((hc.g - apart.g).abs() < 1e-12, "{hc:?} {apart:?}");
    let ratio = width(&hc) / width(&apart);
    assert!((1.25..1.6).contains(&ratio), "{ratio}");
}

#[test]
fn a_share_counts_only_when_all_larger_ones_are_seen() {
    let at = |by: &str, share, lower| AtShare {
        by: by.into(),
        share,
        effect: Some(Effect {
            g: lower + 1.0,
            interval: Interval {
                lower,
                upper: lower + 2.0,
                level: LEVEL,
            },
            auc: 0.5,
            distilled: 6,
            others: 16,
        }),
    };
    let cells = [
        at("text", 1.0, 0.5),
        at("text", 0.3, -0.1),
        at("text", 0.1, 0.2),
        at("logits", 1.0, 0.5),
        at("logits", 0.3, 0.1),
    ];
    let smallest = smallest_share(&cells);
    assert_eq!(smallest["text"], Some(1.0));
    assert_eq!(smallest["logits"], Some(0.3));
}

#[test]
fn lineages_count_once_and_abstentions_are_counted_apart() {
    let mut records = population("sees", 2.0);
    let again: Vec<Record> = (records.iter().filter(|r| r.lineage == "clean-3"))
        .map(|r| Record {
            suspect: "variant".into(),
            ..r.clone()
        })
        .collect();
    records.extend(again);
    let last = records.len() - 2;
    records[last].outcome = Outcome::Abstained(Abstention::new(Reason::Degenerate, "still"));
    let row = &pilot(&records).rows[0];
    assert_eq!(row.errors.clean.expect("clean").of, 109);
    assert_eq!(row.abstained["degenerate"], 1);
    assert_eq!(row.scored, 36 + 16 + 12 + 110);
}

#[test]
fn on_the_axis_of_weights_kin_are_told_from_strangers() {
    let mut records = population("lineage", 0.0);
    for (i, record) in records.iter_mut().enumerate() {
        let related = record.history != History::Independent;
        if let Outcome::Scored(scored) = &mut record.outcome {
            scored.axis = Axis::WeightLineage;
            scored.candidates.truncate(1);
            scored.candidates[0].score = spread(i) * 0.1 + if related { 0.8 } else { 0.0 };
        }
    }
    let kin = pilot(&records).rows[0].kin.expect("both sides");
    assert_eq!((kin.related, kin.unrelated), (36 + 16 + 110, 12));
    assert_eq!((kin.auc, kin.found_at_1_percent), (1.0, 1.0));
    assert!(kin.least_related >= 0.8 && kin.greatest_unrelated < 0.1);

    // One copy that reads as a stranger, below a stranger that reads as kin.
    for (suspect, score) in [("ha-a-0", 0.05), ("hb-3", 0.95)] {
        let record = records.iter_mut().find(|r| r.suspect == suspect);
        let Outcome::Scored(scored) = &mut record.expect("named so").outcome else {
            unreachable!("all are scored");
        };
        scored.candidates[0].score = score;
    }
    let kin = pilot(&records).rows[0].kin.expect("both sides");
    assert!(kin.auc < 1.0, "{kin:?}");
    assert_eq!(kin.found_at_1_percent, 0.0);
    assert!(pilot(&population("sees", 2.0)).rows[0].kin.is_none());
}

#[test]
fn fine_tunes_of_other_bases_stand_in_where_no_base_has_both() {
    let mut records = population("sees", 2.0);
    records.retain(|r| !r.suspect.starts_with("ha-"));
    let row = &pilot(&records).rows[0];
    let against = row.against_ha.as_ref().expect("clean lineages");
    assert_eq!(against.others, 110);
    assert!(against.interval.lower > 0.0, "{against:?}");
}

#[test]
fn records_are_read_back() {
    for record in population("sees", 1.0).iter().step_by(20) {
        let line = filiation_core::canonical::to_bytes(record);
        let read: Record = serde_json::from_slice(&line).expect("its own output");
        assert_eq!(read, *record);
    }
}
