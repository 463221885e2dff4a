//! What goes wrong on the way: each is tried again, recorded or refused by rule.

mod kept;
#[path = "../../../../tests/teacher/server.rs"]
mod server;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use filiation_core::Prompt;
use filiation_teacher::{
    Call, Client, Complete, Endpoint, Failure, Input, Kind, Mode, Options, Reply, Secret, Store,
    TeacherError,
};
use serde_json::{Value, json};
use server::{Hit, Server};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

const CANARY: &str = "sk-canary-4f1d9c0b7a";

fn options() -> Options {
    Options {
        attempts: 6,
        first_wait: Duration::from_millis(2),
        idle: Duration::from_millis(400),
        whole: Duration::from_secs(3),
        deadline: Duration::from_secs(20),
        ..Options::default()
    }
}

fn client_with(url: &str, folder: &Path, mode: Mode, options: Options) -> Client {
    let endpoint = Endpoint::new("openai:m", Some(url))
        .expect("an endpoint")
        .key_from("KEY");
    let store = match mode {
        Mode::Record => Store::record(folder),
        _ => Store::read(folder),
    };
    let secret = Secret::new("KEY", CANARY).expect("a key");
    let secret = (mode == Mode::Record).then_some(secret);
    Client::with_secret(
        endpoint,
        Arc::new(store.expect("opens")),
        mode,
        options,
        secret,
    )
    .expect("starts")
}

fn client(url: &str, folder: &Path) -> Client {
    client_with(url, folder, Mode::Record, options())
}

fn question(n: u64) -> Call {
    let prompt = Prompt::user(format!("question {n}"));
    let Prompt::Chat(messages) = prompt else {
        panic!("a conversation")
    };
    Complete {
        sample: n,
        ..Complete::of(Input::Chat(messages), 8)
    }
    .into()
}

