//! Configuration against weights.

use super::*;

#[test]
fn refuses_a_missing_or_broken_configuration() {
    let folder = folder();
    write(&folder, "config.json", "{");
    assert!(matches!(
        refused(&folder),
        CheckpointError::Json { offset: 0, .. }
    ));
    write(&folder, "config.json", r#"{"architectures": ["Surprise"]}"#);
    let error = refused(&folder);
    assert!(matches!(error, CheckpointError::Config { .. }), "{error}");
    assert!(error.to_string().contains("config.json"), "{error}");
    fs::remove_file(folder.path().join("config.json")).expect("it is there");
    let error = refused(&folder);
    assert!(
        matches!(&error, CheckpointError::MissingFile { file, .. } if file.ends_with("config.json"))
    );
}

#[test]
fn refuses_a_configuration_that_disagrees_with_the_tensors() {
    let folder = folder();
    for (key, value, tensor) in [
        ("vocab_size", 9, "model.embed_tokens.weight"),
        ("intermediate_size", 7, "mlp"),
        ("num_key_value_heads", 2, "k_proj"),
    ] {
        let mut lying = config();
        lying[key] = value.into();
        write(&folder, "config.json", lying.to_string());
        let error = refused(&folder);
        assert!(
            matches!(error, CheckpointError::WrongShape { .. }),
            "{key}: {error}"
        );
        let text = error.to_string();
        assert!(
            text.contains(tensor) && text.contains("model.safetensors"),
            "{text}"
        );
    }
    let mut lying = config();
    lying["num_hidden_layers"] = 3.into();
    write(&folder, "config.json", lying.to_string());
    let error = refused(&folder);
    assert!(
        matches!(&error, CheckpointError::MissingTensor { tensor, .. } if tensor.contains("layers.2")),
        "{error}"
    );
}

#[test]
fn refuses_more_layers_or_entries_than_the_limits() {
    let folder = folder();
    for limits in [
        Limits {
            layers: 1,
            ..Limits::default()
        },
        Limits {
            vocabulary: 7,
            ..Limits::default()
        },
        Limits {
            total_bytes: 100,
            ..Limits::default()
        },
        Limits {
            tensors: 3,
            ..Limits::default()
        },
        Limits {
            json_bytes: 20,
            ..Limits::default()
        },
        Limits {
            header_bytes: 20,
            ..Limits::default()
        },
    ] {
        let error = Checkpoint::open(folder.path(), &limits).expect_err("over a limit");
        let text = error.to_string();
        assert!(
            text.contains("limit of") || text.contains("more than 3 tensors"),
            "{text}"
        );
    }
}

#[test]
fn takes_fp8_weights_without_scales() {
    let folder = folder();
    let mut all = tensors();
    for tensor in &mut all {
        tensor.1 = "F8_E4M3";
        tensor.3 = vec![0x38; tensor.3.len() / 4];
    }
    write(&folder, "model.safetensors", safetensors(&all));
    let found = open(&folder).expect("values that mean themselves");
    assert_eq!(
        found.tensor("model.norm.weight").expect("there").to_f32(),
        [1.0; 4]
    );
}

#[test]
fn refuses_weights_that_are_integers() {
    let folder = folder();
    let mut all = tensors();
    all[0].1 = "I32";
    write(&folder, "model.safetensors", safetensors(&all));
    let error = refused(&folder);
    assert!(
        matches!(
            error,
            CheckpointError::NotFloat {
                found: Dtype::I32,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn refuses_weights_that_are_not_finite() {
    let folder = folder();
    let mut all = tensors();
    let norm = all
        .iter()
        .position(|t| t.0 == "model.norm.weight")
        .expect("Llama has one");
    for value in [f32::NAN, f32::INFINITY] {
        all[norm].3[8..12].copy_from_slice(&value.to_le_bytes());
        write(&folder, "model.safetensors", safetensors(&all));
        let found = open(&folder).expect("headers are sound");
        let error = found.check_finite().expect_err("element 2");
        assert!(
            matches!(&error, CheckpointError::NotFinite { tensor, index: 2, .. }
                if tensor == "model.norm.weight"),
            "{error}"
        );
    }
}

#[test]
fn what_was_released_reads_the_same() {
    let folder = folder();
    let found = open(&folder).expect("sound");
    let names: Vec<String> = found.tensor_names().map(str::to_owned).collect();
    for name in &names {
        let before = found.tensor(name).expect("it is there").data.to_vec();
        found.release(name);
        assert_eq!(found.tensor(name).expect("it is there").data, before);
    }
    found.release("no such tensor");
    let bytes = fs::read(folder.path().join("model.safetensors")).expect("it is there");
    let file = &found.files()[1];
    assert_eq!(
        (&file.name[..], file.sha256),
        ("model.safetensors", Digest::of(&bytes))
    );
}
