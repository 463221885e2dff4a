//! Time and memory of `lineage` on a pair of models of 8 billion weights: synthetic ones in the
//! shapes of Llama 3 8B, BF16, written to a folder of the system's for temporary files (16 GB), the
//! suspect with noise in the last three bits of every weight.
//!
//! ```text
//! cargo bench -p filiation-cli --bench lineage
//! ```
//! Under `--test` a small model is used. The machine must be quiet.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};

const SHARDS: usize = 4;

struct Sizes {
    layers: usize,
    width: usize,
    feed_forward: usize,
    heads: usize,
    kv_heads: usize,
    vocabulary: usize,
}

const LARGE: Sizes = Sizes {
    layers: 32,
    width: 4096,
    feed_forward: 14_336,
    heads: 32,
    kv_heads: 8,
    vocabulary: 128_256,
};

const SMALL: Sizes = Sizes {
    layers: 4,
    width: 256,
    feed_forward: 512,
    heads: 4,
    kv_heads: 2,
    vocabulary: 512,
};

fn main() -> Result<()> {
    let small = std::env::args().any(|a| a == "--test");
    let sizes = if small { &SMALL } else { &LARGE };
    let scratch = tempfile::tempdir()?;
    let model = scratch.path().join("model");
    let pack = scratch.path().join("base.flnpack");
    fs::create_dir(&model)?;
    let mut out = std::io::stdout().lock();

    sizes.write(&model, false)?;
    let arguments = |words: &[&Path]| words.iter().map(|w| w.as_os_str().to_owned()).collect();
    let (said, base) = measured(arguments(&[
        Path::new("lineage"),
        Path::new("pack"),
        &model,
        Path::new("--out"),
        &pack,
    ]))?;
    writeln!(out, "{said}sketch the base: {base}")?;

    // In the place of the base: one model at a time fits most disks.
    sizes.write(&model, true)?;
    let (said, suspect) = measured(arguments(&[
        Path::new("lineage"),
        &model,
        Path::new("--against"),
        &pack,
    ]))?;
    let all = format!("layers 0-{} of", sizes.layers - 1);
    ensure!(said.contains(&all), "not all layers were found:\n{said}");
    writeln!(out, "{said}sketch and compare the suspect: {suspect}")?;
    writeln!(
        out,
        "the pair: {:.1} s, at most {:.0} MB, pack {:.1} MB",
        (base.time + suspect.time).as_secs_f64(),
        base.peak.max(suspect.peak),
        fs::metadata(&pack)?.len() as f64 / 1e6
    )?;
    Ok(())
}

struct Cost {
    time: Duration,
    /// Of resident memory, in MB.
    peak: f64,
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1} s, {:.0} MB", self.time.as_secs_f64(), self.peak)
    }
}

/// What the command says, and what it takes.
fn measured(arguments: Vec<std::ffi::OsString>) -> Result<(String, Cost)> {
    let began = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_filiation"))
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0.0;
    // What it says is short and fits the pipe.
    while child.try_wait()?.is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|l| l.strip_prefix("VmHWM:"));
        let kib = line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<f64>().ok());
        peak = kib.map_or(peak, |kib| kib / 1024.0);
        std::thread::sleep(Duration::from_millis(5));
    }
    let time = began.elapsed();
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "the command failed");
    Ok((String::from_utf8(output.stdout)?, Cost { time, peak }))
}

