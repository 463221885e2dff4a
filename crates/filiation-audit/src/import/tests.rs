use std::io::{Cursor, Write};

use filiation_core::Message;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const SECRET: &str = "the launch code is seven";

type Failure = (String, ImportProblem);

fn read(format: LogFormat, text: &str) -> Result<EvalLog, Failure> {
    EvalLog::parse(format, text.as_bytes(), &vllm::Requests::default())
}

fn lines(all: &[Value]) -> String {
    all.iter().map(|line| format!("{line}\n")).collect()
}

fn texts(log: &EvalLog) -> Vec<&str> {
    let said = log.questions.iter().flat_map(|q| match &q.what {
        What::Texts(texts) => texts.iter().map(|t| t.text.as_str()).collect(),
        What::Options { .. } => Vec::new(),
    });
    said.collect()
}

fn generated(id: u64, prompt: Value, answers: &[&str], filter: &str) -> Value {
    json!({
        "doc_id": id, "doc": { "question": SECRET }, "target": "seven",
        "arguments": { "gen_args_0": { "arg_0": prompt,
            "arg_1": { "until": ["\n"], "do_sample": false, "max_gen_toks": 32 } } },
        "resps": [answers], "filtered_resps": [answers[0]], "filter": filter,
        "doc_hash": "x", "prompt_hash": "y", "target_hash": "z", "exact_match": 1.0
    })
}

fn chosen(context: &str, options: &[(&str, &str)], target: &str) -> Value {
    let arguments: serde_json::Map<String, Value> = options
        .iter()
        .enumerate()
        .map(|(i, (option, _))| {
            (
                format!("gen_args_{i}"),
                json!({ "arg_0": context, "arg_1": option }),
            )
        })
        .collect();
    let answers: Vec<Value> = options.iter().map(|(_, l)| json!([[l, "False"]])).collect();
    json!({ "doc_id": 9, "target": target, "arguments": arguments, "resps": answers })
}

#[test]
fn lm_eval_texts_conversations_and_filters() {
    let chat = json!(["[{\"role\": \"user\", \"content\": \"Say.\"}]"]);
    let log = read(
        LogFormat::LmEval,
        &lines(&[
            generated(0, json!("Q: one?\nA:"), &["one", "uno"], "none"),
            generated(1, chat, &["said"], "none"),
            generated(0, json!("Q: one?\nA:"), &["one", "uno"], "strict-match"),
        ]),
    )
    .expect("sound");
    assert_eq!(texts(&log), ["one", "uno", "said"]);
    assert_eq!(log.questions[0].prompt, Prompt::Text("Q: one?\nA:".into()));
    assert_eq!(log.questions[1].prompt, Prompt::user("Say."));
    assert_eq!(log.passed().get("repeated for another filter"), Some(&1));
    assert_eq!((log.temperature(), log.max_tokens()), (Some(0.0), Some(32)));
    assert_eq!((log.model(), log.day()), (None, None));
}

#[test]
fn lm_eval_options_are_choices_in_the_order_of_their_requests() {
    let many: Vec<(String, String)> = (0..12)
        .map(|i| (format!(" {i}!"), format!("-{i}.5")))
        .collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let log = read(LogFormat::LmEval, &lines(&[chosen("Pick:", &many, "11")])).expect("sound");
    let What::Options {
        options,
        logprobs,
        key,
    } = &log.questions[0].what
    else {
        panic!("{:?}", log.questions[0]);
    };
    assert_eq!(
        (options[10].as_str(), logprobs[10], *key),
        (" 10!", -10.5, Some(11))
    );
    // A target may be the text itself.
    let named = read(
        LogFormat::LmEval,
        &lines(&[chosen("C", &[(" yes", "-1"), (" no", "-2")], "no")]),
    );
    let named = named.expect("sound");
    assert!(matches!(
        named.questions[0].what,
        What::Options { key: Some(1), .. }
    ));
    // One continuation is no choice, and options of several contexts are none either.
    let rolling = chosen("C", &[(" yes", "-1")], "0");
    let mut apart = chosen("C", &[(" yes", "-1"), (" no", "-2")], "0");
    apart["arguments"]["gen_args_1"]["arg_0"] = json!("D");
    let log = read(LogFormat::LmEval, &lines(&[rolling, apart])).expect("sound");
    assert!(log.questions.is_empty());
    assert_eq!(log.passed().values().sum::<u64>(), 2);
}

