use std::sync::Arc;

use filiation_checkpoint::Limits;
use filiation_core::{
    Answer, Finish, Mark, Marking, Message, Model, ModelError, Prompt, Request, RequestId,
    Sampling, ScoredText, Want,
};
use proptest::prelude::*;

use crate::testing::{EOS, LAYERS, POSITIONS, Tiny, WIDTH, pieces};
use crate::{DeviceChoice, LocalModel};

fn request(want: Want) -> Request {
    Request {
        id: RequestId::new("test"),
        to: vec![],
        want,
    }
}

fn ask(model: &LocalModel, want: Want) -> Result<Answer, ModelError> {
    model
        .answer(&[request(want)])
        .pop()
        .expect("one answer a request")
}

fn text(text: &str) -> Prompt {
    Prompt::Text(text.into())
}

fn score(model: &LocalModel, prompt: Prompt, continuation: &str) -> ScoredText {
    let continuation = continuation.into();
    match ask(
        model,
        Want::Score {
            prompt,
            continuation,
        },
    ) {
        Ok(Answer::Scored(scored)) => scored,
        other => panic!("score answered by {other:?}"),
    }
}

fn top_k(model: &LocalModel, prompt: Prompt, k: u32) -> filiation_core::TopK {
    match ask(model, Want::TopK { prompt, k }) {
        Ok(Answer::TopK(top)) => top,
        other => panic!("top-k answered by {other:?}"),
    }
}

fn generate(
    model: &LocalModel,
    prompt: Prompt,
    max_tokens: u32,
    sampling: Sampling,
) -> filiation_core::Completion {
    match ask(
        model,
        Want::Generate {
            prompt,
            max_tokens,
            sampling,
        },
    ) {
        Ok(Answer::Completion(completion)) => completion,
        other => panic!("generate answered by {other:?}"),
    }
}

fn sampled(seed: u64) -> Sampling {
    Sampling {
        temperature: 1.0,
        top_p: 0.9,
        seed,
    }
}

/// Prompts, of which many begin alike or are the same.
fn prompts() -> impl Strategy<Value = Prompt> {
    let shared = (0_usize..30, "[a-z]{0,2}").prop_map(|(length, end)| {
        let all = "one prompt that many begin with";
        format!("{}{end}", &all[..length])
    });
    let content = prop_oneof!["[a-zé ]{0,20}", shared];
    (content, any::<bool>()).prop_map(|(content, chat)| {
        if chat {
            Prompt::user(content)
        } else {
            Prompt::Text(content)
        }
    })
}

