use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use filiation_checkpoint::{Checkpoint, Limits, ModelWeights};
use filiation_core::{Answer, Model, Prompt, Request, RequestId, Sampling, Want};
use tempfile::TempDir;

use crate::error::GgufProblem;
use crate::testing::{
    BOS, EOS, FEED_FORWARD, HEADS, KV_HEADS, LAYERS, POSITIONS, Tiny, WIDTH, merges, pieces,
};
use crate::{DeviceChoice, Gguf, LoadError, LocalModel};

fn metadata() -> BTreeMap<&'static str, Value> {
    let count = |n: usize| Value::U32(n as u32);
    let texts = |t: Vec<String>| Value::Array(t.into_iter().map(Value::String).collect());
    let kinds = (0..pieces().len()).map(|id| Value::I32(if id < 4 { 3 } else { 1 }));
    BTreeMap::from([
        ("general.architecture", Value::String("llama".into())),
        ("llama.block_count", count(LAYERS)),
        ("llama.context_length", count(POSITIONS)),
        ("llama.embedding_length", count(WIDTH)),
        ("llama.feed_forward_length", count(FEED_FORWARD)),
        ("llama.attention.head_count", count(HEADS)),
        ("llama.attention.head_count_kv", count(KV_HEADS)),
        ("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
        ("llama.rope.freq_base", Value::F32(10_000.0)),
        ("tokenizer.ggml.model", Value::String("gpt2".into())),
        ("tokenizer.ggml.pre", Value::String("gpt-2".into())),
        ("tokenizer.ggml.tokens", texts(pieces())),
        ("tokenizer.ggml.token_type", Value::Array(kinds.collect())),
        ("tokenizer.ggml.merges", texts(merges())),
        ("tokenizer.ggml.bos_token_id", Value::U32(BOS)),
        ("tokenizer.ggml.eos_token_id", Value::U32(EOS)),
        ("tokenizer.ggml.add_bos_token", Value::Bool(true)),
    ])
}

/// The weights of the tiny model under their GGUF names, query and key rows interleaved.
fn tensors() -> BTreeMap<String, QTensor> {
    let parts = [
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", "ffn_norm"),
        ("model.layers.", "blk."),
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
    ];
    let mut out = BTreeMap::new();
    for (name, (shape, values)) in Tiny::default().weights() {
        let heads = match &name {
            n if n.contains("q_proj") => HEADS,
            n if n.contains("k_proj") => KV_HEADS,
            _ => 0,
        };
        let values = if heads == 0 {
            values
        } else {
            interleave(&values, heads, WIDTH)
        };
        let name = parts
            .iter()
            .fold(name, |name, (from, to)| name.replace(from, to));
        let tensor = Tensor::from_vec(values, shape, &Device::Cpu).expect("sizes agree");
        let tensor = QTensor::quantize(&tensor, GgmlDType::F32).expect("f32 is kept");
        out.insert(name, tensor);
    }
    out
}

/// Row j of the first half of each head goes to row 2j, of the second half to 2j + 1.
fn interleave(values: &[f32], heads: usize, columns: usize) -> Vec<f32> {
    let rows = values.len() / columns;
    let size = rows / heads;
    let source = |row: usize| {
        let (head, inside) = (row / size, row % size);
        head * size + inside / 2 + (inside % 2) * size / 2
    };
    (0..rows)
        .flat_map(|row| values[source(row) * columns..][..columns].to_vec())
        .collect()
}

fn write(path: &Path, metadata: &BTreeMap<&str, Value>, tensors: &BTreeMap<String, QTensor>) {
    let mut file = File::create(path).expect("the folder is writable");
    let metadata: Vec<_> = metadata.iter().map(|(k, v)| (*k, v)).collect();
    let tensors: Vec<_> = tensors.iter().map(|(k, v)| (k.as_str(), v)).collect();
    gguf_file::write(&mut file, &metadata, &tensors).expect("the folder is writable");
}