impl Sizes {
    /// Names and shapes, shard by shard.
    fn tensors(&self) -> Vec<Vec<(String, Vec<usize>)>> {
        let (d, ff) = (self.width, self.feed_forward);
        let kv = d / self.heads * self.kv_heads;
        let mut shards = vec![Vec::new(); SHARDS];
        shards[0].push(("model.embed_tokens.weight".into(), vec![self.vocabulary, d]));
        for layer in 0..self.layers {
            let mut add = |name: &str, shape: &[usize]| {
                let name = format!("model.layers.{layer}.{name}.weight");
                shards[layer * SHARDS / self.layers].push((name, shape.to_vec()));
            };
            add("self_attn.q_proj", &[d, d]);
            add("self_attn.k_proj", &[kv, d]);
            add("self_attn.v_proj", &[kv, d]);
            add("self_attn.o_proj", &[d, d]);
            add("mlp.gate_proj", &[ff, d]);
            add("mlp.up_proj", &[ff, d]);
            add("mlp.down_proj", &[d, ff]);
            add("input_layernorm", &[d]);
            add("post_attention_layernorm", &[d]);
        }
        shards[SHARDS - 1].push(("model.norm.weight".into(), vec![d]));
        shards[SHARDS - 1].push(("lm_head.weight".into(), vec![self.vocabulary, d]));
        shards
    }

    fn write(&self, folder: &Path, noise: bool) -> Result<()> {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut index = Map::new();
        for (shard, tensors) in self.tensors().into_iter().enumerate() {
            let name = format!("model-{:05}-of-{SHARDS:05}.safetensors", shard + 1);
            for (tensor, _) in &tensors {
                index.insert(tensor.clone(), json!(name));
            }
            write_shard(&folder.join(&name), &tensors, noise, &mut random)
                .with_context(|| format!("cannot write `{name}`"))?;
        }
        let put = |name: &str, value: Value| fs::write(folder.join(name), value.to_string());
        put(
            "model.safetensors.index.json",
            json!({ "metadata": {}, "weight_map": index }),
        )?;
        put(
            "config.json",
            json!({
                "architectures": ["LlamaForCausalLM"], "model_type": "llama",
                "hidden_size": self.width, "intermediate_size": self.feed_forward,
                "num_hidden_layers": self.layers, "num_attention_heads": self.heads,
                "num_key_value_heads": self.kv_heads, "vocab_size": self.vocabulary,
                "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 500_000.0,
                "hidden_act": "silu", "tie_word_embeddings": false
            }),
        )?;
        let tokens = (0..256).map(|id| (format!("t{id}"), json!(id)));
        put(
            "tokenizer.json",
            json!({
                "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
                "normalizer": null, "pre_tokenizer": { "type": "Whitespace" },
                "post_processor": null, "decoder": null,
                "model": { "type": "WordLevel", "vocab": tokens.collect::<Map<_, _>>(),
                    "unk_token": "t0" }
            }),
        )?;
        Ok(())
    }
}

fn write_shard(
    path: &Path,
    tensors: &[(String, Vec<usize>)],
    noise: bool,
    random: &mut Random,
) -> Result<()> {
    let (mut header, mut at) = (Map::new(), 0);
    for (name, shape) in tensors {
        let bytes = 2 * shape.iter().product::<usize>();
        header.insert(
            name.clone(),
            json!({ "dtype": "BF16", "shape": shape, "data_offsets": [at, at + bytes] }),
        );
        at += bytes;
    }
    let mut header = Value::from(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut out = BufWriter::with_capacity(1 << 22, File::create(path)?);
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    let mut changes = Random(0x2545_f491_4f6c_dd1d);
    for _ in 0..at / 8 {
        let mut four = random.four_weights();
        if noise {
            four ^= changes.next() & 0x0007_0007_0007_0007;
        }
        out.write_all(&four.to_le_bytes())?;
    }
    out.flush()?;
    Ok(())
}

/// xorshift64.
struct Random(u64);

impl Random {
    const fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Four BF16 numbers of either sign between 2⁻⁸ and 2⁻⁴.
    const fn four_weights(&mut self) -> u64 {
        // Exponents 119 to 122 are 0b0_1110111 and up: two of their bits are random.
        let r = self.next();
        let (sign_and_mantissa, exponent) = (r & 0x807f_807f_807f_807f, r & 0x0180_0180_0180_0180);
        sign_and_mantissa | (0x3b80_3b80_3b80_3b80 + exponent)
    }
}