fn wants() -> impl Strategy<Value = Want> {
    prop_oneof![
        (prompts(), "[a-z thé]{0,20}").prop_map(|(prompt, continuation)| Want::Score {
            prompt,
            continuation
        }),
        (prompts(), 0_u32..9).prop_map(|(prompt, k)| Want::TopK { prompt, k }),
        (prompts(), "[a-z thé]{0,20}", 0_u32..9).prop_map(|(prompt, continuation, k)| Want::Read {
            prompt,
            continuation,
            k
        }),
        prompts().prop_map(|prompt| Want::Choice {
            prompt,
            options: vec![" the".into(), "x".into(), "yz".into(), "Né".into()],
        }),
        ("[a-z ]{1,20}", 0_u32..=2).prop_map(|(text, layer)| Want::Hidden {
            text,
            layers: vec![layer, 1]
        }),
        (prompts(), 0_u32..12, any::<u64>(), any::<bool>()).prop_map(
            |(prompt, max_tokens, seed, greedy)| Want::Generate {
                prompt,
                max_tokens,
                sampling: if greedy {
                    Sampling::GREEDY
                } else {
                    sampled(seed)
                },
            }
        ),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_batch_answers_as_its_requests_do_alone(wants in prop::collection::vec(wants(), 1..24)) {
        let (_folder, model) = Tiny::default().open();
        let requests: Vec<Request> = wants.into_iter().map(request).collect();
        let together = model.answer(&requests);
        prop_assert_eq!(together.len(), requests.len());
        for (request, batched) in requests.iter().zip(together) {
            let alone = model.answer(std::slice::from_ref(request)).pop().expect("one answer");
            prop_assert_eq!(alone, batched);
        }
    }
}

#[test]
fn scored_bytes_are_those_of_the_continuation() {
    let (_folder, model) = Tiny::default().open();
    let continuation = " the théme";
    let scored = score(&model, text("on"), continuation);
    assert_eq!(scored.bytes as usize, continuation.len());
    let mut end = 0;
    for token in &scored.tokens {
        assert_eq!(token.start, end);
        end = token.end;
    }
    assert!(scored.tokens.iter().all(|t| t.logprob < 0.0));
    assert_eq!(
        scored.tokens[0].id,
        pieces().len() as u32 - 1,
        "` the` is one token"
    );
}

#[test]
fn a_token_across_the_boundary_belongs_to_the_prompt() {
    let (_folder, model) = Tiny::default().open();
    // `the` is one token: its last two letters are not scored.
    let scored = score(&model, text("x t"), "he end");
    assert_eq!((scored.tokens[0].start, scored.bytes), (2, 4));
}

#[test]
fn a_first_token_with_nothing_before_it_is_not_scored() {
    let tiny = Tiny {
        bos: false,
        ..Tiny::default()
    };
    let (_folder, model) = tiny.open();
    let scored = score(&model, text(""), "abc");
    assert_eq!((scored.tokens.len(), scored.bytes), (2, 2));
    let (_folder, model) = Tiny::default().open();
    assert_eq!(score(&model, text(""), "abc").tokens.len(), 3);
    assert_eq!(score(&model, text("abc"), "").per_byte(), None);
}

#[test]
fn probabilities_sum_to_one_and_agree_between_requests() {
    let (_folder, model) = Tiny::default().open();
    let top = top_k(&model, text("on "), pieces().len() as u32);
    let total: f64 = top.tokens.iter().map(|t| t.logprob.exp()).sum();
    assert!((total - 1.0).abs() < 1e-9, "{total}");
    assert!(top.tokens.is_sorted_by(|a, b| a.logprob >= b.logprob));

    let options = vec!["x".to_owned(), "yz".into(), "é".into()];
    let answer = ask(
        &model,
        Want::Choice {
            prompt: text("on "),
            options: options.clone(),
        },
    );
    let Ok(Answer::Choice(choice)) = answer else {
        panic!("choice answered by {answer:?}");
    };
    for (option, logprob) in options.iter().zip(choice.logprobs) {
        let expected = score(&model, text("on "), option).total();
        assert!(
            (logprob - expected).abs() < 1e-5,
            "`{option}`: {logprob} and {expected}"
        );
    }
}

#[test]
fn a_text_that_is_read_has_at_each_place_what_is_likely_there() {
    let (_folder, model) = Tiny::default().open();
    let read = |continuation: &str, k| {
        let (prompt, continuation) = (text("on"), continuation.to_owned());
        let want = Want::Read {
            prompt,
            continuation,
            k,
        };
        match ask(&model, want) {
            Ok(Answer::Read(read)) => read,
            other => panic!("read answered by {other:?}"),
        }
    };
    let continuation = " one prompt";
    let own = score(&model, text("on"), continuation);
    let found = read(continuation, 10_000);
    assert_eq!(found.tokens.len(), own.tokens.len());
    for (place, token) in found.tokens.iter().zip(&own.tokens) {
        assert_eq!(place.start, token.start);
        let (_, logprob) = place
            .likely
            .iter()
            .find(|(id, _)| *id == token.id)
            .expect("the whole vocabulary");
        assert!((logprob - token.logprob).abs() < 1e-5);
        let total: f64 = place.likely.iter().map(|(_, p)| p.exp()).sum();
        assert!((total - 1.0).abs() < 1e-3, "{total}");
        assert!(place.likely.is_sorted_by(|a, b| a.1 >= b.1));
    }
    let first = &read(continuation, 3).tokens[0];
    let top = top_k(&model, text("on"), 3);
    let ids = |likely: &[(u32, f64)]| likely.iter().map(|(id, _)| *id).collect::<Vec<_>>();
    let wanted: Vec<u32> = top.tokens.iter().map(|t| t.id).collect();
    assert_eq!(ids(&first.likely), wanted);
    assert!(top.tokens.iter().all(|t| found.texts[&t.id] == t.text));
    assert!(read("", 3).tokens.is_empty());
}

/// Takes each answer's tokens from its prompt and its seed.
struct Told;

struct Telling {
    next: u32,
}

impl Mark for Told {
    fn begin(&self, prompt: &[u32], seed: u64) -> Box<dyn Marking> {
        let next = prompt.len() as u32 + seed as u32;
        Box::new(Telling { next })
    }
}

impl Marking for Telling {
    fn shift(&mut self, logits: &mut [f32]) {
        // The end is never drawn.
        logits[EOS as usize] = f32::MIN;
    }

    fn weigh(&mut self, weights: &mut [f64]) -> Option<u32> {
        assert!(weights[EOS as usize] == 0.0 && weights.iter().sum::<f64>() > 0.0);
        Some(3 + self.next % 5)
    }

    fn took(&mut self, token: u32) {
        assert_eq!(token, 3 + self.next % 5);
        self.next += 1;
    }
}

#[test]
fn a_marked_model_writes_what_its_mark_takes_and_scores_as_before() {
    let (_folder, plain) = Tiny::default().open();
    let before = score(&plain, text("on"), " one prompt");
    let model = plain.marked(Arc::new(Told));
    let drawn = generate(&model, text("on"), 7, sampled(4)).tokens;
    let first = 3 + 4;
    let wanted: Vec<u32> = (0..7).map(|i| 3 + (first + i) % 5).collect();
    assert_eq!(drawn, wanted);
    assert_eq!(score(&model, text("on"), " one prompt"), before);
}

#[test]
fn greedy_takes_the_most_likely_token_at_each_step() {
    let (_folder, model) = Tiny {
        eos: vec![],
        ..Tiny::default()
    }
    .open();
    let completion = generate(&model, text("on"), 12, Sampling::GREEDY);
    assert_eq!(
        (completion.tokens.len(), completion.finish),
        (12, Finish::Length)
    );
    let first = top_k(&model, text("on"), 1).tokens[0].id;
    assert_eq!(completion.tokens[0], first);
    let ids: Vec<u32> = [&[0, id('o'), id('n')], &completion.tokens[..]].concat();
    for end in 3..ids.len() {
        let row = &ids[..end];
        let best = model
            .decoder()
            .hidden(&[row], None, &[])
            .and_then(|hidden| {
                let last = crate::rows::pick(&hidden.states, &[row.len() as u32 - 1])?;
                Ok(model.decoder().logits(&last)?.to_vec2::<f32>()?)
            });
        let logits = best.expect("the row fits");
        assert_eq!(
            crate::sample::argmax(&logits[0]),
            Some(ids[end]),
            "step {end}"
        );
    }
}

fn id(letter: char) -> u32 {
    let at = pieces().iter().position(|p| *p == letter.to_string());
    at.expect("every letter has a token") as u32
}

#[test]
fn a_text_ends_at_any_end_token_and_at_the_last_position() {
    let (_folder, model) = Tiny {
        eos: vec![],
        ..Tiny::default()
    }
    .open();
    let free = generate(&model, text("on"), 8, Sampling::GREEDY);
    let stop = free.tokens[3];
    let before = free
        .tokens
        .iter()
        .position(|&t| t == stop)
        .expect("it was drawn");
    let (_folder, model) = Tiny {
        eos: vec![EOS, stop],
        ..Tiny::default()
    }
    .open();
    let ended = generate(&model, text("on"), 8, Sampling::GREEDY);
    assert_eq!(
        (&ended.tokens[..], ended.finish),
        (&free.tokens[..before], Finish::Stop)
    );

    let (_folder, model) = Tiny {
        eos: vec![],
        ..Tiny::default()
    }
    .open();
    let full = generate(&model, text("on"), 1000, Sampling::GREEDY);
    assert_eq!(
        (full.tokens.len(), full.finish),
        (POSITIONS + 1 - 3, Finish::Length)
    );
}

#[test]
fn the_seed_decides_the_draw() {
    let (_folder, model) = Tiny::default().open();
    let draw = |seed| generate(&model, text("on"), 20, sampled(seed)).tokens;
    assert_eq!(draw(5), draw(5));
    assert_ne!(draw(5), draw(6));
}

#[test]
fn a_draw_depends_on_prompt_and_seed_alone() {
    let (_folder, model) = Tiny::default().open();
    // More than are drawn at a time, of few prompts, so that rows end and begin at every step.
    let wants = (0..150_u32).map(|i| Want::Generate {
        prompt: text(["on", "one prompt", "one prompt that goes on"][i as usize % 3]),
        max_tokens: i * 7 % 13,
        sampling: Sampling {
            top_p: [0.5, 0.9, 1.0][i as usize / 3 % 3],
            temperature: [0.0, 0.7, 1.0][i as usize / 9 % 3],
            seed: u64::from(i % 50),
        },
    });
    let requests: Vec<Request> = wants.map(request).collect();
    let alone: Vec<_> = requests
        .iter()
        .flat_map(|request| model.answer(std::slice::from_ref(request)))
        .collect();
    for (threads, size) in [(1, 150), (2, 150), (5, 150), (2, 70), (3, 7)] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let batched: Vec<_> = pool.expect("a pool").install(|| {
            let batches = requests.chunks(size);
            batches.flat_map(|batch| model.answer(batch)).collect()
        });
        assert!(alone == batched, "{threads} threads, {size} requests");
    }
}