fn inspect_sample(id: &str, epoch: u32, prompt: &str, answer: &str) -> Value {
    json!({
        "id": id, "epoch": epoch, "input": SECRET, "target": "7",
        "messages": [
            { "role": "user", "content": prompt },
            { "role": "assistant", "content": answer, "source": "generate" }
        ],
        "output": { "model": "t1", "choices": [ {
            "message": { "role": "assistant", "content": [
                { "type": "reasoning", "reasoning": SECRET }, { "type": "text", "text": answer } ] },
            "stop_reason": "max_tokens" } ], "completion": answer },
        "attachments": { "abc": "a long text" }, "scores": {}, "events": [
            { "event": "model", "config": { "temperature": 0.5 } }, { "event": "score" } ]
    })
}

fn inspect_header() -> Value {
    json!({ "version": 2, "status": "success",
        "eval": { "task": "t", "model": "openai/t1", "created": "2026-02-03T10:00:00+00:00",
            "model_generate_config": { "max_tokens": 64, "temperature": 1.0 } },
        "plan": { "config": {} } })
}

fn archive(method: ::zip::CompressionMethod, files: &[(&str, String)]) -> Vec<u8> {
    let mut zip = ::zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = ::zip::write::SimpleFileOptions::default().compression_method(method);
    for (name, content) in files {
        zip.start_file(*name, options).expect("a file");
        zip.write_all(content.as_bytes()).expect("its bytes");
    }
    zip.finish().expect("an archive").into_inner()
}

fn inspect_archive(method: ::zip::CompressionMethod) -> Vec<u8> {
    archive(
        method,
        &[
            ("_journal/start.json", inspect_header().to_string()),
            (
                "samples/a_epoch_2.json",
                inspect_sample("a", 2, "Say.", "two").to_string(),
            ),
            (
                "samples/a_epoch_1.json",
                inspect_sample("a", 1, "Say.", "one").to_string(),
            ),
            (
                "samples/b_epoch_1.json",
                inspect_sample("b", 1, "attachment://abc", "three").to_string(),
            ),
            (
                "samples/c_epoch_1.json",
                inspect_sample("c", 1, "attachment://lost", "four").to_string(),
            ),
            ("summaries.json", "[]".into()),
        ],
    )
}

#[test]
fn inspect_archives_of_either_compression_and_documents() {
    use ::zip::CompressionMethod::{Deflated, Stored, Zstd};
    for method in [Stored, Deflated, Zstd] {
        let bytes = inspect_archive(method);
        let log = EvalLog::parse(LogFormat::Inspect, &bytes, &vllm::Requests::default());
        let log = log.expect("sound");
        assert_eq!(texts(&log), ["one", "two", "three"], "{method}");
        assert_eq!(log.questions[2].prompt, Prompt::user("a long text"));
        assert_eq!(
            (log.model(), log.day()),
            (Some("openai/t1"), Some("2026-02-03"))
        );
        // The call itself says more than the header.
        assert_eq!((log.temperature(), log.max_tokens()), (Some(0.5), Some(64)));
        // One prompt has two texts and another one: of the two the larger.
        assert_eq!(log.samples(), 2);
        assert_eq!(log.passed().get("not text alone"), Some(&1));
    }
    let mut document = inspect_header();
    document["samples"] = json!([inspect_sample("a", 1, "Say.", "one")]);
    let log = read(LogFormat::Inspect, &document.to_string()).expect("sound");
    let What::Texts(said) = &log.questions[0].what else {
        panic!("{:?}", log.questions[0]);
    };
    assert_eq!(
        (said[0].text.as_str(), said[0].finish),
        ("one", Some(Finish::Length))
    );
}

#[test]
fn inspect_tools_images_and_failures_are_counted() {
    let mut tool = inspect_sample("a", 1, "Say.", "x");
    tool["messages"] = json!([{ "role": "user", "content": "Say." },
        { "role": "assistant", "content": "", "tool_calls": [{ "id": "1" }] },
        { "role": "tool", "content": "7" }, { "role": "assistant", "content": "x" }]);
    let mut image = inspect_sample("b", 1, "Say.", "x");
    image["messages"][0]["content"] = json!([{ "type": "image", "image": "data:" }]);
    let mut failed = inspect_sample("c", 1, "Say.", "x");
    failed["error"] = json!({ "message": SECRET });
    let mut filtered = inspect_sample("d", 1, "Say.", "x");
    filtered["output"]["choices"][0]["stop_reason"] = json!("content_filter");
    let mut document = inspect_header();
    document["samples"] = json!([tool, image, failed, filtered]);
    let log = read(LogFormat::Inspect, &document.to_string()).expect("sound");
    assert!(log.questions.is_empty());
    let passed = log.passed();
    assert_eq!(passed.get("not text alone"), Some(&2));
    assert_eq!(passed.get("failed or filtered"), Some(&2));
}