fn said(text: &str) -> Value {
    json!({"id": "c", "model": "m-1", "choices": [{"message": {"content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2}})
}

fn bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("JSON")
}

fn text(seen: &filiation_teacher::Seen) -> &str {
    match &seen.reply {
        Reply::Completed(completed) => &completed.text,
        other => panic!("{other:?}"),
    }
}

fn kinds(client: &Client) -> Vec<Kind> {
    client
        .store()
        .exchanges(None)
        .expect("reads")
        .iter()
        .map(|e| e.kind)
        .collect()
}

/// Asks one question of a server that does `replies` in turn, the last for ever.
fn against(
    replies: Vec<server::Reply>,
) -> (
    Result<filiation_teacher::Seen, TeacherError>,
    Vec<Kind>,
    usize,
) {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(move |n, _: &Hit| replies[n.min(replies.len() - 1)].clone());
    let client = client(&server.url(), folder.path());
    let result = client.ask(&question(0));
    let kinds = kinds(&client);
    assert_eq!(
        client.store().verify().expect("reads").problems,
        Vec::<String>::new()
    );
    (result, kinds, server.hits().len())
}

fn good() -> server::Reply {
    server::Reply::json(200, bytes(&said("fine")))
}

fn mocked() -> (tokio::runtime::Runtime, MockServer) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let server = runtime.block_on(MockServer::start());
    (runtime, server)
}

fn holds(bytes: &[u8]) -> bool {
    bytes.windows(CANARY.len()).any(|w| w == CANARY.as_bytes())
}

#[test]
fn what_passes_is_tried_again_and_every_attempt_is_kept() {
    let whole = bytes(&said("fine"));
    let unfinished = whole[..whole.len() - 9].to_vec();
    for fault in [
        server::Reply::json(429, r#"{"error":{"message":"slow down"}}"#),
        server::Reply::json(500, "{}"),
        server::Reply::json(
            529,
            r#"{"error":{"type":"overloaded_error","message":"Overloaded"}}"#,
        ),
        server::Reply::Whole(
            200,
            "text/html",
            b"<!doctype html><title>Sign in</title>".to_vec(),
        ),
        server::Reply::Whole(200, "application/json", b"<html>".to_vec()),
        server::Reply::Whole(200, "text/event-stream", b"data: {\"choices\"".to_vec()),
        server::Reply::Whole(502, "text/html", b"<h1>Bad gateway</h1>".to_vec()),
        server::Reply::json(200, unfinished),
        server::Reply::json(200, "{}"),
        server::Reply::json(200, ""),
        server::Reply::Cut(whole.clone(), 40),
        server::Reply::Cut(whole, 0),
        server::Reply::Reset,
    ] {
        let shown = format!("{fault:?}");
        let (result, kinds, asked) = against(vec![fault.clone(), fault, good()]);
        assert_eq!(text(&result.expect(&shown)), "fine", "{shown}");
        assert_eq!(kinds, [Kind::Fault, Kind::Fault, Kind::Answer], "{shown}");
        // A connection that is closed at once may be tried again below us, unseen.
        assert!(asked >= 3, "{shown}: {asked}");
    }
}

#[test]
fn what_does_not_pass_ends_with_what_was_seen_last() {
    let unreachable = |reply: server::Reply, words: &str| {
        let (result, kinds, _) = against(vec![reply]);
        let error = result.expect_err(words);
        assert!(
            matches!(error, TeacherError::Unreachable { attempts: 6, .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(kinds, [Kind::Fault; 6]);
    };
    unreachable(server::Reply::json(503, "{}"), "status 503");
    unreachable(
        server::Reply::Whole(200, "text/html", b"<html>".to_vec()),
        "HTML came instead",
    );
    let (result, kinds, _) = against(vec![server::Reply::json(200, r#"{"choices":[]}"#)]);
    let error = result.expect_err("never an answer");
    assert!(
        matches!(error, TeacherError::Unusable { attempts: 6, .. }),
        "{error:?}"
    );
    assert_eq!(kinds, [Kind::Fault; 6]);
}

#[test]
fn a_hung_socket_is_let_go_of() {
    let began = Instant::now();
    let (result, kinds, _) = against(vec![server::Reply::Hang(Duration::from_secs(5)), good()]);
    assert_eq!(text(&result.expect("the second")), "fine");
    assert_eq!(kinds, [Kind::Fault, Kind::Answer]);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_number_that_cannot_be_is_no_answer_and_is_not_bought_again() {
    let body = r#"{"model":"m-1","choices":[{"message":{"content":"a"},"finish_reason":"stop","logprobs":{"content":
        [{"token":"a","logprob":NaN}]}}]}"#;
    let (result, kinds, asked) = against(vec![server::Reply::json(200, body)]);
    let error = result.expect_err("NaN");
    let expected = Failure::NotFinite {
        found: "NaN".into(),
    };
    assert!(
        matches!(&error, TeacherError::Unusable { failure, .. } if *failure == expected),
        "{error:?}"
    );
    assert_eq!((kinds.as_slice(), asked), (&[Kind::Fault][..], 1));
}

#[test]
fn size_is_bounded_and_ten_megabytes_are_fine() {
    let large = "x".repeat(10 << 20);
    let (result, _, _) = against(vec![server::Reply::json(200, bytes(&said(&large)))]);
    assert_eq!(text(&result.expect("10 MB")).len(), 10 << 20);
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(move |_, _: &Hit| server::Reply::json(200, bytes(&said(&large))));
    let small = Options {
        largest: 1 << 20,
        ..options()
    };
    let client = client_with(&server.url(), folder.path(), Mode::Record, small);
    let error = client.ask(&question(0)).expect_err("too large");
    let expected = Failure::TooLarge { limit: 1 << 20 };
    assert!(
        matches!(&error, TeacherError::Unusable { failure, .. } if *failure == expected),
        "{error:?}"
    );
    assert_eq!(server.hits().len(), 1);
}

#[test]
fn hostile_text_is_kept_as_it_is_and_errors_say_none_of_it_raw() {
    let hostile = "\u{1b}]0;owned\u{7}\u{202e}txt.exe<script>alert(1)</script>\u{0}";
    let (result, _, _) = against(vec![server::Reply::json(200, bytes(&said(hostile)))]);
    assert_eq!(text(&result.expect("an answer")), hostile);
    let refusal = json!({"error": {"message": hostile}});
    let (result, _, _) = against(vec![server::Reply::json(422, bytes(&refusal))]);
    let error = result.expect_err("refused").to_string();
    assert!(
        !error.contains(['\u{1b}', '\u{202e}', '\u{0}']),
        "{error:?}"
    );
}

#[test]
fn retry_after_is_honoured_by_all_who_wait() {
    let (runtime, server) = mocked();
    let folder = tempfile::tempdir().expect("a folder");
    let route = || Mock::given(method("POST")).and(path("/v1/chat/completions"));
    runtime.block_on(async {
        let busy = ResponseTemplate::new(429).insert_header("retry-after", "1");
        route()
            .respond_with(busy)
            .up_to_n_times(1)
            .mount(&server)
            .await;
        let good = ResponseTemplate::new(200).set_body_json(said("fine"));
        route().respond_with(good).mount(&server).await;
    });
    let one = Options {
        concurrency: 1,
        ..options()
    };
    let client = client_with(&server.uri(), folder.path(), Mode::Record, one);
    let began = Instant::now();
    let calls: Vec<Call> = (0..4).map(question).collect();
    assert!(client.ask_all(&calls).iter().all(Result::is_ok));
    assert!(
        began.elapsed() >= Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    let spent = client.spent();
    assert_eq!(
        (spent.requests, spent.answers, spent.output_tokens),
        (5, 4, 8)
    );
}

#[test]
fn a_rate_is_kept() {
    let (runtime, server) = mocked();
    let folder = tempfile::tempdir().expect("a folder");
    let good = ResponseTemplate::new(200).set_body_json(said("fine"));
    runtime.block_on(
        Mock::given(method("POST"))
            .respond_with(good)
            .mount(&server),
    );
    let slow = Options {
        per_minute: std::num::NonZeroU32::new(600),
        ..options()
    };
    let client = client_with(&server.uri(), folder.path(), Mode::Record, slow);
    let began = Instant::now();
    let calls: Vec<Call> = (0..6).map(question).collect();
    assert!(client.ask_all(&calls).iter().all(Result::is_ok));
    // Ten a second: the sixth is sent half a second after the first.
    assert!(
        began.elapsed() >= Duration::from_millis(480),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn a_redirect_is_not_followed_and_the_key_stays() {
    let (runtime, elsewhere) = mocked();
    let server = runtime.block_on(async {
        let server = MockServer::start().await;
        let to = format!("{}/v1/chat/completions?token=abc", elsewhere.uri());
        let moved = ResponseTemplate::new(307).insert_header("location", to.as_str());
        Mock::given(method("POST"))
            .respond_with(moved)
            .mount(&server)
            .await;
        server
    });
    let folder = tempfile::tempdir().expect("a folder");
    let client = client(&server.uri(), folder.path());
    let error = client.ask(&question(0)).expect_err("moved");
    assert!(
        matches!(error, TeacherError::Gone { status: 307, .. }),
        "{error:?}"
    );
    assert!(
        error.to_string().contains("it redirects to") && !error.to_string().contains("abc"),
        "{error}"
    );
    let received = runtime
        .block_on(elsewhere.received_requests())
        .expect("recorded");
    assert!(received.is_empty(), "{received:?}");
}

#[test]
fn what_concerns_all_questions_stops_them() {
    for (status, body, expected) in [
        (
            401,
            r#"{"error":{"message":"Incorrect API key provided"}}"#,
            "does not accept the key (from `KEY`)",
        ),
        (
            400,
            r#"{"error":{"message":"API key not valid."}}"#,
            "does not accept the key",
        ),
        (
            404,
            r#"{"error":{"message":"The model `m` does not exist","code":"model_not_found"}}"#,
            "does not serve `m`",
        ),
        (410, "{}", "does not serve `m`"),
        (
            400,
            r#"{"error":{"message":"Model Not Exist"}}"#,
            "does not serve `m`",
        ),
        (402, "{}", "wants to be paid"),
        (
            429,
            r#"{"error":{"message":"You exceeded your current quota","code":"insufficient_quota"}}"#,
            "wants to be paid",
        ),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let server = Server::start(move |_, _: &Hit| server::Reply::json(status, body));
        let one = Options {
            concurrency: 1,
            ..options()
        };
        let client = client_with(&server.url(), folder.path(), Mode::Record, one);
        let calls: Vec<Call> = (0..20).map(question).collect();
        let results = client.ask_all(&calls);
        let errors: Vec<String> = results
            .into_iter()
            .map(|r| r.expect_err("none").to_string())
            .collect();
        assert!(errors[0].contains(expected), "{status}: {}", errors[0]);
        assert!(errors.iter().all(|e| e.contains(expected)), "{errors:?}");
        assert_eq!(
            server.hits().len(),
            1,
            "{status}: the others were not asked"
        );
    }
}
