//! GGUF tensor names and what was done to the values, undone.

use candle_core::{Result, Tensor};

/// What a converter did to a tensor on the way into GGUF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    None,
    /// Rows of each query head interleaved, for llama.cpp's rotary pairs (2j, 2j + 1).
    QueryHeads,
    /// The same for key heads.
    KeyHeads,
    /// One added: Gemma's norms multiply by 1 + w.
    PlusOne,
}

/// The name that transformers gives a tensor, and the change to undo; `None` where unknown.
pub(super) fn transformers_name(architecture: &str, name: &str) -> Option<(String, Change)> {
    let gemma = architecture.starts_with("gemma");
    let norm = if gemma { Change::PlusOne } else { Change::None };
    match name {
        "token_embd.weight" => return Some(("model.embed_tokens.weight".into(), Change::None)),
        "output.weight" => return Some(("lm_head.weight".into(), Change::None)),
        "output_norm.weight" => return Some(("model.norm.weight".into(), norm)),
        _ => {}
    }
    let (layer, rest) = name.strip_prefix("blk.")?.split_once('.')?;
    let layer: u32 = layer.parse().ok()?;
    let (part, suffix) = rest.rsplit_once('.')?;
    if suffix != "weight" && suffix != "bias" {
        return None;
    }
    let llama = architecture == "llama";
    let (module, change) = match part {
        "attn_q" if llama => ("self_attn.q_proj", Change::QueryHeads),
        "attn_k" if llama => ("self_attn.k_proj", Change::KeyHeads),
        "attn_q" => ("self_attn.q_proj", Change::None),
        "attn_k" => ("self_attn.k_proj", Change::None),
        "attn_v" => ("self_attn.v_proj", Change::None),
        "attn_qkv" => ("self_attn.qkv_proj", Change::None),
        "attn_output" => ("self_attn.o_proj", Change::None),
        "attn_q_norm" => ("self_attn.q_norm", norm),
        "attn_k_norm" => ("self_attn.k_norm", norm),
        "ffn_gate" => ("mlp.gate_proj", Change::None),
        // Phi-3 keeps gate and up as one matrix under the name of up.
        "ffn_up" if architecture == "phi3" => ("mlp.gate_up_proj", Change::None),
        "ffn_up" => ("mlp.up_proj", Change::None),
        "ffn_down" => ("mlp.down_proj", Change::None),
        "attn_norm" => ("input_layernorm", norm),
        "ffn_norm" if gemma => ("pre_feedforward_layernorm", norm),
        "ffn_norm" => ("post_attention_layernorm", norm),
        "post_attention_norm" => ("post_attention_layernorm", norm),
        "post_ffw_norm" => ("post_feedforward_layernorm", norm),
        _ => return None,
    };
    Some((format!("model.layers.{layer}.{module}.{suffix}"), change))
}

/// Undoes `change` on `tensor`.
pub(super) fn undo(
    tensor: Tensor,
    change: Change,
    heads: usize,
    kv_heads: usize,
) -> Result<Tensor> {
    match change {
        Change::None => Ok(tensor),
        Change::PlusOne => tensor - 1.0,
        Change::QueryHeads => split_pairs(&tensor, heads),
        Change::KeyHeads => split_pairs(&tensor, kv_heads),
    }
}

// Row 2j + p of a head goes back to row p · head_dim/2 + j.
fn split_pairs(tensor: &Tensor, heads: usize) -> Result<Tensor> {
    let rows = tensor.dim(0)?;
    let columns = tensor.elem_count() / rows.max(1);
    if heads == 0 || rows % (2 * heads) != 0 {
        candle_core::bail!("{rows} rows do not split into {heads} heads of an even size");
    }
    tensor
        .reshape((heads, rows / heads / 2, 2, columns))?
        .transpose(1, 2)?
        .contiguous()?
        .reshape(tensor.shape())
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn interleaved_rows_are_put_back() {
        // Two heads of four rows: a converter writes rows 0 2 1 3 of each.
        let written = [0_f32, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0];
        let tensor = Tensor::new(&written, &Device::Cpu).expect("a tensor");
        let back = undo(tensor, Change::QueryHeads, 2, 1).expect("rows split");
        let back: Vec<f32> = back.to_vec1().expect("one dimension");
        assert_eq!(back, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
    }

    #[test]
    fn names_follow_the_architecture() {
        let name = transformers_name;
        assert_eq!(
            name("llama", "blk.3.attn_k.weight"),
            Some((
                "model.layers.3.self_attn.k_proj.weight".into(),
                Change::KeyHeads
            ))
        );
        assert_eq!(
            name("gemma3", "blk.0.ffn_norm.weight"),
            Some((
                "model.layers.0.pre_feedforward_layernorm.weight".into(),
                Change::PlusOne
            ))
        );
        assert_eq!(name("llama", "blk.x.attn_k.weight"), None);
        assert_eq!(name("llama", "blk.0.ffn_gate_exps.weight"), None);
    }
}
