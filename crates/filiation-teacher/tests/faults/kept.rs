//! What is kept of what went well, and what never is.

use filiation_core::{Answer, Model, ModelError, Prompt, Request, RequestId, Role, Sampling, Want};
use filiation_teacher::{
    ApiModel, Budget, Call, Complete, Kind, Mode, Options, Price, Secret, Store, TeacherError,
};
use serde_json::json;
use wiremock::matchers::{header, method};
use wiremock::{Mock, ResponseTemplate};

use crate::server::{self, Hit, Server};
use crate::{
    CANARY, bytes, client, client_with, good, holds, kinds, mocked, options, question, said, text,
};

#[test]
fn a_refused_question_is_an_answer_of_its_own_and_is_not_asked_twice() {
    let server = Server::start(|_, hit: &Hit| {
        if String::from_utf8_lossy(&hit.body).contains("question 1") {
            return server::Reply::json(400, r#"{"error":{"message":"blocked"}}"#);
        }
        good()
    });
    let folder = tempfile::tempdir().expect("a folder");
    let calls: Vec<Call> = (0..3).map(question).collect();
    for _ in 0..2 {
        let results = client(&server.url(), folder.path()).ask_all(&calls);
        let refused = results[1].as_ref().expect_err("blocked").to_string();
        assert_eq!(refused, "refused with status 400: blocked");
        assert!(results[0].is_ok() && results[2].is_ok());
    }
    assert_eq!(server.hits().len(), 3);
}

#[test]
fn another_model_under_the_same_name_stops_the_work_and_is_no_answer() {
    let server = Server::start(|n, _: &Hit| {
        let mut reply = said("fine");
        reply["model"] = if n < 2 { "m-1".into() } else { "m-2".into() };
        server::Reply::json(200, bytes(&reply))
    });
    let folder = tempfile::tempdir().expect("a folder");
    let one = Options {
        concurrency: 1,
        ..options()
    };
    let calls: Vec<Call> = (0..6).map(question).collect();
    {
        let client = client_with(&server.url(), folder.path(), Mode::Record, one.clone());
        let results = client.ask_all(&calls);
        assert!(results[0].is_ok() && results[1].is_ok());
        let error = results[2].as_ref().expect_err("switched");
        assert!(matches!(error, TeacherError::Switched { .. }), "{error:?}");
        assert_eq!(kinds(&client), [Kind::Answer, Kind::Answer, Kind::Fault]);
    }
    // The next process knows who answered first.
    let client = client_with(&server.url(), folder.path(), Mode::Record, one.clone());
    let error = client
        .ask(&question(2))
        .expect_err("still another")
        .to_string();
    assert_eq!(error, "`m` was answered by `m-2`, before that by `m-1`");
    drop(client);
    let later = Options {
        epoch: "later".into(),
        ..one
    };
    let client = client_with(&server.url(), folder.path(), Mode::Record, later);
    assert!(
        client.ask_all(&calls).iter().all(Result::is_ok),
        "another epoch is another teacher"
    );
}

#[test]
fn replaying_gives_the_same_bytes_and_opens_no_socket() {
    let server =
        Server::start(|n, _: &Hit| server::Reply::json(200, bytes(&said(&format!("answer {n}")))));
    let folder = tempfile::tempdir().expect("a folder");
    let calls: Vec<Call> = (0..20).map(question).collect();
    let recorded = client(&server.url(), folder.path()).ask_all(&calls);
    let url = server.url();
    drop(server);
    for mode in [Mode::Replay, Mode::Offline] {
        let client = client_with(&url, folder.path(), mode, options());
        for (then, now) in recorded.iter().zip(client.ask_all(&calls)) {
            let (then, now) = (then.as_ref().expect("recorded"), now.expect("replayed"));
            assert_eq!(
                (&then.response, &then.exchange),
                (&now.response, &now.exchange)
            );
            assert!(now.replayed && !then.replayed);
        }
        let missing = client.ask(&question(99)).expect_err("never asked");
        match mode {
            Mode::Offline => assert!(missing.is_data(), "{missing:?}"),
            _ => assert!(
                matches!(missing, TeacherError::NotStored { .. }),
                "{missing:?}"
            ),
        }
    }
}

#[test]
fn samples_of_one_prompt_are_draws_of_their_own() {
    let server = Server::start(|n, _: &Hit| server::Reply::json(200, bytes(&said(&n.to_string()))));
    let folder = tempfile::tempdir().expect("a folder");
    let sample = |sample| -> Call {
        let Call::Complete(first) = question(0) else {
            panic!("a completion")
        };
        Complete { sample, ..first }.into()
    };
    let calls = [sample(0), sample(1), sample(0), sample(2)];
    let client = client(&server.url(), folder.path());
    let results: Vec<_> = client
        .ask_all(&calls)
        .into_iter()
        .map(|r| r.expect("said"))
        .collect();
    assert_eq!(server.hits().len(), 3, "the same question is asked once");
    let plain = |hit: &Hit| hit.headers["accept-encoding"] == "identity";
    assert!(
        server.hits().iter().all(plain),
        "what is kept is what was sent"
    );
    assert_eq!(results[0], results[2]);
    assert_ne!(text(&results[0]), text(&results[1]));
    let requests: Vec<_> = results.iter().map(|r| r.exchange.request).collect();
    assert!(
        requests.iter().all(|r| *r == requests[0]),
        "the same bytes went out"
    );
}

#[test]
fn the_budget_holds_and_what_was_bought_is_kept() {
    let server = Server::start(|_, _: &Hit| good());
    let folder = tempfile::tempdir().expect("a folder");
    let calls: Vec<Call> = (0..10).map(question).collect();
    let limited = |budget| Options {
        budget,
        price: Some(Price {
            input: 0.0,
            output: 1e6,
        }),
        ..options()
    };
    let requests = limited(Budget {
        requests: Some(3),
        ..Budget::default()
    });
    let results = client_with(&server.url(), folder.path(), Mode::Record, requests).ask_all(&calls);
    let bought = results.iter().filter(|r| r.is_ok()).count();
    assert_eq!((bought, server.hits().len()), (3, 3));
    // Each costs 2 and may cost 8.
    let money = limited(Budget {
        cost: Some(13.0),
        ..Budget::default()
    });
    let one = Options {
        concurrency: 1,
        ..money
    };
    let client = client_with(&server.url(), folder.path(), Mode::Record, one);
    let results = client.ask_all(&calls);
    let error = results
        .iter()
        .find_map(|r| r.as_ref().err())
        .expect("stopped")
        .to_string();
    assert!(error.starts_with("the budget of 13 is spent: 6"), "{error}");
    let spent = client.spent();
    assert_eq!(
        (spent.replayed, spent.answers, server.hits().len()),
        (3, 3, 6)
    );
}

#[test]
fn the_key_is_sent_and_stands_nowhere_else() {
    let (runtime, server) = mocked();
    let folder = tempfile::tempdir().expect("a folder");
    runtime.block_on(async {
        // An endpoint that says the key back, in body and header.
        let mut echo = said(&format!("your key is {CANARY}"));
        echo["system_fingerprint"] = CANARY.into();
        let echo = ResponseTemplate::new(200)
            .set_body_json(echo)
            .insert_header("x-request-id", CANARY)
            .insert_header("set-cookie", CANARY);
        let bearer = header("authorization", format!("Bearer {CANARY}").as_str());
        Mock::given(bearer)
            .respond_with(echo)
            .up_to_n_times(1)
            .mount(&server)
            .await;
        let denied = json!({"error": {"message": format!("Incorrect API key provided: {CANARY}")}});
        let denied = ResponseTemplate::new(401).set_body_json(denied);
        Mock::given(method("POST"))
            .respond_with(denied)
            .mount(&server)
            .await;
    });
    let client = client(&server.uri(), folder.path());
    let seen = client.ask(&question(0)).expect("an answer");
    assert_eq!(text(&seen), "your key is [redacted]");
    assert!(seen.exchange.redacted);
    let error = client.ask(&question(1)).expect_err("denied");
    let shown = format!(
        "{error} {error:?} {:?} {seen:?}",
        Secret::new("KEY", CANARY).expect("a key")
    );
    assert!(!shown.contains(CANARY), "{shown}");
    drop(client);
    let store = Store::read(folder.path()).expect("opens");
    for exchange in store.exchanges(None).expect("reads") {
        for digest in [Some(exchange.request), exchange.response]
            .into_iter()
            .flatten()
        {
            assert!(
                !holds(&store.bytes(&digest).expect("reads")),
                "an object holds the key"
            );
        }
        assert!(!holds(&exchange.record()));
    }
    let mut files = 0;
    let mut folders = vec![folder.path().to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).expect("lists") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files += 1;
                assert!(
                    !holds(&std::fs::read(&path).expect("reads")),
                    "{}",
                    path.display()
                );
            }
        }
    }
    assert!(files >= 6, "{files} files looked at");
}