#[test]
fn vllm_batches_and_offline_outputs() {
    let requests = lines(&[
        json!({ "custom_id": "r-1", "method": "POST", "url": "/v1/chat/completions", "body": {
            "model": "t1", "messages": [{ "role": "user", "content": "Say." }],
            "temperature": 0.7, "max_completion_tokens": 16 } }),
        json!({ "custom_id": "r-2", "method": "POST", "url": "/v1/completions", "body": {
            "model": "t1", "prompt": "Once", "max_tokens": 8 } }),
    ]);
    let requests = vllm::Requests::parse(requests.as_bytes()).expect("requests");
    let results = lines(&[
        json!({ "id": "x", "custom_id": "r-1", "error": null, "response": { "status_code": 200,
            "request_id": "q", "body": { "model": "t1", "created": 1_798_675_200_u64, "choices": [
                { "index": 0, "message": { "role": "assistant", "content": "Said." },
                  "finish_reason": "stop", "logprobs": null },
                { "index": 1, "message": { "role": "assistant", "content": null },
                  "finish_reason": "content_filter" } ] } } }),
        json!({ "custom_id": "r-2", "response": { "status_code": 200, "body": { "model": "t1",
            "choices": [{ "text": " upon", "finish_reason": "length", "token_ids": [4, 5] }] } } }),
        json!({ "custom_id": "r-3", "response": { "status_code": 200, "body": { "choices": [] } } }),
        json!({ "custom_id": "r-4", "response": null, "error": { "message": SECRET } }),
        json!({ "custom_id": "r-5", "response": { "status_code": 429, "body": {} } }),
    ]);
    let log = EvalLog::parse(LogFormat::Vllm, results.as_bytes(), &requests).expect("sound");
    assert_eq!(texts(&log), ["Said.", " upon"]);
    assert_eq!(log.questions[0].decoding.temperature, Some(0.7));
    assert_eq!(log.questions[0].decoding.max_tokens, Some(16));
    let What::Texts(said) = &log.questions[1].what else {
        panic!()
    };
    assert_eq!(
        (said[0].tokens.as_slice(), said[0].finish),
        (&[4, 5][..], Some(Finish::Length))
    );
    assert_eq!((log.model(), log.day()), (Some("t1"), Some("2026-12-31")));
    let passed = log.passed();
    assert_eq!(passed.get("without its question"), Some(&1));
    assert_eq!(passed.get("failed or filtered"), Some(&3));

    let offline = lines(&[
        json!({ "request_id": "0", "prompt": "Once", "prompt_token_ids": [1],
        "prompt_logprobs": null, "outputs": [
            { "index": 0, "text": " upon", "token_ids": [4], "cumulative_logprob": -0.1,
              "logprobs": null, "finish_reason": "length", "stop_reason": null },
            { "index": 1, "text": " more", "token_ids": [6], "finish_reason": "length" } ],
        "finished": true, "sampling_params": { "temperature": 1.0, "top_p": 1.0, "max_tokens": 1, "n": 2 } }),
    ]);
    let log = read(LogFormat::Vllm, &offline).expect("sound");
    assert_eq!(texts(&log), [" upon", " more"]);
    assert_eq!(
        (log.temperature(), log.max_tokens(), log.samples()),
        (Some(1.0), Some(1), 2)
    );
    let printed = offline.replace(
        r#""sampling_params":{"#,
        r#""sampling_params":"SamplingParams(n=2)","x":{"#,
    );
    assert_eq!(
        read(LogFormat::Vllm, &printed)
            .expect("sound")
            .temperature(),
        None
    );
}

