mod fp8;
#[cfg(unix)]
mod links;
mod packed;
mod shards;
mod weights;

use std::fs;
use std::path::PathBuf;

use filiation_core::Digest;
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::{Dtype, ModelWeights};

/// A tensor to be: name, dtype, shape, bytes.
type Tensor = (String, &'static str, Vec<usize>, Vec<u8>);

fn safetensors(tensors: &[Tensor]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut data: Vec<u8> = Vec::new();
    for (name, dtype, shape, bytes) in tensors {
        let offsets = [data.len(), data.len() + bytes.len()];
        data.extend(bytes);
        let entry = json!({"dtype": dtype, "shape": shape, "data_offsets": offsets});
        header.insert(name.clone(), entry);
    }
    let mut header = serde_json::Value::Object(header).to_string();
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(data);
    file
}

fn config() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 8,
        "hidden_size": 4, "intermediate_size": 6, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 16,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
        "tie_word_embeddings": true, "eos_token_id": 1, "bos_token_id": 0,
    })
}

/// The tensors that [`config`] asks for, all elements 0.5, in `f32`.
fn tensors() -> Vec<Tensor> {
    let config = ModelConfig::from_json(&config()).expect("a plain Llama");
    let needed = config
        .expected_tensors()
        .into_iter()
        .filter(|t| !t.optional);
    needed
        .map(|t| {
            let bytes = 0.5_f32.to_le_bytes().repeat(t.shape.iter().product());
            (t.name, "F32", t.shape, bytes)
        })
        .collect()
}

fn write(folder: &TempDir, name: &str, bytes: impl AsRef<[u8]>) {
    fs::write(folder.path().join(name), bytes).expect("a temporary folder takes files");
}

/// A sound folder with one weights file.
fn folder() -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    write(&folder, "config.json", config().to_string());
    write(&folder, "model.safetensors", safetensors(&tensors()));
    folder
}

/// A sound folder with two shards and `index` as its weight map, or the right one.
fn sharded(index: Option<Value>) -> TempDir {
    let folder = folder();
    fs::remove_file(folder.path().join("model.safetensors")).expect("it is there");
    let all = tensors();
    let (one, two) = all.split_at(5);
    write(&folder, "a.safetensors", safetensors(one));
    write(&folder, "b.safetensors", safetensors(two));
    let right = || {
        let pairs = one.iter().map(|t| (t.0.clone(), "a.safetensors"));
        let pairs = pairs.chain(two.iter().map(|t| (t.0.clone(), "b.safetensors")));
        pairs.map(|(k, v)| (k, v.into())).collect()
    };
    let map = index.unwrap_or_else(|| Value::Object(right()));
    let index = json!({"metadata": {"total_size": 1}, "weight_map": map});
    write(&folder, "model.safetensors.index.json", index.to_string());
    folder
}

fn open(folder: &TempDir) -> Result<Checkpoint, CheckpointError> {
    Checkpoint::open(folder.path(), &Limits::default())
}

fn refused(folder: &TempDir) -> CheckpointError {
    open(folder).expect_err("the folder is not sound")
}

#[test]
fn a_sound_folder_opens() {
    let folder = folder();
    write(
        &folder,
        "generation_config.json",
        r#"{"eos_token_id": [1, 2]}"#,
    );
    let found = open(&folder).expect("sound");
    assert_eq!(found.root(), folder.path());
    assert_eq!(found.generation().eos, [1, 2]);
    assert_eq!(found.findings(), []);
    let names: Vec<_> = found.tensor_names().collect();
    assert!(names.is_sorted() && names.len() == tensors().len());
    let norm = found.tensor("model.norm.weight").expect("Llama has one");
    assert_eq!(
        (norm.dtype, norm.shape, norm.len()),
        (Dtype::F32, &[4][..], 4)
    );
    assert_eq!(norm.to_f32(), [0.5; 4]);
    assert!(matches!(
        found.tensor("x"),
        Err(CheckpointError::NoSuchTensor { .. })
    ));
    found.check_finite().expect("all are 0.5");
    assert!(found.template().is_none());
    assert!(matches!(
        found.tokenizer(),
        Err(CheckpointError::MissingFile { .. })
    ));
}

#[test]
fn identity_is_of_the_content_not_of_the_place() {
    let (a, b) = (folder(), folder());
    let (one, two) = (open(&a).expect("sound"), open(&b).expect("sound"));
    assert_eq!(one.identity().digest, two.identity().digest);
    assert_eq!(one.identity().architecture, "LlamaForCausalLM");
    let elements: usize = tensors()
        .iter()
        .map(|t| t.2.iter().product::<usize>())
        .sum();
    assert_eq!(one.identity().parameters, elements as u64);
    let names: Vec<_> = one.files().iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["config.json", "model.safetensors"]);
    let bytes = fs::read(a.path().join("config.json")).expect("it is there");
    let file = &one.files()[0];
    assert_eq!(
        (&file.name[..], file.sha256),
        ("config.json", Digest::of(&bytes))
    );

    let mut changed = config();
    changed["rope_theta"] = 500.0.into();
    write(&b, "config.json", changed.to_string());
    let two = open(&b).expect("sound");
    assert_ne!(one.identity().digest, two.identity().digest);
}

