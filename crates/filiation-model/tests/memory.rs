//! A model larger than the memory it is allowed: a child process keeps to the bound, and gives the
//! bits that a model in memory gives.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use filiation_checkpoint::Limits;
use filiation_model::{DeviceChoice, LocalModel};
use serde_json::json;

const FOLDER: &str = "FILIATION_TEST_FOLDER";
/// Bytes that the child may take; the weights have 167 MB.
const BOUND: u64 = 80_000_000;
const WIDTH: usize = 512;
const FEED_FORWARD: usize = 2048;
const LAYERS: usize = 8;
const VOCABULARY: usize = 16_000;

/// Every tensor: name and shape.
fn shapes() -> Vec<(String, Vec<usize>)> {
    let (d, ff) = (WIDTH, FEED_FORWARD);
    let mut shapes = vec![
        ("model.embed_tokens.weight".to_owned(), vec![VOCABULARY, d]),
        ("model.norm.weight".to_owned(), vec![d]),
    ];
    for layer in 0..LAYERS {
        for (name, shape) in [
            ("self_attn.q_proj", vec![d, d]),
            ("self_attn.k_proj", vec![d, d]),
            ("self_attn.v_proj", vec![d, d]),
            ("self_attn.o_proj", vec![d, d]),
            ("mlp.gate_proj", vec![ff, d]),
            ("mlp.up_proj", vec![ff, d]),
            ("mlp.down_proj", vec![d, ff]),
            ("input_layernorm", vec![d]),
            ("post_attention_layernorm", vec![d]),
        ] {
            shapes.push((format!("model.layers.{layer}.{name}.weight"), shape));
        }
    }
    shapes
}

fn write_model(folder: &Path) -> std::io::Result<()> {
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": VOCABULARY,
        "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "intermediate_size": FEED_FORWARD,
        "num_attention_heads": 8, "num_key_value_heads": 8, "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
        "tie_word_embeddings": true, "attention_bias": false, "mlp_bias": false,
    });
    std::fs::write(folder.join("config.json"), config.to_string())?;
    let tokenizer = json!({
        "version": "1.0", "added_tokens": [], "pre_tokenizer": { "type": "Whitespace" },
        "model": { "type": "WordLevel", "vocab": { "a": 0, "b": 1 }, "unk_token": "a" },
    });
    std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string())?;
    let mut header = serde_json::Map::new();
    let mut end = 0;
    for (name, shape) in shapes() {
        let bytes = 4 * shape.iter().product::<usize>();
        let entry = json!({ "dtype": "F32", "shape": shape, "data_offsets": [end, end + bytes] });
        header.insert(name, entry);
        end += bytes;
    }
    let mut header = serde_json::Value::Object(header).to_string();
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let file = std::fs::File::create(folder.join("model.safetensors"))?;
    let mut file = std::io::BufWriter::new(file);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    let mut state = 1_u32;
    for _ in 0..end / 4 {
        // A linear congruence, its upper bits: weights between −0.05 and 0.05.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let weight = (state >> 8) as f32 / (1 << 24) as f32 * 0.1 - 0.05;
        file.write_all(&weight.to_le_bytes())?;
    }
    file.flush()
}

/// Bits of the log-probabilities of a few rows.
fn scores(model: &LocalModel) -> Vec<String> {
    let row = |i: u32| {
        (0..120)
            .map(|j| (i / 2 * 977 + j * 31 + i * j) % 16_000)
            .collect()
    };
    let rows: Vec<Vec<u32>> = (0..10).map(row).collect();
    let rows: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
    let scored = model.log_probs(&rows).into_iter();
    let scored = scored.flat_map(|row| row.expect("the row fits"));
    scored.map(|x| format!("{:016x}", x.to_bits())).collect()
}

#[test]
#[ignore = "the child of the other test"]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let (device, limits) = (DeviceChoice::Cpu, Limits::default());
    let model = LocalModel::open_within(folder.as_ref(), device, &limits, Some(BOUND));
    let model = model.unwrap_or_else(|e| panic!("{e}; {:?}", e.hint()));
    let scores = scores(&model).join(" ");
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nscores {scores}").expect("stdout is there");
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|line| line.starts_with("VmHWM:"));
    writeln!(out, "{}", peak.unwrap_or("VmHWM: unknown")).expect("stdout is there");
}

#[test]
fn a_model_larger_than_its_memory_keeps_to_it() {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    write_model(folder.path()).expect("room on the disk");
    let output = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "child", "--ignored", "--nocapture"])
        .env(FOLDER, folder.path())
        // Each thread has tokens of its own under way.
        .env("RAYON_NUM_THREADS", "2")
        .output()
        .expect("the child starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let found = text.lines().find_map(|line| line.strip_prefix("scores "));
    let found = found.expect("the child's scores");
    let model = LocalModel::open(folder.path(), DeviceChoice::Cpu, &Limits::default());
    let expected = scores(&model.expect("a sound model")).join(" ");
    assert!(found == expected, "the bits differ");
    let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    if cfg!(target_os = "linux") {
        let peak = kib.expect("the system says") * 1024;
        assert!(peak <= BOUND, "{peak} bytes at the peak, allowed {BOUND}");
    }
}