#[test]
fn as_a_model_it_keeps_data_apart_from_what_may_pass() {
    let server = Server::start(|_, hit: &Hit| {
        let body = String::from_utf8_lossy(&hit.body).into_owned();
        if body.contains("question 1") {
            return server::Reply::json(400, r#"{"error":{"message":"blocked"}}"#);
        }
        if body.contains("question 2") {
            return server::Reply::json(
                200,
                r#"{"choices":[{"message":{"content":"x"},"finish_reason":"content_filter"}]}"#,
            );
        }
        if body.contains("question 3") {
            return server::Reply::json(503, "{}");
        }
        good()
    });
    let folder = tempfile::tempdir().expect("a folder");
    let one = Options {
        concurrency: 1,
        ..options()
    };
    let model = ApiModel::new(client_with(&server.url(), folder.path(), Mode::Record, one));
    let request = |n: u64| Request {
        id: RequestId::new(format!("r/{n}")),
        to: vec![Role::Teacher],
        want: Want::Generate {
            prompt: Prompt::user(format!("question {n}")),
            max_tokens: 8,
            sampling: Sampling {
                temperature: 1.0,
                top_p: 1.0,
                seed: n,
            },
        },
    };
    let answers = model.answer(&(0..5).map(request).collect::<Vec<_>>());
    assert!(
        matches!(&answers[0], Ok(Answer::Completion(c)) if c.text == "fine" && c.tokens.is_empty())
    );
    assert!(
        matches!(&answers[1], Err(ModelError::Refused { reason }) if reason.contains("blocked"))
    );
    assert!(
        matches!(&answers[2], Err(ModelError::Refused { reason }) if reason.contains("content_filter"))
    );
    assert!(
        matches!(&answers[3], Err(ModelError::Unavailable { reason }) if reason.contains("503"))
    );
    assert!(
        matches!(&answers[4], Err(ModelError::Unavailable { .. })),
        "nothing more is asked: {:?}",
        answers[4]
    );
    let score = Want::Score {
        prompt: Prompt::user("a"),
        continuation: "b".into(),
    };
    assert!(!model.supports(&score), "a chat endpoint scores nothing");
}
