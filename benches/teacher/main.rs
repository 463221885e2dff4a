//! What a client of an API costs beside the API: time a request against the least that HTTP takes, and
//! replays from the store.
//!
//! ```text
//! cargo bench -p filiation-cli --bench teacher
//! ```

#![expect(clippy::print_stdout, reason = "the numbers")]
#![expect(clippy::cast_precision_loss, reason = "counts")]

#[path = "../../tests/teacher/bare.rs"]
mod bare;
#[path = "../../tests/teacher/server.rs"]
#[expect(dead_code, reason = "the tests break off too, and look at what came")]
mod server;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use filiation_core::Prompt;
use filiation_teacher::{Call, Client, Complete, Endpoint, Input, Mode, Options, Store};
use server::{Hit, Reply, Server};

const CONCURRENCY: usize = 8;

fn answer() -> Vec<u8> {
    let text = "A house is a place where people live. ".repeat(6);
    format!(
        r#"{{"id":"c","model":"m-1","choices":[{{"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"length"}}],"usage":{{"prompt_tokens":12,"completion_tokens":48}}}}"#
    )
    .into_bytes()
}

fn calls(count: usize) -> Vec<Call> {
    (0..count)
        .map(|n| {
            let Prompt::Chat(turns) = Prompt::user(format!("What is the use of number {n}?"))
            else {
                unreachable!("a conversation");
            };
            Complete::of(Input::Chat(turns), 48).into()
        })
        .collect()
}

fn client(url: &str, folder: &Path, mode: Mode) -> Client {
    let endpoint = Endpoint::new("openai:m", Some(url)).expect("an endpoint");
    let store = match mode {
        Mode::Record => Store::record(folder),
        _ => Store::read(folder),
    };
    let options = Options {
        concurrency: CONCURRENCY,
        ..Options::default()
    };
    Client::new(endpoint, Arc::new(store.expect("opens")), mode, options).expect("starts")
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let trial = std::env::args().any(|a| a == "--test");
    let (count, runs, replays) = if trial {
        (20, 1, 20)
    } else {
        (2_000, 5, 10_000)
    };
    let server = Server::start(|_, _: &Hit| Reply::json(200, answer()));
    let folder = tempfile::tempdir().expect("a folder");
    let calls_made = calls(replays.max(count));
    let (mut ours, mut least) = (Vec::new(), Vec::new());
    for run in 0..runs {
        let place = folder.path().join(format!("run-{run}"));
        let client = client(&server.url(), &place, Mode::Record);
        let began = Instant::now();
        let seen = client.ask_all(&calls_made[..count]);
        ours.push(began.elapsed().as_secs_f64());
        assert!(seen.iter().all(Result::is_ok));
        let bodies: Vec<Vec<u8>> = seen
            .iter()
            .flatten()
            .map(|seen| client.store().bytes(&seen.exchange.request).expect("kept"))
            .collect();
        let began = Instant::now();
        bare::post(&server.url(), "/v1/chat/completions", &bodies, CONCURRENCY);
        least.push(began.elapsed().as_secs_f64());
    }
    let a_request = |times: Vec<f64>| median(times) / count as f64 * 1e3;
    let (ours, least) = (a_request(ours), a_request(least));
    println!(
        "{count} requests, {CONCURRENCY} at a time, kept on disk: {ours:.3} ms a request; bare HTTP {least:.3} ms; \
         overhead {:.3} ms",
        ours - least
    );
    let place = folder.path().join("replay");
    drop(client(&server.url(), &place, Mode::Record).ask_all(&calls_made[..replays]));
    let mut times = Vec::new();
    for _ in 0..runs {
        let client = client(&server.url(), &place, Mode::Replay);
        let began = Instant::now();
        let seen = client.ask_all(&calls_made[..replays]);
        times.push(began.elapsed().as_secs_f64());
        assert!(seen.iter().all(|s| s.as_ref().is_ok_and(|s| s.replayed)));
    }
    println!("{replays} replays from the store: {:.3} s", median(times));
}
