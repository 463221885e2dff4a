//! What is priced before it is bought, bounded while it is, and told afterwards.

use serde_json::{Value, json};

use crate::audit::{case, serve};
use crate::{filiation, told};

const PRICES: &str = "currency = \"EUR\"\n[[price]]\nendpoint = \"openai-completions:*\"\ninput = 1.0\noutput = 1000.0\n";

#[test]
fn a_collection_is_priced_bounded_and_accounted_for_by_the_bit() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let server = serve("teacher-1");
    case(folder, &server.url(), true);
    std::fs::write(folder.join("prices.toml"), PRICES).expect("writes");
    let run = |arguments: &[&str]| {
        let mut command = filiation(folder);
        command.args(arguments).output().expect("runs")
    };
    let plan = |more: &[&str]| -> Value {
        let output = run(&[
            &["--json", "plan", "case.toml", "--prices", "prices.toml"],
            more,
        ]
        .concat());
        assert!(output.status.success(), "{}", told(&output));
        serde_json::from_slice(&output.stdout).expect("JSON")
    };

    let before = plan(&[]);
    let probes = &before["endpoints"][0]["probes"];
    assert_eq!(
        (&probes[0][0], &probes[1][0]),
        (&json!("(testing it)"), &json!("tlu-did"))
    );
    let texts = &probes[1][1];
    let questions = texts["questions"].as_u64().expect("a number");
    assert!(questions > 100, "{before:#}");
    assert_eq!(texts["kept"], 0);
    assert_eq!(
        texts["estimate"]["output"],
        40 * questions,
        "of output the most that may be drawn"
    );
    let cost = before["endpoints"][0]["total"]["cost"]
        .as_f64()
        .expect("a price");
    assert!(cost > 40.0 * questions as f64 * 1e-3, "{cost}");
    assert_eq!(server.hits().len(), 0, "nothing is asked to price it");
    // A lead of 0.3 standard deviations: 0.09/2.18 nats a prompt; two candidates, so that 2000 must be reached.
    let expected = &before["at_lead"];
    let near = |field: &str, wanted: f64| {
        let found = expected[field].as_f64().expect("a number");
        assert!((found / wanted - 1.0).abs() < 1e-9, "{field}: {expected:#}");
    };
    let growth = 0.09 / 2.18;
    near("bits_a_prompt", growth / 2_f64.ln());
    near("bits_a_completion", growth / 2_f64.ln() / 2.0);
    near("prompts_to_1000", (2000_f64.ln() / growth).ceil());
    near("prompts", questions as f64);
    let texts = texts["cost"].as_f64().expect("a price");
    near(
        "cost_a_bit",
        texts * 2_f64.ln() / (growth * questions as f64),
    );
    assert_eq!(
        plan(&["--lead", "0.15"])["at_lead"]["prompts"],
        expected["prompts"]
    );

    let audit = ["audit", "case.toml", "--run", "run", "--stop-at-e", "1000"];
    let bounded = run(&[
        &audit[..],
        &["--prices", "prices.toml", "--max-cost", "1.5"],
    ]
    .concat());
    let text = told(&bounded);
    assert!(
        !bounded.status.success() && text.contains("the budget of 1.5 is spent"),
        "{text}"
    );
    let spent: f64 = text
        .lines()
        .find_map(|line| line.strip_suffix(" EUR")?.rsplit(' ').next()?.parse().ok())
        .expect("what was spent");
    assert!(spent > 0.5 && spent <= 1.5, "{text}");

    let whole = run(&[&audit[..], &["--prices", "prices.toml"]].concat());
    let text = told(&whole);
    assert!(whole.status.success(), "{text}");
    let line = text
        .lines()
        .find(|line| line.starts_with("tlu-did: ") && line.contains(" exchanges, "))
        .expect("accounted for");
    assert!(
        line.contains(" bits of evidence from ") && line.ends_with(" EUR a bit"),
        "{line}"
    );

    let after = plan(&["--like", "run"]);
    let total = &after["endpoints"][0]["total"];
    assert!(
        total["kept"].as_u64().is_some_and(|kept| kept >= 32),
        "{after:#}"
    );
    let expected = &after["expected"][0];
    assert_eq!(expected["probe"], json!("tlu-did"));
    assert!(
        expected["bits"].as_f64().is_some_and(|bits| bits > 9.9),
        "e = 1000: {after:#}"
    );
    assert!(
        expected["paid"]["cost"]
            .as_f64()
            .is_some_and(|cost| cost > 0.0),
        "{after:#}"
    );
}

#[test]
fn a_bound_on_money_without_a_price_is_refused_before_a_socket_is_opened() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut collect = filiation(folder.path());
    std::fs::write(
        folder.path().join("suite.jsonl"),
        r#"{"id":"o-1","text":"The","domain":"opening","language":"en","licence":"Apache-2.0"}"#,
    )
    .expect("writes");
    collect
        .env("OPENAI_API_KEY", crate::CANARY)
        .args([
            "collect",
            "openai-completions:m",
            "--suite",
            "suite.jsonl",
            "--probe",
            "tlu-did",
        ])
        .args(["--out", "m.pack", "--max-cost", "1"])
        .args(["--basis", "none", "--authorised-by", "the test"]);
    let text = told(&collect.output().expect("runs"));
    assert!(
        text.contains("no price is known for `openai-completions:m`"),
        "{text}"
    );
    assert!(
        text.contains("hint: give a table with `--prices FILE`"),
        "{text}"
    );
}