fn open(folder: &TempDir) -> Result<LocalModel, LoadError> {
    LocalModel::open(folder.path(), DeviceChoice::Cpu, &Limits::default())
}

fn with(
    change: impl FnOnce(&mut BTreeMap<&str, Value>, &mut BTreeMap<String, QTensor>),
) -> LoadError {
    let folder = TempDir::new().expect("a temporary folder");
    let (mut metadata, mut tensors) = (metadata(), tensors());
    change(&mut metadata, &mut tensors);
    write(&folder.path().join("m.gguf"), &metadata, &tensors);
    open(&folder).expect_err("the file is not sound")
}

fn problem(error: LoadError) -> GgufProblem {
    match error {
        LoadError::Gguf { problem, .. } => problem,
        other => panic!("not a GGUF problem: {other}"),
    }
}

#[test]
fn a_gguf_file_answers_as_the_folder_that_it_was_made_from() {
    let folder = TempDir::new().expect("a temporary folder");
    write(&folder.path().join("m.gguf"), &metadata(), &tensors());
    let gguf = open(&folder).expect("a sound file");
    let (_folder, safetensors) = Tiny::default().open();
    let prompt = || Prompt::Text("on the théme".into());
    let requests = [
        Want::Score {
            prompt: prompt(),
            continuation: " and the end".into(),
        },
        Want::Generate {
            prompt: prompt(),
            max_tokens: 9,
            sampling: Sampling::GREEDY,
        },
        Want::TopK {
            prompt: prompt(),
            k: 5,
        },
    ]
    .map(|want| Request {
        id: RequestId::new("test"),
        to: vec![],
        want,
    });
    let answers = gguf.answer(&requests);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(answers, safetensors.answer(&requests));
    assert!(matches!(&answers[1], Ok(Answer::Completion(c)) if !c.tokens.is_empty()));
    assert_eq!(gguf.identity().architecture, "LlamaForCausalLM");
    assert_eq!(
        gguf.identity().parameters,
        safetensors.identity().parameters
    );
}

#[test]
fn what_is_not_understood_is_refused() {
    let error = with(|m, _| {
        m.insert("general.architecture", Value::String("mamba".into()));
    });
    assert_eq!(
        problem(error),
        GgufProblem::Architecture {
            found: "mamba".into()
        }
    );
    let error = with(|m, _| {
        m.insert("llama.rope.scaling.type", Value::String("yarn".into()));
        m.insert("llama.rope.scaling.factor", Value::F32(4.0));
    });
    assert!(matches!(problem(error), GgufProblem::Value { .. }));
    let error = with(|m, _| {
        m.insert("tokenizer.ggml.pre", Value::String("other".into()));
    });
    assert!(matches!(problem(error), GgufProblem::Value { .. }));
    let error = with(|_, t| {
        let extra = t.remove("blk.0.attn_v.weight").expect("it is there");
        t.insert("blk.0.ffn_gate_exps.weight".into(), extra);
    });
    assert!(matches!(problem(error), GgufProblem::UnknownTensor { .. }));
}

#[test]
fn metadata_is_held_against_the_tensors() {
    let error = with(|_, t| {
        t.remove("blk.1.ffn_down.weight");
    });
    assert!(matches!(error, LoadError::MissingTensor { .. }), "{error}");
    let error = with(|m, _| {
        m.insert(
            "llama.feed_forward_length",
            Value::U32(FEED_FORWARD as u32 + 1),
        );
    });
    assert!(matches!(error, LoadError::TensorShape { .. }), "{error}");
    let error = with(|m, _| {
        m.insert("llama.block_count", Value::U32(u32::MAX));
    });
    assert!(matches!(problem(error), GgufProblem::TooMany { .. }));
    let error = with(|m, _| {
        m.remove("tokenizer.ggml.merges");
    });
    let key = "tokenizer.ggml.merges".into();
    assert_eq!(problem(error), GgufProblem::MissingKey { key });
    let error = with(|_, t| {
        let nan = Tensor::new(&[f32::NAN; WIDTH], &Device::Cpu).expect("a tensor");
        let nan = QTensor::quantize(&nan, GgmlDType::F32).expect("f32 is kept");
        t.insert("output_norm.weight".into(), nan);
    });
    assert!(matches!(
        problem(error),
        GgufProblem::NotFinite { index: 0, .. }
    ));
}