#[test]
fn what_is_malformed_is_named_by_place_and_never_quoted() {
    let good = generated(0, json!("Q"), &["a"], "none").to_string();
    let spoilt = |edit: &dyn Fn(&mut Value)| {
        let mut line = generated(1, json!("Q"), &["a"], "none");
        edit(&mut line);
        line.to_string()
    };
    let nan = chosen("C", &[(" yes", SECRET), (" no", "-2")], "0");
    for (second, wanted) in [
        ("{".to_owned(), "broken JSON at 1:1"),
        (format!("[\"{SECRET}\"]"), "another shape"),
        (format!("{{\"{SECRET}\":1}}"), "another shape"),
        (
            spoilt(&|l| l["resps"] = json!([])),
            "1 options and 0 log-probabilities",
        ),
        (spoilt(&|l| l["resps"] = json!([[]])), "lists of texts"),
        (spoilt(&|l| l["resps"] = json!([[7]])), "lists of texts"),
        (
            spoilt(&|l| l["arguments"]["gen_args_0"]["arg_1"]["temperature"] = json!(SECRET)),
            "`temperature` is no number",
        ),
        (
            spoilt(&|l| l["arguments"]["gen_args_0"]["arg_1"]["max_gen_toks"] = json!(-1)),
            "`max_gen_toks` is no number",
        ),
        (nan.to_string(), "`resps` is no number"),
        (
            chosen("C", &[(" y", "-1"), (" n", "inf")], "0").to_string(),
            "`log-probability`",
        ),
        (
            chosen("C", &[(" y", "-1"), (" n", "0.5")], "0").to_string(),
            "`log-probability`",
        ),
    ] {
        let (place, problem) =
            read(LogFormat::LmEval, &format!("{good}\n{second}\n")).expect_err(wanted);
        let said = problem.to_string();
        assert_eq!(place, "line 2", "{said}");
        assert!(said.contains(wanted), "{wanted}: {said}");
        assert!(
            !format!("{said} {problem:?}").contains("launch code"),
            "{said}"
        );
    }
    let (_, empty) = read(LogFormat::LmEval, " \n\n").expect_err("nothing");
    assert_eq!(empty, ImportProblem::Empty);
    let two = lines(&[
        json!({ "prompt": "a", "model": "t1", "outputs": [{ "text": "b" }] }),
        json!({ "prompt": "a", "model": "t2", "outputs": [{ "text": "b" }] }),
    ]);
    assert_eq!(
        read(LogFormat::Vllm, &two),
        Err(("line 2".into(), ImportProblem::OtherModel))
    );
    let again = lines(&[
        json!({ "custom_id": "a", "body": {} }),
        json!({ "custom_id": "a", "body": {} }),
    ]);
    assert!(matches!(
        vllm::Requests::parse(again.as_bytes()).err(),
        Some((place, ImportProblem::DuplicateId)) if place == "line 2"
    ));
    let headless = archive(
        ::zip::CompressionMethod::Stored,
        &[("samples/a.json", "{}".into())],
    );
    let headless = EvalLog::parse(LogFormat::Inspect, &headless, &vllm::Requests::default());
    assert_eq!(
        headless,
        Err(("the archive".into(), ImportProblem::NoFile("header.json")))
    );
    // Names are only compared: one that leaves the archive is no sample.
    let outside = archive(
        ::zip::CompressionMethod::Stored,
        &[
            ("header.json", inspect_header().to_string()),
            ("../samples/a.json", "{".into()),
        ],
    );
    let outside = EvalLog::parse(LogFormat::Inspect, &outside, &vllm::Requests::default());
    assert_eq!(outside, Err(("line 1".into(), ImportProblem::Empty)));
}

#[test]
fn a_suite_of_the_log_and_its_served_responses_read_back() {
    let chat = json!(["[{\"role\": \"user\", \"content\": \"Say.\"}]"]);
    let two = json!([
        "[{\"role\": \"system\", \"content\": \"Be.\"}, {\"role\": \"user\", \"content\": \"Say.\"}]"
    ]);
    let log = read(
        LogFormat::LmEval,
        &lines(&[
            generated(0, json!("Once"), &[" upon", " more"], "none"),
            generated(1, chat, &["said"], "none"),
            generated(2, two, &["been"], "none"),
            chosen("Pick:", &[(" yes", "-1"), (" no", "-2")], "0"),
            chosen("Pick again:", &[(" yes", "-1"), (" yes!", "-2")], "0"),
            chosen("And again:", &[(" yes", "-1"), (" no", "-2")], "perhaps"),
        ]),
    )
    .expect("sound");
    let made = log.suite("en", "CC0-1.0");
    let suite = filiation_probes::Suite::parse("new", &made.bytes).expect("a suite");
    let domains: Vec<&str> = suite.items().iter().map(|i| i.domain.as_str()).collect();
    assert_eq!(domains, ["opening", "chat", "question-opening"]);
    assert_eq!((made.items, made.left_out.values().sum::<u64>()), (3, 3));
    let (bytes, count) = log.served(Some("acme/t1 v2"));
    let served = filiation_probes::ServedLog::parse("t1", 9, "served", &bytes).expect("a log");
    assert_eq!((count, served.pairs.len()), (4, 4));
    assert_eq!(
        served.pairs[3].prompt,
        Prompt::Chat(vec![
            Message {
                role: "system".into(),
                content: "Be.".into()
            },
            Message {
                role: "user".into(),
                content: "Say.".into()
            },
        ])
    );
}

