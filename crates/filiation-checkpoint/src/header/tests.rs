use proptest::prelude::*;

use super::*;

fn file(header: &str, data: &[u8]) -> Vec<u8> {
    let mut header = header.to_owned();
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

fn entry(dtype: &str, shape: &str, begin: u64, end: u64) -> String {
    format!(r#"{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{begin},{end}]}}"#)
}

fn admit(bytes: &[u8]) -> Result<Vec<Entry>, CheckpointError> {
    read(Path::new("m.safetensors"), bytes, &Limits::default())
}

fn refused(header: &str, data: &[u8]) -> CheckpointError {
    let error = admit(&file(header, data)).expect_err("the header lies");
    assert!(error.to_string().contains("`m.safetensors`"), "{error}");
    error
}

fn one(dtype: &str, shape: &str, begin: u64, end: u64) -> String {
    format!(r#"{{"a":{}}}"#, entry(dtype, shape, begin, end))
}

#[test]
fn tensors_come_in_the_order_of_the_data() {
    let (a, b) = (entry("F32", "[2,3]", 8, 32), entry("BF16", "[4]", 0, 8));
    let header = format!(r#"{{"__metadata__":{{"format":"pt"}},"a":{a},"b":{b}}}"#);
    let bytes = file(&header, &[0; 32]);
    let start = bytes.len() - 32;
    let found = admit(&bytes).expect("a sound file");
    assert_eq!(found[0].name, "b");
    assert_eq!(found[0].range, start..start + 8);
    let expected = Entry {
        name: "a".into(),
        dtype: Dtype::F32,
        shape: vec![2, 3],
        range: start + 8..start + 32,
    };
    assert_eq!(found[1], expected);
}

#[test]
fn empty_tensors_and_scalars_are_sound() {
    let (a, b) = (entry("F32", "[0,7]", 0, 0), entry("F32", "[]", 0, 4));
    let found = admit(&file(&format!(r#"{{"s":{b},"e":{a}}}"#), &[0; 4])).expect("sound");
    assert_eq!(
        found.iter().map(|e| e.name.as_str()).collect::<Vec<_>>(),
        ["e", "s"]
    );
    assert_eq!(admit(&file("{}", &[])).expect("sound"), []);
}

#[test]
fn refuses_a_file_shorter_than_the_length_of_its_header() {
    let error = admit(&[1, 2, 3]).expect_err("three bytes");
    assert!(
        matches!(
            error,
            CheckpointError::Truncated {
                found: 3,
                expected: 8,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn refuses_a_header_that_ends_after_the_file() {
    let mut bytes = file("{}", &[]);
    bytes[0] = 100;
    let error = admit(&bytes).expect_err("cut short");
    assert!(
        matches!(
            error,
            CheckpointError::Truncated {
                found: 16,
                expected: 108,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn refuses_a_header_over_the_limit_before_it_is_read() {
    for claimed in [(32 << 20) + 1, u64::MAX] {
        let error = admit(&claimed.to_le_bytes()).expect_err("too long");
        let limit = 32 << 20;
        assert!(
            matches!(error, CheckpointError::OverLimit { found, limit: l, .. }
                if found == claimed && l == limit),
            "{error}"
        );
    }
}

#[test]
fn refuses_what_is_not_json() {
    for header in ["", "[]", "{", "{}x", "{\"a\": 1}", "nul"] {
        let error = refused(header, &[]);
        assert!(
            matches!(error, CheckpointError::Json { offset: 8, .. }),
            "{header}: {error}"
        );
    }
    let bytes = [
        8, 0, 0, 0, 0, 0, 0, 0, b'{', b'"', 0xff, b'"', b':', b'1', b'}', b' ',
    ];
    assert!(matches!(admit(&bytes), Err(CheckpointError::Json { .. })));
}

#[test]
fn refuses_json_nested_without_end() {
    // Without a limit on depth this would end the process.
    for key in ["__metadata__", "a"] {
        let error = refused(&format!(r#"{{"{key}":{}"#, "[".repeat(100_000)), &[]);
        assert!(matches!(error, CheckpointError::Json { .. }), "{error}");
    }
}

#[test]
fn refuses_a_name_that_stands_twice() {
    let a = entry("F32", "[1]", 0, 4);
    for header in [
        format!(r#"{{"a":{a},"a":{a}}}"#),
        format!(r#"{{"a":{a},"\u0061":{a}}}"#),
    ] {
        let error = refused(&header, &[0; 4]);
        assert!(error.to_string().contains("`a` stands twice"), "{error}");
    }
    let error = refused(r#"{"__metadata__":{},"__metadata__":{}}"#, &[]);
    assert!(error.to_string().contains("stands twice"), "{error}");
}

#[test]
fn refuses_a_field_that_stands_twice_is_missing_or_unknown() {
    let twice = r#"{"a":{"dtype":"F32","dtype":"F16","shape":[1],"data_offsets":[0,4]}}"#;
    assert!(
        refused(twice, &[0; 4])
            .to_string()
            .contains("tensor `a` stands twice")
    );
    let missing = r#"{"a":{"dtype":"F32","shape":[1]}}"#;
    assert!(
        refused(missing, &[0; 4])
            .to_string()
            .contains("tensor `a` lacks")
    );
    let unknown = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"stride":[1]}}"#;
    assert!(
        refused(unknown, &[0; 4])
            .to_string()
            .contains("unknown field")
    );
}

#[test]
fn refuses_numbers_that_are_no_sizes() {
    for shape in [
        "[-1]",
        "[1.5]",
        "[1e3]",
        "[18446744073709551616]",
        "\"1\"",
        "[[1]]",
    ] {
        let error = refused(&one("F32", shape, 0, 4), &[0; 4]);
        assert!(
            matches!(error, CheckpointError::Json { .. }),
            "{shape}: {error}"
        );
    }
}

#[test]
fn refuses_an_unknown_dtype() {
    for dtype in ["F4", "f32", "F32\u{1b}[31m", ""] {
        let header = one(
            &dtype
                .escape_default()
                .to_string()
                .replace("\\u{1b}", "\\u001b"),
            "[1]",
            0,
            4,
        );
        let error = refused(&header, &[0; 4]);
        assert!(
            matches!(error, CheckpointError::UnknownDtype { .. }),
            "{error}"
        );
        let text = error.to_string();
        assert!(
            text.contains("tensor `a`") && text.contains("BF16"),
            "{text}"
        );
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}

#[test]
fn refuses_more_dimensions_than_the_limit() {
    let error = refused(&one("U8", "[1,1,1,1,1,1,1,1,1]", 0, 1), &[0]);
    assert!(
        error
            .to_string()
            .contains("tensor `a` has more than 8 dimensions"),
        "{error}"
    );
}

#[test]
fn refuses_more_tensors_than_the_limit() {
    let a = entry("U8", "[0]", 0, 0);
    let limits = Limits {
        tensors: 1,
        ..Limits::default()
    };
    let bytes = file(&format!(r#"{{"a":{a},"b":{a}}}"#), &[]);
    let error = read(Path::new("m"), &bytes, &limits).expect_err("two");
    assert!(error.to_string().contains("more than 1 tensors"), "{error}");
}

#[test]
fn refuses_an_endless_name() {
    let header = format!(r#"{{"{}":{}}}"#, "a".repeat(1025), entry("U8", "[0]", 0, 0));
    assert!(
        refused(&header, &[])
            .to_string()
            .contains("a name of 1025 bytes")
    );
}

#[test]
fn refuses_shapes_that_overflow() {
    for shape in [
        "[1152921504606846976,1152921504606846976]",
        "[1099511627776,1099511627776]",
        "[9223372036854775808]",
        // A zero must not hide it.
        "[0,1099511627776,1099511627776]",
    ] {
        let error = refused(&one("F32", shape, 0, 0), &[]);
        assert!(
            matches!(error, CheckpointError::ShapeOverflow { .. }),
            "{shape}: {error}"
        );
    }
}

#[test]
fn refuses_a_shape_of_2_to_the_60_without_the_bytes() {
    let error = refused(&one("U8", "[1099511627776,1048576]", 0, 4), &[0; 4]);
    let expected = 1_u64 << 60;
    assert!(
        matches!(error, CheckpointError::SizeMismatch { found: 4, expected: e, .. } if e == expected),
        "{error}"
    );
}

#[test]
fn refuses_offsets_that_do_not_hold_the_shape() {
    for (dtype, shape) in [
        ("F32", "[2]"),
        ("F16", "[1]"),
        ("F32", "[1,1,2]"),
        ("U8", "[0]"),
    ] {
        let error = refused(&one(dtype, shape, 0, 4), &[0; 4]);
        assert!(
            matches!(error, CheckpointError::SizeMismatch { found: 4, .. }),
            "{error}"
        );
    }
}

#[test]
fn refuses_offsets_out_of_the_file() {
    let error = refused(&one("F32", "[2]", 0, 8), &[0; 7]);
    assert!(
        matches!(
            error,
            CheckpointError::OutsideFile {
                data: 7,
                end: 8,
                ..
            }
        ),
        "{error}"
    );
    let error = refused(&one("F32", "[1]", u64::MAX - 3, u64::MAX), &[0; 4]);
    assert!(
        matches!(error, CheckpointError::OutsideFile { .. }),
        "{error}"
    );
}

#[test]
fn refuses_offsets_that_run_backwards() {
    let error = refused(&one("F32", "[1]", 4, 0), &[0; 4]);
    assert!(
        matches!(
            error,
            CheckpointError::OutsideFile {
                begin: 4,
                end: 0,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn refuses_overlapping_tensors() {
    let (a, b) = (entry("F32", "[2]", 0, 8), entry("F32", "[2]", 4, 12));
    let error = refused(&format!(r#"{{"a":{a},"b":{b}}}"#), &[0; 12]);
    assert!(
        matches!(
            error,
            CheckpointError::Overlap {
                found: 4,
                expected: 8,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("tensor `b`"), "{error}");
    // One inside the other.
    let (a, b) = (entry("U8", "[12]", 0, 12), entry("U8", "[4]", 4, 8));
    let error = refused(&format!(r#"{{"a":{a},"b":{b}}}"#), &[0; 12]);
    assert!(matches!(error, CheckpointError::Overlap { .. }), "{error}");
}

#[test]
fn refuses_a_gap() {
    let (a, b) = (entry("F32", "[1]", 0, 4), entry("F32", "[1]", 8, 12));
    let error = refused(&format!(r#"{{"a":{a},"b":{b}}}"#), &[0; 12]);
    assert!(
        matches!(
            error,
            CheckpointError::Gap {
                found: 8,
                expected: 4,
                ..
            }
        ),
        "{error}"
    );
    let error = refused(&one("F32", "[1]", 4, 8), &[0; 8]);
    assert!(
        matches!(
            error,
            CheckpointError::Gap {
                found: 4,
                expected: 0,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn refuses_bytes_after_the_last_tensor() {
    let error = refused(&one("F32", "[1]", 0, 4), &[0; 8]);
    assert!(
        matches!(error, CheckpointError::TrailingBytes { .. }),
        "{error}"
    );
    assert!(matches!(
        refused("{}", &[0]),
        CheckpointError::TrailingBytes { .. }
    ));
}

#[test]
fn refuses_tensors_that_are_not_aligned() {
    let (a, b) = (entry("U8", "[1]", 0, 1), entry("F32", "[1]", 1, 5));
    let error = refused(&format!(r#"{{"a":{a},"b":{b}}}"#), &[0; 5]);
    assert!(
        matches!(error, CheckpointError::Misaligned { align: 4, .. }),
        "{error}"
    );
    assert!(error.hint().is_some_and(|h| h.contains("0.4")));
    // A header whose length is odd.
    let mut bytes = 3_u64.to_le_bytes().to_vec();
    bytes.extend(b"{} ");
    assert_eq!(admit(&bytes).expect("no tensor, so none misaligned"), []);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = admit(&bytes);
    }

    #[test]
    fn arbitrary_headers_never_panic(header in r#"[{}\[\]",:0-9a-zF_ ]{0,200}"#, data in 0..64_usize) {
        let _ = admit(&file(&header, &vec![0; data]));
    }

    #[test]
    fn whatever_is_admitted_lies_in_the_file(
        shapes in proptest::collection::vec((any::<u64>(), 0..40_u64, 0..40_u64, 0..5_u64), 1..4),
        data in 0..64_usize,
    ) {
        let entries: Vec<_> = shapes
            .iter()
            .enumerate()
            .map(|(i, &(n, begin, end, cut))| {
                let shape = format!("[{},{}]", n >> (cut * 13), cut);
                format!(r#""t{i}":{}"#, entry(["U8", "F32", "BF16"][i % 3], &shape, begin, end))
            })
            .collect();
        let bytes = file(&format!("{{{}}}", entries.join(",")), &vec![0; data]);
        if let Ok(found) = admit(&bytes) {
            for e in found {
                prop_assert!(e.range.end <= bytes.len());
                prop_assert_eq!(e.range.len(), e.shape.iter().product::<usize>() * e.dtype.size());
            }
        }
    }

    #[test]
    fn a_sound_file_is_read_back(sizes in proptest::collection::vec(0..9_usize, 0..6)) {
        let mut at = 0;
        let mut entries = Vec::new();
        for (i, n) in sizes.iter().enumerate() {
            let end = at + 4 * *n as u64;
            entries.push(format!(r#""t{i}":{}"#, entry("F32", &format!("[{n}]"), at, end)));
            at = end;
        }
        let bytes = file(&format!("{{{}}}", entries.join(",")), &vec![0; at as usize]);
        let found = admit(&bytes).expect("built to be sound");
        prop_assert_eq!(found.len(), sizes.len());
        for e in found {
            let i: usize = e.name[1..].parse().expect("named by number");
            prop_assert_eq!(&e.shape, &[sizes[i]]);
        }
    }
}