#[test]
fn hidden_states_are_those_of_the_last_token() {
    let (_folder, model) = Tiny::default().open();
    let want = Want::Hidden {
        text: "on".into(),
        layers: vec![LAYERS as u32, 0],
    };
    assert!(model.supports(&want));
    let Ok(Answer::Hidden(hidden)) = ask(&model, want) else {
        panic!("hidden states were refused");
    };
    assert_eq!(hidden.layers.len(), 2);
    let (_, embedding) = &Tiny::default().weights()["model.embed_tokens.weight"];
    let row = id('n') as usize * WIDTH;
    assert_eq!(hidden.layers[1], embedding[row..row + WIDTH]);
    let beyond = Want::Hidden {
        text: "on".into(),
        layers: vec![LAYERS as u32 + 1],
    };
    assert!(!model.supports(&beyond));
    assert!(matches!(
        ask(&model, beyond),
        Err(ModelError::Engine { .. })
    ));
}

#[test]
fn a_missing_template_fails_chats_alone() {
    let (_folder, model) = Tiny {
        template: false,
        ..Tiny::default()
    }
    .open();
    let chat = |prompt| Want::TopK { prompt, k: 1 };
    assert!(!model.supports(&chat(Prompt::user("on"))));
    let answers = model.answer(&[request(chat(Prompt::user("on"))), request(chat(text("on")))]);
    assert!(matches!(answers[0], Err(ModelError::Template { .. })));
    assert!(answers[1].is_ok());
}

