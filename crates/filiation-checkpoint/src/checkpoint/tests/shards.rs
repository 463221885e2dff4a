//! Shards and their index.

use super::*;

#[test]
fn shards_open_as_one() {
    let folder = sharded(None);
    let found = open(&folder).expect("sound");
    assert_eq!(found.tensor_names().count(), tensors().len());
    assert_eq!(found.files().len(), 4);
}

#[test]
fn refuses_shard_names_that_are_not_plain() {
    for name in [
        "../a.safetensors",
        "/etc/a.safetensors",
        "x/a.safetensors",
        "x\\a.safetensors",
        "..",
        "",
        ".safetensors",
        "a.bin",
        "C:a.safetensors",
        "a\0.safetensors",
        "\u{1b}.safetensors",
    ] {
        let error = refused(&sharded(Some(json!({"model.norm.weight": name}))));
        assert!(
            matches!(error, CheckpointError::ShardName { .. }),
            "{name}: {error}"
        );
        assert!(
            error.to_string().contains("model.safetensors.index.json"),
            "{error}"
        );
    }
}

#[test]
fn refuses_an_index_that_names_a_missing_shard() {
    let error = refused(&sharded(Some(
        json!({"model.norm.weight": "c.safetensors"}),
    )));
    assert!(
        matches!(&error, CheckpointError::MissingFile { file, .. } if file.ends_with("c.safetensors"))
    );
    assert!(error.to_string().contains("index.json"), "{error}");
}

#[test]
fn refuses_a_tensor_promised_in_one_shard_and_found_in_another() {
    let first = tensors()[0].0.clone();
    let error = refused(&sharded(Some(json!({ first: "b.safetensors" }))));
    assert!(
        matches!(&error, CheckpointError::WrongShard { promised, found: None, .. }
            if promised == "b.safetensors"),
        "{error}"
    );
    let last = tensors().pop().expect("many").0;
    let map = json!({ last: "a.safetensors", "x": "b.safetensors" });
    let error = refused(&sharded(Some(map)));
    assert!(
        matches!(&error, CheckpointError::WrongShard { found: Some(f), .. } if f == "b.safetensors"),
        "{error}"
    );
}

#[test]
fn refuses_a_tensor_in_two_shards() {
    let folder = sharded(None);
    write(&folder, "b.safetensors", safetensors(&tensors()));
    let error = refused(&folder);
    assert!(
        matches!(error, CheckpointError::DuplicateTensor { .. }),
        "{error}"
    );
}

#[test]
fn refuses_a_tensor_that_the_index_does_not_list() {
    let folder = sharded(None);
    let mut more = tensors().split_off(5);
    more.push(("extra".into(), "F32", vec![1], vec![0; 4]));
    write(&folder, "b.safetensors", safetensors(&more));
    let error = refused(&folder);
    assert!(matches!(&error, CheckpointError::UnlistedTensor { tensor, .. } if tensor == "extra"));
}

#[test]
fn refuses_an_index_that_is_not_one() {
    for index in [
        "",
        "[]",
        "{}",
        r#"{"weight_map": 1}"#,
        r#"{"weight_map": {"a": 1}}"#,
        r#"{"weight_map": {}, "weight_map": {}}"#,
        r#"{"weight_map": {"a": "a.safetensors", "a": "b.safetensors"}}"#,
    ] {
        let folder = sharded(None);
        write(&folder, "model.safetensors.index.json", index);
        let error = refused(&folder);
        assert!(
            matches!(error, CheckpointError::Json { .. }),
            "{index}: {error}"
        );
    }
}
