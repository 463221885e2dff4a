//! Where each architecture keeps what, and which of its axes a disguise can move.

use std::ops::Range;

use filiation_checkpoint::config::{Architecture, ModelConfig, Placement};
use filiation_checkpoint::{CheckpointError, ModelWeights};
use ndarray::{Array2, s};

use super::tensor::Tensor;

/// What the positions along an axis of a tensor are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Axis {
    /// Nothing that can be reordered apart: tokens, learned positions, dimensions of a head.
    Fixed,
    /// Query heads, each with its dimensions.
    Queries,
    /// Key or value heads.
    Keys,
    /// Queries, keys and values in one tensor.
    Fused,
    /// Hidden dimensions, whose sign may be flipped.
    Hidden,
    /// Hidden dimensions of a scale (a norm's weight), which keeps its sign.
    HiddenScale,
    /// Neurons of the feed-forward part.
    Neuron,
    /// Gate neurons, then up neurons, in the same order.
    NeuronTwice,
}

/// The axes of tensor `name`, outermost first; a vector's second is `Fixed`.
pub(super) fn axes(architecture: Architecture, name: &str) -> (Axis, Axis) {
    use Axis::{Fixed, Fused, Hidden, HiddenScale, Keys, Neuron, NeuronTwice, Queries};
    let (path, kind) = name.rsplit_once('.').unwrap_or(("", name));
    let weight = kind == "weight";
    let module = path.rsplit('.').next().unwrap_or(path);
    let within = |block: &str| path.split('.').any(|part| part == block);
    // GPT-2 stores linear maps as (input, output).
    let conv = architecture == Architecture::Gpt2;
    let linear = |output: Axis, input: Axis| match (weight, conv) {
        (false, _) => (output, Fixed),
        (true, true) => (input, output),
        (true, false) => (output, input),
    };
    match module {
        "embed_tokens" | "embed_in" | "embed_out" | "lm_head" | "wte" | "wpe" => (Fixed, Hidden),
        "q_proj" => linear(Queries, Hidden),
        "k_proj" | "v_proj" => linear(Keys, Hidden),
        "qkv_proj" | "query_key_value" | "c_attn" => linear(Fused, Hidden),
        "o_proj" | "dense" => linear(Hidden, Queries),
        "c_proj" if within("attn") => linear(Hidden, Queries),
        "gate_proj" | "up_proj" | "dense_h_to_4h" | "c_fc" => linear(Neuron, Hidden),
        "gate_up_proj" => linear(NeuronTwice, Hidden),
        "down_proj" | "dense_4h_to_h" | "c_proj" => linear(Hidden, Neuron),
        "q_norm" => (Queries, Fixed),
        "k_norm" => (Keys, Fixed),
        _ if weight => (HiddenScale, Fixed),
        _ => (Hidden, Fixed),
    }
}

/// The layer of tensor `name`, where it belongs to one: its first all-digit component.
pub(super) fn layer_of(name: &str) -> Option<usize> {
    name.split('.').find_map(|part| part.parse().ok())
}

/// What follows the layer in `name`; all of it where it belongs to none.
pub(super) fn within_layer(name: &str) -> &str {
    let layer = name.split('.').find(|part| part.parse::<usize>().is_ok());
    layer
        .and_then(|layer| name.split_once(&format!(".{layer}.")))
        .map_or(name, |(_, rest)| rest)
}

/// `name` with its layer replaced.
pub(super) fn in_layer(name: &str, layer: usize) -> String {
    let mut done = false;
    let parts: Vec<_> = name
        .split('.')
        .map(|part| {
            if !done && part.parse::<usize>().is_ok() {
                done = true;
                layer.to_string()
            } else {
                part.to_owned()
            }
        })
        .collect();
    parts.join(".")
}

/// Name of the token embedding.
pub(super) const fn embedding(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::Gpt2 => "transformer.wte.weight",
        Architecture::GptNeoX => "gpt_neox.embed_in.weight",
        _ => "model.embed_tokens.weight",
    }
}

/// A matrix of a layer that the statistics look at, whatever tensor holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Query projection, outputs × hidden.
    Query,
    /// Key projection, outputs × hidden.
    Key,
    /// What a neuron reads, neurons × hidden.
    Up,
    /// A second view of each neuron, neurons × hidden: its gate, or what it writes where there
    /// are no gates.
    Twin,
}

