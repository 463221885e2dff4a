//! Killed at any moment, nothing that was received is lost and nothing that is kept is asked again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use filiation_core::Digest;
use filiation_teacher::{Kind, Store};

use crate::server::{Hit, Reply, Server};
use crate::{files, filiation, told};

const QUESTIONS: usize = 500;
const CONCURRENCY: usize = 8;
const KILLS: usize = 5;

fn suite(folder: &Path) {
    let line = |i: usize| {
        format!(
            r#"{{"id":"q-{i:03}","text":"What is the use of number {i}?","domain":"chat","language":"en","licence":"Apache-2.0"}}"#
        )
    };
    let lines: Vec<String> = (0..QUESTIONS).map(line).collect();
    std::fs::write(folder.join("many.jsonl"), lines.join("\n")).expect("writes");
}

/// A fifth of all requests is told to come back, and a twentieth each is broken off before and in the
/// middle of the answer.
struct Unreliable {
    visits: Mutex<BTreeMap<String, u32>>,
    /// Complete answers by question.
    served: Mutex<BTreeMap<String, u32>>,
}

fn answer(body: &[u8]) -> Vec<u8> {
    let digest = Digest::of(body);
    format!(
        r#"{{"id":"c","model":"m-1","choices":[{{"message":{{"role":"assistant","content":"It is {digest}."}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":9,"completion_tokens":7}}}}"#
    )
    .into_bytes()
}

/// What a request asks. Two draws may have the same body; each has a key of its own.
fn question(hit: &Hit) -> &String {
    hit.headers.get("idempotency-key").expect("sent")
}

