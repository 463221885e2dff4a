use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// A word-level tokenizer: `a` 0, `b` 1, `[UNK]` 2, special `<s>` 3 before each text.
fn words() -> Value {
    json!({
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "a"},
        "added_tokens": [{"id": 3, "content": "<s>", "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true}],
        "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [3], "tokens": ["<s>"]}}},
        "decoder": null,
        "model": {"type": "WordLevel", "vocab": {"a": 0, "b": 1, "[UNK]": 2}, "unk_token": "[UNK]"},
    })
}

fn read(json: &Value, rows: usize) -> Result<Tokenizer, CheckpointError> {
    let bytes = json.to_string();
    Tokenizer::from_bytes(
        Path::new("tokenizer.json"),
        bytes.as_bytes(),
        rows,
        &Limits::default(),
    )
}

#[test]
fn encodes_and_decodes_with_truncation_and_padding_off() {
    let tokenizer = read(&words(), 4).expect("sound");
    let plain = tokenizer.encode("a b zzz a", false).expect("encodes");
    assert_eq!(plain.ids, [0, 1, 2, 0]);
    // The blanks belong to the word after them.
    assert_eq!(plain.offsets, [(0, 1), (1, 3), (3, 7), (7, 9)]);
    let special = tokenizer.encode("a b", true).expect("encodes");
    assert_eq!(special.ids, [3, 0, 1]);
    assert_eq!(special.offsets, [(0, 0), (0, 1), (1, 3)]);
    assert_eq!(tokenizer.decode(&[3, 0, 1], true).expect("decodes"), "a b");
    assert_eq!(tokenizer.decode(&[3, 0], false).expect("decodes"), "<s> a");
    assert_eq!(
        (tokenizer.id("b"), tokenizer.token(1).as_deref()),
        (Some(1), Some("b"))
    );
    assert!(tokenizer.is_special(3) && !tokenizer.is_special(0) && !tokenizer.is_special(77));
    let entries = ["<s>", "[UNK]", "a", "b"];
    assert!(
        tokenizer
            .vocabulary()
            .iter()
            .map(|e| e.0.as_str())
            .eq(entries)
    );
}

#[test]
fn bytes_that_the_tokenizer_drops_belong_to_its_last_token() {
    let tokenizer = read(&words(), 4).expect("sound");
    let found = tokenizer.encode("  a  ", true).expect("encodes");
    assert_eq!(found.offsets, [(0, 0), (0, 5)]);
    assert_eq!(
        tokenizer.encode("  ", false).expect("encodes"),
        Encoding::default()
    );
}

#[test]
fn refuses_a_tokenizer_larger_than_the_embedding() {
    let error = read(&words(), 2).expect_err("three words, two rows");
    assert!(
        matches!(
            error,
            CheckpointError::TokenizerTooLarge {
                found: 2,
                rows: 2,
                ..
            }
        ),
        "{error}"
    );
    let text = error.to_string();
    assert!(
        text.contains("`tokenizer.json`") && text.contains("`[UNK]`"),
        "{text}"
    );
}

#[test]
fn an_added_token_without_a_row_is_refused_only_in_a_text() {
    let tokenizer = read(&words(), 3).expect("the vocabulary fits");
    assert_eq!(tokenizer.tokens_beyond_embedding(), 1);
    assert_eq!(
        tokenizer.encode("a b", false).expect("in range").ids,
        [0, 1]
    );
    for (text, special) in [("a <s>", false), ("a", true)] {
        let error = tokenizer.encode(text, special).expect_err("out of range");
        assert!(
            matches!(
                error,
                CheckpointError::TokenOutOfRange {
                    found: 3,
                    rows: 3,
                    ..
                }
            ),
            "{error}"
        );
    }
}

#[test]
fn refuses_what_is_no_tokenizer() {
    for json in [
        json!({}),
        json!([]),
        json!({"model": {"type": "BPE"}}),
        json!("x"),
    ] {
        let error = read(&json, 4).expect_err("no tokenizer");
        assert!(
            matches!(error, CheckpointError::Tokenizer { .. }),
            "{error}"
        );
        assert!(error.to_string().starts_with("`tokenizer.json`"), "{error}");
    }
}

#[test]
fn refuses_a_file_over_the_limit() {
    let limits = Limits {
        json_bytes: 10,
        ..Limits::default()
    };
    let bytes = words().to_string();
    let error = Tokenizer::from_bytes(Path::new("t"), bytes.as_bytes(), 4, &limits);
    assert!(matches!(
        error,
        Err(CheckpointError::OverLimit { limit: 10, .. })
    ));
}

#[test]
fn a_pattern_that_backtracks_without_end_is_an_error() {
    let mut hostile = words();
    hostile["pre_tokenizer"] = json!({"type": "Split", "behavior": "Isolated", "invert": false,
        "pattern": {"Regex": "(?=a)(a|aa|a(?=a))+(?!a)b\\b"}});
    let tokenizer = read(&hostile, 4).expect("the pattern compiles");
    // It either gives up or answers: within a second, not within an age of the universe.
    let start = std::time::Instant::now();
    let _ = tokenizer.encode(&"a".repeat(200), false);
    assert!(start.elapsed().as_secs() < 30);
}

#[test]
fn gaps_close_around_special_tokens() {
    let mut offsets = [(0, 0), (1, 3), (3, 3), (5, 6), (0, 0)];
    close_gaps(&mut offsets, &[1, 0, 1, 0, 1], 8);
    assert_eq!(offsets, [(0, 0), (0, 3), (3, 3), (3, 8), (8, 8)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Tokenizer::from_bytes(Path::new("t"), &bytes, 4, &Limits::default());
    }

    #[test]
    fn a_damaged_file_never_panics(at in 0..900_usize, byte in any::<u8>(), text in ".{0,20}") {
        let mut bytes = words().to_string().into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(found) = Tokenizer::from_bytes(Path::new("t"), &bytes, 4, &Limits::default()) {
            let _ = found.encode(&text, true);
            let _ = found.decode(&[0, 1, 9], false);
        }
    }

    #[test]
    fn offsets_tile_the_text(text in "[ab \u{e9}z]{0,30}") {
        let tokenizer = read(&words(), 4).expect("sound");
        let found = tokenizer.encode(&text, true).expect("encodes");
        let mut reached = 0;
        for (begin, end) in found.offsets.iter().copied() {
            prop_assert_eq!(begin, reached);
            prop_assert!(end >= begin && text.is_char_boundary(end));
            reached = end;
        }
        prop_assert!(reached == text.len() || found.ids == [3]);
    }
}