/// Reads `part` of a layer in `f32`.
pub(super) fn read(
    of: &dyn ModelWeights,
    layer: usize,
    part: Part,
) -> Result<Array2<f32>, CheckpointError> {
    let config = of.config();
    match config.architecture {
        Architecture::Gpt2 => gpt2(of, layer, part),
        Architecture::GptNeoX => gpt_neox(of, layer, part),
        _ => llama_like(of, layer, part),
    }
}

/// Where the rows of `part` lie, in layouts that keep one row an output.
fn place(config: &ModelConfig, layer: usize, part: Part) -> Option<(String, Range<usize>)> {
    if matches!(
        config.architecture,
        Architecture::Gpt2 | Architecture::GptNeoX
    ) {
        return None;
    }
    let fused = config.architecture == Architecture::Phi3;
    let (q, kv) = (
        config.heads * config.head_dim,
        config.kv_heads * config.head_dim,
    );
    let ff = config.feed_forward;
    let (name, rows) = match (part, fused) {
        (Part::Query, false) => ("self_attn.q_proj", 0..q),
        (Part::Key, false) => ("self_attn.k_proj", 0..kv),
        (Part::Query, true) => ("self_attn.qkv_proj", 0..q),
        (Part::Key, true) => ("self_attn.qkv_proj", q..q + kv),
        (Part::Up, false) => ("mlp.up_proj", 0..ff),
        (Part::Twin, false) if config.gated => ("mlp.gate_proj", 0..ff),
        (Part::Twin, true) => ("mlp.gate_up_proj", 0..ff),
        (Part::Up, true) => ("mlp.gate_up_proj", ff..2 * ff),
        (Part::Twin, false) => return None,
    };
    Some((format!("model.layers.{layer}.{name}.weight"), rows))
}

fn llama_like(
    of: &dyn ModelWeights,
    layer: usize,
    part: Part,
) -> Result<Array2<f32>, CheckpointError> {
    match place(of.config(), layer, part) {
        Some((name, rows)) => Tensor::of(of, &name)?.rows(rows),
        None => {
            let down = format!("model.layers.{layer}.mlp.down_proj.weight");
            Ok(whole(of, &down)?.reversed_axes())
        }
    }
}

/// Some rows of `part`, ascending; where the layout allows, nothing else is read.
pub(super) fn read_rows(
    of: &dyn ModelWeights,
    layer: usize,
    part: Part,
    rows: &[usize],
) -> Result<Array2<f32>, CheckpointError> {
    let Some((name, all)) = place(of.config(), layer, part) else {
        return Ok(read(of, layer, part)?.select(ndarray::Axis(0), rows));
    };
    let tensor = Tensor::of(of, &name)?;
    let mut picked = Array2::zeros((rows.len(), tensor.columns()));
    for (mut into, &row) in picked.rows_mut().into_iter().zip(rows) {
        let row = all.start + row;
        into.assign(&tensor.rows(row..row + 1)?.row(0));
    }
    Ok(picked)
}

/// Calls `with` with the rows of `part`, some at a time, in order.
pub(super) fn each_block(
    of: &dyn ModelWeights,
    layer: usize,
    part: Part,
    mut with: impl FnMut(Array2<f32>),
) -> Result<(), CheckpointError> {
    /// Rows at a time: bounds memory.
    const ROWS: usize = 1024;
    let Some((name, all)) = place(of.config(), layer, part) else {
        with(read(of, layer, part)?);
        return Ok(());
    };
    let tensor = Tensor::of(of, &name)?;
    for start in all.clone().step_by(ROWS) {
        with(tensor.rows(start..(start + ROWS).min(all.end))?);
    }
    Ok(())
}

/// Names of the norms before attention and before the feed-forward part, where there are any.
pub(super) fn norms(config: &ModelConfig, layer: usize) -> (Option<String>, Option<String>) {
    let (at, before, after) = match config.architecture {
        Architecture::Gpt2 => ("transformer.h", "ln_1", "ln_2"),
        Architecture::GptNeoX => (
            "gpt_neox.layers",
            "input_layernorm",
            "post_attention_layernorm",
        ),
        _ => (
            "model.layers",
            "input_layernorm",
            match config.placement {
                Placement::Around => "pre_feedforward_layernorm",
                _ => "post_attention_layernorm",
            },
        ),
    };
    let name = |norm| Some(format!("{at}.{layer}.{norm}.weight"));
    match config.placement {
        Placement::After => (None, None),
        _ => (name(before), name(after)),
    }
}