impl Unreliable {
    fn reply(&self, hit: &Hit) -> Reply {
        let question = question(hit);
        let visit = {
            let mut visits = self.visits.lock().expect("no panic");
            let visit = visits.entry(question.clone()).or_default();
            *visit += 1;
            *visit
        };
        sleep(Duration::from_millis(4));
        let draw = Digest::of(&[question.as_bytes(), &visit.to_le_bytes()].concat()).as_bytes()[0];
        match u32::from(draw) * 100 / 256 {
            0..20 => Reply::json(429, r#"{"error":{"message":"slow down"}}"#),
            20..25 => Reply::Reset,
            25..30 => {
                let body = answer(&hit.body);
                let at = usize::from(draw) % body.len();
                Reply::Cut(body, at)
            }
            _ => {
                *self
                    .served
                    .lock()
                    .expect("no panic")
                    .entry(question.clone())
                    .or_default() += 1;
                Reply::json(200, answer(&hit.body))
            }
        }
    }
}

fn collect(folder: &Path, url: &str) -> Child {
    let concurrency = CONCURRENCY.to_string();
    filiation(folder)
        .args([
            "collect",
            "openai:m",
            "--base-url",
            url,
            "--key-env",
            "CANARY_KEY",
            "--probe",
            "tlu-did",
        ])
        .args([
            "--suite",
            "many.jsonl",
            "--out",
            "m.pack",
            "--concurrency",
            &concurrency,
        ])
        .args([
            "--basis",
            "a server of this test",
            "--authorised-by",
            "the test",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts")
}

/// The questions whose answers are kept.
fn kept(folder: &Path) -> BTreeSet<String> {
    let Ok(store) = Store::read(&folder.join(".filiation/store")) else {
        return BTreeSet::new();
    };
    let rows = store.exchanges(None).expect("reads");
    let answers = rows.iter().filter(|row| row.kind == Kind::Answer);
    answers.map(|row| row.key.to_string()).collect()
}

#[test]
fn five_kills_under_faults_lose_nothing_and_buy_nothing_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    suite(folder);
    let state = Arc::new(Unreliable {
        visits: Mutex::default(),
        served: Mutex::default(),
    });
    let serving = Arc::clone(&state);
    let server = Server::start(move |_, hit: &Hit| serving.reply(hit));
    let mut settled: Vec<(usize, BTreeSet<String>)> = Vec::new();
    for kill in 1..=KILLS {
        let mut child = collect(folder, &server.url());
        let target = kill * QUESTIONS / (KILLS + 1);
        let began = Instant::now();
        while state.served.lock().expect("no panic").len() < target {
            assert!(
                began.elapsed() < Duration::from_secs(120),
                "stuck before kill {kill}"
            );
            assert!(
                child.try_wait().expect("waits").is_none(),
                "ended before kill {kill}"
            );
            sleep(Duration::from_millis(1));
        }
        child.kill().expect("SIGKILL");
        child.wait().expect("ends");
        // What the server still has in hand when the kill comes counts as before it.
        sleep(Duration::from_millis(50));
        settled.push((server.hits().len(), kept(folder)));
    }
    let output = collect(folder, &server.url())
        .wait_with_output()
        .expect("ends");
    assert!(output.status.success(), "{}", told(&output));

    let store = Store::read(&folder.join(".filiation/store")).expect("opens");
    assert_eq!(
        store.verify().expect("reads").problems,
        Vec::<String>::new()
    );
    let rows = store.exchanges(None).expect("reads");
    let answers = rows.iter().filter(|row| row.kind == Kind::Answer);
    // Those of the examination stand apart.
    let (answers, tests): (Vec<_>, Vec<_>) = answers.partition(|row| row.epoch.is_empty());
    assert_eq!(answers.len(), QUESTIONS, "every answer once");
    assert!(
        (1..=20).contains(&tests.len()),
        "{} answers to tests",
        tests.len()
    );
    let keys: BTreeSet<_> = answers.iter().map(|row| row.key).collect();
    assert_eq!(keys.len(), QUESTIONS);
    for row in &answers {
        let request = store.bytes(&row.request).expect("kept");
        let response = store
            .bytes(&row.response.expect("an answer"))
            .expect("kept");
        assert_eq!(response, answer(&request), "byte for byte");
    }
    let hits = server.hits();
    for (after, settled) in &settled {
        let again = hits[*after..]
            .iter()
            .filter(|hit| settled.contains(question(hit)))
            .count();
        assert_eq!(again, 0, "what was kept is not asked again");
    }
    // What was on the way at a kill may have been paid for: it is known, and bounded.
    let interrupted = rows
        .iter()
        .filter(|row| row.kind == Kind::Interrupted)
        .count();
    let served = state.served.lock().expect("no panic");
    let twice: u32 = served.values().map(|n| n - 1).sum();
    assert!(
        interrupted <= KILLS * CONCURRENCY,
        "{interrupted} interrupted"
    );
    assert!(
        twice as usize <= interrupted,
        "{twice} served twice, {interrupted} known of"
    );
    // The same key goes out again, so that an endpoint which looks at it need not charge again.
    let mut bodies: BTreeMap<&String, BTreeSet<&[u8]>> = BTreeMap::new();
    for hit in &hits {
        bodies.entry(question(hit)).or_default().insert(&hit.body);
    }
    assert!(bodies.values().all(|bodies| bodies.len() == 1));
    assert_eq!(bodies.len(), QUESTIONS + tests.len());

    let out = filiation(folder)
        .args(["--json", "pack", "show", "m.pack"])
        .output()
        .expect("runs");
    let shown: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!(shown["kinds"]["generate"]["answered"], QUESTIONS, "{shown}");
    assert_eq!(shown["head"]["endpoint"]["answered_by"][0], "m-1");
    for file in files(folder) {
        let bytes = std::fs::read(&file).expect("reads");
        assert!(
            !crate::holds(&bytes, crate::CANARY),
            "{} holds the key",
            file.display()
        );
    }
    assert!(
        hits.iter()
            .all(|hit| hit.headers["authorization"] == format!("Bearer {}", crate::CANARY))
    );
}