fn any_log() -> impl Strategy<Value = (LogFormat, String)> {
    let format = prop_oneof![
        Just(LogFormat::LmEval),
        Just(LogFormat::Inspect),
        Just(LogFormat::Vllm)
    ];
    let good = |format: LogFormat| match format {
        LogFormat::LmEval => lines(&[
            generated(0, json!("Q"), &["a"], "none"),
            chosen("Pick:", &[(" yes", "-1"), (" no", "-2")], "0"),
        ]),
        LogFormat::Inspect => {
            let mut document = inspect_header();
            document["samples"] = json!([inspect_sample("a", 1, "Say.", "one")]);
            document.to_string()
        }
        LogFormat::Vllm => lines(&[json!({ "prompt": "a", "outputs": [{ "text": "b",
            "finish_reason": "stop", "token_ids": [1] }], "sampling_params": { "max_tokens": 4 } })]),
    };
    format.prop_map(move |format| (format, good(format)))
}

// Puts another value in the place of one that a JSON text holds.
fn replaced(text: &str, at: usize, with: &str) -> String {
    let marks: Vec<usize> = text.match_indices(':').map(|(i, _)| i + 1).collect();
    let start = marks[at % marks.len()];
    let length = text[start..].find([',', '}', ']']).unwrap_or(0);
    format!("{}{with}{}", &text[..start], &text[start + length..])
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        for format in [LogFormat::LmEval, LogFormat::Inspect, LogFormat::Vllm] {
            let _ = EvalLog::parse(format, &bytes, &vllm::Requests::default());
        }
        let _ = vllm::Requests::parse(&bytes);
    }

    #[test]
    fn a_log_with_another_value_somewhere_is_read_or_refused(
        (format, text) in any_log(),
        at in any::<usize>(),
        with in prop_oneof![
            Just("null".to_owned()), Just("-1".to_owned()), Just("1e999".to_owned()),
            Just("[]".to_owned()), Just("{}".to_owned()), Just("[[[]]]".to_owned()),
            Just("\"\\u0000\\u202e\"".to_owned()), Just("18446744073709551616".to_owned()),
        ],
    ) {
        if let Ok(log) = read(format, &replaced(&text, at, &with)) {
            let made = log.suite("en", "CC0-1.0");
            if made.items > 0 {
                prop_assert!(filiation_probes::Suite::parse("new", &made.bytes).is_ok());
            }
            let (bytes, count) = log.served(Some("t1"));
            if count > 0 {
                let served = filiation_probes::ServedLog::parse("t1", 9, "served", &bytes);
                prop_assert!(served.is_ok(), "{:?}", served);
            }
        }
    }

    #[test]
    fn an_archive_with_other_bytes_is_read_or_refused(
        at in any::<proptest::sample::Index>(), byte in any::<u8>(), cut in any::<proptest::sample::Index>(),
    ) {
        let mut bytes = inspect_archive(::zip::CompressionMethod::Zstd);
        let i = at.index(bytes.len());
        bytes[i] = byte;
        let _ = EvalLog::parse(LogFormat::Inspect, &bytes, &vllm::Requests::default());
        bytes.truncate(cut.index(bytes.len()));
        let read = EvalLog::parse(LogFormat::Inspect, &bytes, &vllm::Requests::default());
        prop_assert!(read.is_err());
    }

    #[test]
    fn texts_come_back_as_they_were(
        prompts in proptest::collection::vec("[^\\[]\\PC{0,40}", 1..6),
        answer in "\\PC{0,80}",
    ) {
        let all: Vec<Value> = prompts
            .iter()
            .enumerate()
            .map(|(i, p)| generated(i as u64, json!(p), &[&answer], "none"))
            .collect();
        let log = read(LogFormat::LmEval, &lines(&all)).expect("sound");
        prop_assert_eq!(log.questions.len(), prompts.len());
        for (question, prompt) in log.questions.iter().zip(&prompts) {
            prop_assert_eq!(&question.prompt, &Prompt::Text(prompt.clone()));
        }
        prop_assert!(texts(&log).iter().all(|t| *t == answer));
    }
}