#[test]
fn a_folder_of_two_files_is_ambiguous() {
    let folder = TempDir::new().expect("a temporary folder");
    for name in ["a.gguf", "b.gguf"] {
        write(&folder.path().join(name), &metadata(), &tensors());
    }
    let error = open(&folder).expect_err("two files");
    assert!(error.hint().is_some());
    assert_eq!(problem(error), GgufProblem::NotOneFile { found: 2 });
}

/// The tiny model as a folder, and as a GGUF file with what fits blocks of `dtype` as that.
fn both(dtype: GgmlDType) -> (TempDir, Checkpoint, Gguf) {
    let folder = TempDir::new().expect("a temporary folder");
    Tiny::default().write(folder.path());
    let mut tensors = tensors();
    for tensor in tensors.values_mut() {
        let columns = tensor.shape().dims().last().copied().unwrap_or(1);
        if tensor.rank() != 2 || columns % dtype.block_size() != 0 {
            continue;
        }
        let values = tensor.dequantize(&Device::Cpu).expect("f32 is read");
        *tensor = QTensor::quantize(&values, dtype).expect("rows of whole blocks");
    }
    let file = folder.path().join("m.gguf");
    write(&file, &metadata(), &tensors);
    let limits = Limits::default();
    let checkpoint = Checkpoint::open(folder.path(), &limits).expect("a sound folder");
    let gguf = Gguf::open(&file, &limits).expect("a sound file");
    (folder, checkpoint, gguf)
}

#[test]
fn weights_are_those_of_the_folder() {
    let (_folder, checkpoint, gguf) = both(GgmlDType::F32);
    let (this, other): (&dyn ModelWeights, &dyn ModelWeights) = (&gguf, &checkpoint);
    assert_eq!(
        this.config().expected_tensors(),
        other.config().expected_tensors()
    );
    assert_eq!(
        this.vocabulary().expect("it has a tokenizer"),
        other.vocabulary().expect("it has a tokenizer")
    );
    for tensor in this.config().expected_tensors() {
        let name = &tensor.name;
        if tensor.optional {
            continue;
        }
        let stored = this.stored(name).expect("it is there");
        assert_eq!(stored, other.stored(name).expect("it is there"), "{name}");
        for rows in [0..tensor.shape[0], 3..17, 30..1000] {
            let found = this.rows(name, rows.clone()).expect("it is there");
            assert_eq!(
                found,
                other.rows(name, rows).expect("it is there"),
                "{name}"
            );
        }
        assert_eq!(this.lattices(name, 0..4).expect("it is there"), None);
    }
    assert!(this.stored("model.layers.9.mlp.up_proj.weight").is_err());
}

#[test]
fn codes_are_roundings_of_the_folder() {
    let (_folder, checkpoint, gguf) = both(GgmlDType::Q8_0);
    let (this, other): (&dyn ModelWeights, &dyn ModelWeights) = (&gguf, &checkpoint);
    for tensor in this.config().expected_tensors() {
        if tensor.optional || tensor.shape.get(1) != Some(&WIDTH) {
            continue;
        }
        let name = &tensor.name;
        assert_eq!(this.stored(name).expect("it is there").dtype, None);
        for rows in [0..tensor.shape[0], 5..11] {
            let lattices = this.lattices(name, rows.clone()).expect("it is there");
            let stored = this.rows(name, rows.clone()).expect("it is there");
            let mut values = other.rows(name, rows).expect("it is there");
            let lattices = lattices.expect("codes have lattices");
            assert!(lattices.round(&values, &stored), "{name}");
            values[1] += 0.1;
            assert!(!lattices.round(&values, &stored), "{name}");
        }
    }
}