#[test]
fn the_template_is_rendered_with_the_generation_prompt() {
    let (_folder, model) = Tiny {
        bos: false,
        ..Tiny::default()
    }
    .open();
    let turns = vec![Message {
        role: "user".into(),
        content: "on".into(),
    }];
    let rendered = text("<|user|>on<eos><|assistant|>");
    assert_eq!(
        score(&model, Prompt::Chat(turns), " the"),
        score(&model, rendered, " the")
    );
}

#[test]
fn nan_weights_are_refused() {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let tiny = Tiny {
        nan: Some("model.norm.weight"),
        ..Tiny::default()
    };
    tiny.write(folder.path());
    let opened = LocalModel::open(folder.path(), DeviceChoice::Cpu, &Limits::default());
    let refusal = opened.expect_err("a weight is NaN").to_string();
    assert!(refusal.contains("model.norm.weight"), "{refusal}");
}

#[test]
fn states_that_are_not_finite_are_told_with_the_position() {
    let tiny = Tiny {
        huge: Some("model.norm.weight"),
        ..Tiny::default()
    };
    let (_folder, model) = tiny.open();
    let scored = ask(
        &model,
        Want::Score {
            prompt: text("on"),
            continuation: "x".into(),
        },
    );
    assert_eq!(scored, Err(ModelError::NotFinite { position: 3 }));
    let top = ask(
        &model,
        Want::TopK {
            prompt: text("on"),
            k: 3,
        },
    );
    assert_eq!(top, Err(ModelError::NotFinite { position: 3 }));
    let generated = ask(
        &model,
        Want::Generate {
            prompt: text("on"),
            max_tokens: 3,
            sampling: Sampling::GREEDY,
        },
    );
    assert_eq!(generated, Err(ModelError::NotFinite { position: 3 }));
    let hidden = ask(
        &model,
        Want::Hidden {
            text: "on".into(),
            layers: vec![LAYERS as u32],
        },
    );
    assert_eq!(hidden, Err(ModelError::NotFinite { position: 2 }));
}