#[test]
fn refuses_a_folder_without_weights_and_says_what_it_has() {
    for (file, hint) in [
        ("m.Q4.gguf", "give that file's path"),
        ("pytorch_model.bin", "is a pickle"),
        ("adapter_model.safetensors", "is an adapter"),
    ] {
        let folder = TempDir::new().expect("a temporary folder");
        write(&folder, file, "");
        let error = refused(&folder);
        assert!(
            matches!(error, CheckpointError::NoWeights { .. }),
            "{error}"
        );
        let found = error.hint().expect("there is one");
        assert!(found.contains(file) && found.contains(hint), "{found}");
    }
    let empty = refused(&TempDir::new().expect("a temporary folder"));
    assert!(empty.hint().is_none() && empty.to_string().contains("model.safetensors"));
}

#[test]
fn refuses_a_path_that_is_no_folder() {
    let folder = folder();
    let file = folder.path().join("config.json");
    let error = Checkpoint::open(&file, &Limits::default()).expect_err("a file");
    assert!(
        matches!(error, CheckpointError::NotAFolder { .. }),
        "{error}"
    );
    let error = Checkpoint::open(&folder.path().join("x"), &Limits::default());
    assert!(matches!(error, Err(CheckpointError::Io { .. })));
}

#[test]
fn lists_what_it_does_not_open() {
    let folder = folder();
    for name in [
        "training_args.bin",
        "modeling_x.py",
        "other.safetensors",
        "notes.txt",
    ] {
        write(&folder, name, "x");
    }
    let mut all = tensors();
    all.push((
        "model.layers.0.self_attn.q_proj.bias".into(),
        "F32",
        vec![4],
        vec![0; 16],
    ));
    write(&folder, "model.safetensors", safetensors(&all));
    write(
        &folder,
        "tokenizer_config.json",
        r#"{"auto_map": {}, "chat_template": "{% if"}"#,
    );
    write(&folder, "generation_config.json", r#"{"eos_token_id": 8}"#);
    let found = open(&folder).expect("findings stop nothing");
    let text: Vec<_> = found.findings().iter().map(Finding::to_string).collect();
    let text = text.join("\n");
    for expected in [
        "`modeling_x.py` brings code",
        "`other.safetensors` is no part of the model",
        "`training_args.bin` is a pickle",
        "`model.layers.0.self_attn.q_proj.bias`",
        "`tokenizer_config.json` brings code",
        "`eos_token_id` is 8",
        "chat template does not compile",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    assert!(!text.contains("notes.txt"), "{text}");
}

#[test]
fn the_template_file_comes_before_the_tokenizer_configuration() {
    let folder = folder();
    let render = || {
        let found = open(&folder).expect("sound");
        found
            .template()
            .expect("there is one")
            .render(&[], true)
            .expect("sound")
    };
    let list = json!({"bos_token": {"content": "<s>"}, "chat_template": [
        {"name": "tool_use", "template": "no"}, {"name": "default", "template": "{{ bos_token }}1"}]});
    write(&folder, "tokenizer_config.json", list.to_string());
    write(
        &folder,
        "special_tokens_map.json",
        r#"{"bos_token": "x", "eos_token": "</s>"}"#,
    );
    assert_eq!(render(), "<s>1");
    write(&folder, "chat_template.jinja", "{{ eos_token }}2");
    assert_eq!(render(), "</s>2");
    fs::remove_file(folder.path().join("chat_template.jinja")).expect("it is there");
    write(&folder, "tokenizer_config.json", r#"{"chat_template": 3}"#);
    let error = refused(&folder);
    assert!(
        matches!(
            error,
            CheckpointError::BadValue {
                key: "chat_template",
                ..
            }
        ),
        "{error}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_files_never_panic(which in 0..6_usize, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let name = ["config.json", "generation_config.json", "tokenizer_config.json",
            "special_tokens_map.json", "chat_template.jinja", "model.safetensors"][which];
        let folder = folder();
        write(&folder, name, &bytes);
        let _ = open(&folder).map(|found| found.template().map(|t| t.render(&[], true).is_ok()));
    }

    #[test]
    fn arbitrary_indices_never_panic(index in r#"\{("weight_map"|"x"|[{}\[\]:,0-9]|"[a-z./]{0,5}\.safetensors"){0,12}\}"#) {
        let folder = sharded(None);
        write(&folder, "model.safetensors.index.json", index);
        let _ = open(&folder);
    }

    #[test]
    fn damaged_configurations_never_panic(at in 0..400_usize, byte in any::<u8>()) {
        let folder = folder();
        let mut bytes = config().to_string().into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        write(&folder, "config.json", &bytes);
        let _ = open(&folder);
    }
}