fn gpt2(of: &dyn ModelWeights, layer: usize, part: Part) -> Result<Array2<f32>, CheckpointError> {
    let d = of.config().width;
    let at = format!("transformer.h.{layer}");
    let (name, outputs) = match part {
        Part::Query => ("attn.c_attn", Some(0..d)),
        Part::Key => ("attn.c_attn", Some(d..2 * d)),
        Part::Up => ("mlp.c_fc", None),
        Part::Twin => return whole(of, &format!("{at}.mlp.c_proj.weight")),
    };
    let stored = whole(of, &format!("{at}.{name}.weight"))?;
    let outputs = outputs.unwrap_or(0..stored.ncols());
    Ok(stored.slice_move(s![.., outputs]).reversed_axes())
}

fn gpt_neox(
    of: &dyn ModelWeights,
    layer: usize,
    part: Part,
) -> Result<Array2<f32>, CheckpointError> {
    let at = format!("gpt_neox.layers.{layer}");
    let tensor = |name: &str| whole(of, &format!("{at}.{name}.weight"));
    match part {
        Part::Query => Ok(interleaved(
            &tensor("attention.query_key_value")?,
            of.config(),
            0,
        )),
        Part::Key => Ok(interleaved(
            &tensor("attention.query_key_value")?,
            of.config(),
            1,
        )),
        Part::Up => tensor("mlp.dense_h_to_4h"),
        Part::Twin => Ok(tensor("mlp.dense_4h_to_h")?.reversed_axes()),
    }
}

/// Rows of query (`which` 0) or key (1) where each head stores its query, key and value in turn.
fn interleaved(all: &Array2<f32>, config: &ModelConfig, which: usize) -> Array2<f32> {
    let hd = config.head_dim;
    let rows: Vec<usize> = (0..config.heads)
        .flat_map(|head| (0..hd).map(move |i| (3 * head + which) * hd + i))
        .collect();
    all.select(ndarray::Axis(0), &rows)
}

fn whole(of: &dyn ModelWeights, name: &str) -> Result<Array2<f32>, CheckpointError> {
    Tensor::of(of, name)?.all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_found_and_replaced() {
        assert_eq!(layer_of("model.layers.12.mlp.up_proj.weight"), Some(12));
        assert_eq!(layer_of("model.norm.weight"), None);
        assert_eq!(within_layer("model.layers.12.mlp.up_proj"), "mlp.up_proj");
        assert_eq!(within_layer("model.norm"), "model.norm");
        assert_eq!(
            in_layer("transformer.h.3.ln_1.bias", 5),
            "transformer.h.5.ln_1.bias"
        );
    }

    #[test]
    fn axes_follow_the_layout() {
        use Architecture::{Gpt2, GptNeoX, Llama, Phi3, Qwen3};
        use Axis::{Fixed, Fused, Hidden, HiddenScale, Keys, Neuron, NeuronTwice, Queries};
        for (architecture, name, expected) in [
            (
                Llama,
                "model.layers.0.self_attn.o_proj.weight",
                (Hidden, Queries),
            ),
            (
                Llama,
                "model.layers.0.self_attn.v_proj.weight",
                (Keys, Hidden),
            ),
            (
                Llama,
                "model.layers.0.mlp.down_proj.weight",
                (Hidden, Neuron),
            ),
            (Llama, "model.norm.weight", (HiddenScale, Fixed)),
            (Llama, "model.embed_tokens.weight", (Fixed, Hidden)),
            (
                Phi3,
                "model.layers.0.mlp.gate_up_proj.weight",
                (NeuronTwice, Hidden),
            ),
            (
                Phi3,
                "model.layers.0.self_attn.qkv_proj.weight",
                (Fused, Hidden),
            ),
            (
                Gpt2,
                "transformer.h.0.attn.c_proj.weight",
                (Queries, Hidden),
            ),
            (Gpt2, "transformer.h.0.mlp.c_proj.weight", (Neuron, Hidden)),
            (Gpt2, "transformer.h.0.mlp.c_fc.bias", (Neuron, Fixed)),
            (Gpt2, "transformer.h.0.ln_1.bias", (Hidden, Fixed)),
            (
                GptNeoX,
                "gpt_neox.layers.0.attention.dense.bias",
                (Hidden, Fixed),
            ),
            (
                Qwen3,
                "model.layers.0.self_attn.k_norm.weight",
                (Keys, Fixed),
            ),
        ] {
            assert_eq!(axes(architecture, name), expected, "{name}");
        }
    }
}
