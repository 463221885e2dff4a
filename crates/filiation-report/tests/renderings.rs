//! A small report in each form.

use filiation_core::{
    Abstention, Axis, Basis, CandidateScore, Digest, Interval, MethodId, ModelIdentity, Party,
    Reason, Role, Statistic,
};
use filiation_lr::{Population, Setting, weigh};
use filiation_report::{
    Authorisation, CaseFacts, EndpointFacts, FoundBy, Input, NotRun, Outcome, Parts, ProbeRecord,
    RecordingFacts, Report, SuiteFacts, render, schema,
};

fn party(name: &str, role: Role, source: &str) -> Party {
    Party {
        name: name.into(),
        role,
        identity: ModelIdentity {
            source: source.into(),
            digest: Digest::of(name.as_bytes()),
            architecture: "LlamaForCausalLM".into(),
            parameters: 1_234_567,
            tokenizer: Some(Digest::of(b"tokenizer")),
        },
    }
}

fn score(candidate: &str, score: f64) -> CandidateScore {
    CandidateScore {
        candidate: candidate.into(),
        score,
        interval: Some(Interval {
            lower: score - 0.01,
            upper: score + 0.012_345,
            level: 0.95,
        }),
        effect: Some(1.25),
        units: 64,
        exact: None,
    }
}

fn report(source: &str) -> Report {
    let parties = vec![
        party("student", Role::Suspect, source),
        party("base", Role::Base, "bases/a"),
        party("t1", Role::Teacher, "teachers/t1"),
        party("t2", Role::Teacher, "teachers/t2"),
    ];
    let statistic = Statistic {
        method: MethodId::new("tlu-did", 1, &[("max_tokens", &48)]),
        axis: Axis::TeacherIdentity,
        basis: Basis::Population,
        unit: "nats per byte".into(),
        candidates: vec![score("t1", -0.031_416), score("t2", 0.271_828)],
        controls: vec![],
        finding: None,
        power: None,
        details: [("pairs".to_owned(), 64.0)].into(),
    };
    let evidence = weigh(&statistic, &Setting::of(&parties), &Population::NONE);
    let input = Input {
        party: "student".into(),
        transcript: Digest::of(b"answers"),
        answered: 64,
        failed: 1,
    };
    let silent = ProbeRecord {
        method: MethodId::new("choice-priors", 1, &[]),
        inputs: vec![],
        outcome: Outcome::Abstention(Abstention::new(Reason::TooFewAnswers, "0 cells, needs 8")),
    };
    Report::assemble(Parts {
        case: CaseFacts {
            name: "demo".into(),
            found_by: FoundBy::Batch(12),
            prior: Some(0.1),
            seed: 7,
            max_tokens: 48,
            samples: 2,
            temperature: 0.7,
            raw: true,
            limit: None,
            plan: Digest::of(b"plan"),
            not_run: vec![NotRun {
                probe: "weight-lineage".into(),
                because: "the case leaves it out".into(),
            }],
        },
        parties,
        recordings: vec![RecordingFacts {
            party: "t1".into(),
            pack: Digest::of(b"pack"),
            source: "teachers/t1".into(),
            version: Some("2026-01".into()),
            recorded: "2026-02-03".into(),
            answers: 64,
        }],
        endpoints: vec![EndpointFacts {
            party: "t2".into(),
            endpoint: "openai:m at https://example.org/v1".into(),
            authorisation: Authorisation {
                basis: "contract 7".into(),
                by: "A. Auditor".into(),
                date: "2026-02-01".into(),
            },
            tier: "T0".into(),
            faults: vec![],
            tested: None,
            answered_by: vec!["m-2026-01-01".into()],
            exchanges: 64,
            input_tokens: 820,
            output_tokens: 3072,
            first: "2026-02-03".into(),
            last: "2026-02-03".into(),
            sha256: Digest::of(b"exchanges"),
        }],
        suites: vec![SuiteFacts {
            name: "openings.jsonl".into(),
            digest: Digest::of(b"suite"),
            prompts: 64,
        }],
        probes: vec![
            ProbeRecord {
                method: statistic.method.clone(),
                inputs: vec![input],
                outcome: Outcome::Statistic(statistic),
            },
            silent,
        ],
        evidence: vec![evidence],
        likelihood: None,
    })
}

#[test]
fn json_round_trips_and_is_canonical() {
    let report = report("suspects/text");
    let bytes = report.to_json();
    let again = Report::from_json(&bytes).expect("its own output");
    assert_eq!(again, report);
    assert_eq!(again.to_json(), bytes);
    assert!(
        render::json(&report).contains("0.271828"),
        "json is not rounded"
    );
}

#[test]
fn an_unknown_field_or_format_is_refused() {
    let text = render::json(&report("s"));
    let other = text.replace("filiation-report/1", "filiation-report/9");
    let error = Report::from_json(other.as_bytes()).expect_err("format 9");
    assert!(error.to_string().contains("filiation-report/9"), "{error}");
    let extra = text.replacen('{', "{\"verdict\": true,", 1);
    let error = Report::from_json(extra.as_bytes()).expect_err("unknown field");
    assert!(error.to_string().contains("verdict"), "{error}");
}

#[test]
fn text_ranks_the_teachers_and_keeps_the_width() {
    for width in [60, 80, 120] {
        let text = render::text(&report("suspects/text"), width);
        let long: Vec<_> = text.lines().filter(|l| l.chars().count() > width).collect();
        assert!(long.is_empty(), "wider than {width}: {long:#?}");
    }
    let text = render::text(&report("suspects/text"), 100);
    let (_, table) = text.split_once("most supported first").expect("the table");
    let (first, second) = (table.find("t2").expect("t2"), table.find("t1").expect("t1"));
    assert!(first < second, "{text}");
    assert!(table.contains("1. +0.272 [+0.262, +0.284]"), "{text}");
    for stated in [
        "No likelihood ratio can be stated",
        "choice-priors abstains: 0 cells, needs 8",
        "batch of 12",
        "Ha:",
        "Hb:",
        "Hc:",
    ] {
        assert!(text.contains(stated), "{stated} is missing in\n{text}");
    }
}

#[test]
fn no_rendering_says_more_than_it_may() {
    let report = report("suspects/text");
    for rendering in [render::text(&report, 10_000), render::markdown(&report)] {
        let lower = rendering.to_lowercase();
        for word in [
            " match",
            "identified",
            "conclusive",
            "certain",
            "proves",
            "proof",
        ] {
            assert!(!lower.contains(word), "`{word}` in\n{rendering}");
        }
    }
}

#[test]
fn a_hostile_name_reaches_no_terminal() {
    let hostile = "\u{1b}[2J\u{1b}]0;owned\u{7}x\u{202e}| <script> `a";
    let report = report(hostile);
    let text = render::text(&report, 100);
    let markdown = render::markdown(&report);
    for rendering in [&text, &markdown] {
        let bad = rendering
            .chars()
            .find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
        assert_eq!(bad, None, "{rendering}");
        assert!(!rendering.contains("owned"), "{rendering}");
    }
    assert!(!markdown.contains("<script>"), "{markdown}");
}

#[test]
fn the_published_schema_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/report.schema.json");
    let published = std::fs::read(path).expect("docs/report.schema.json");
    assert!(
        published == schema(),
        "docs/report.schema.json is not current: write it again with `filiation schema`"
    );
}