#[test]
fn an_id_beyond_the_embedding_is_an_error_of_its_text_alone() {
    let (_folder, model) = Tiny {
        stray: Some("<image>"),
        ..Tiny::default()
    }
    .open();
    let want = |t| {
        request(Want::TopK {
            prompt: text(t),
            k: 1,
        })
    };
    let answers = model.answer(&[want("an <image>"), want("an")]);
    assert!(
        matches!(answers[0], Err(ModelError::Tokenizer { .. })),
        "{:?}",
        answers[0]
    );
    assert!(answers[1].is_ok());
    let rows: [&[u32]; 2] = [&[0, 1 << 20], &[0, 5]];
    let scored = model.log_probs(&rows);
    assert!(matches!(scored[0], Err(ModelError::Tokenizer { .. })));
    assert!(scored[1].is_ok());
}

#[test]
fn what_does_not_fit_is_told() {
    let (_folder, model) = Tiny::default().open();
    let long = "x".repeat(POSITIONS);
    let answer = ask(
        &model,
        Want::Score {
            prompt: text(""),
            continuation: long,
        },
    );
    let (tokens, limit) = (POSITIONS as u64 + 1, POSITIONS as u64);
    assert_eq!(answer, Err(ModelError::TooLong { tokens, limit }));
    let (_folder, model) = Tiny {
        bos: false,
        ..Tiny::default()
    }
    .open();
    let empty = ask(
        &model,
        Want::TopK {
            prompt: text(""),
            k: 1,
        },
    );
    assert!(matches!(empty, Err(ModelError::Tokenizer { .. })));
}

#[test]
fn plans_only_requests_are_unsupported() {
    let (_folder, model) = Tiny::default().open();
    let want = Want::ScoreAnswers {
        of: RequestId::new("a"),
        whose: filiation_core::Whose::Teachers,
    };
    assert!(!model.supports(&want));
    assert!(matches!(
        ask(&model, want),
        Err(ModelError::Unsupported { .. })
    ));
}
