use super::{Architecture, ModelConfig, NormKind, Placement, QkNorm};

/// A tensor that a checkpoint must, or may, hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedTensor {
    /// Its name in the file.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Whether a checkpoint is whole without it (a tied head, a stored mask).
    pub optional: bool,
}

struct List(Vec<ExpectedTensor>);

impl List {
    fn need(&mut self, name: String, shape: &[usize]) {
        self.0.push(ExpectedTensor {
            name,
            shape: shape.to_vec(),
            optional: false,
        });
    }

    fn may(&mut self, name: String, shape: &[usize]) {
        self.0.push(ExpectedTensor {
            name,
            shape: shape.to_vec(),
            optional: true,
        });
    }

    fn linear(&mut self, name: &str, out: usize, input: usize, bias: bool) {
        self.need(format!("{name}.weight"), &[out, input]);
        if bias {
            self.need(format!("{name}.bias"), &[out]);
        }
    }

    // GPT-2 stores linear maps as (input, output).
    fn conv1d(&mut self, name: &str, input: usize, out: usize) {
        self.need(format!("{name}.weight"), &[input, out]);
        self.need(format!("{name}.bias"), &[out]);
    }

    fn norm(&mut self, name: &str, width: usize, kind: NormKind) {
        self.need(format!("{name}.weight"), &[width]);
        if kind == NormKind::Layer {
            self.need(format!("{name}.bias"), &[width]);
        }
    }
}

pub(super) fn expected(config: &ModelConfig) -> Vec<ExpectedTensor> {
    let mut list = List(Vec::new());
    match config.architecture {
        Architecture::Gpt2 => gpt2(config, &mut list),
        Architecture::GptNeoX => gpt_neox(config, &mut list),
        _ => llama_like(config, &mut list),
    }
    list.0
}

fn head(config: &ModelConfig, name: &str, list: &mut List) {
    let shape = [config.vocabulary, config.width];
    if config.tied {
        list.may(name.into(), &shape);
    } else {
        list.need(name.into(), &shape);
    }
}

fn llama_like(config: &ModelConfig, list: &mut List) {
    let (d, ff) = (config.width, config.feed_forward);
    list.need("model.embed_tokens.weight".into(), &[config.vocabulary, d]);
    for layer in 0..config.layers.len() {
        let at = format!("model.layers.{layer}");
        attention(config, &format!("{at}.self_attn"), list);
        let bias = config.biases.feed_forward;
        if config.architecture == Architecture::Phi3 {
            list.linear(&format!("{at}.mlp.gate_up_proj"), 2 * ff, d, bias);
        } else {
            list.linear(&format!("{at}.mlp.gate_proj"), ff, d, bias);
            list.linear(&format!("{at}.mlp.up_proj"), ff, d, bias);
        }
        list.linear(&format!("{at}.mlp.down_proj"), d, ff, bias);
        let norms: &[&str] = match config.placement {
            Placement::Before | Placement::Parallel => {
                &["input_layernorm", "post_attention_layernorm"]
            }
            Placement::After => &["post_attention_layernorm", "post_feedforward_layernorm"],
            Placement::Around => &[
                "input_layernorm",
                "post_attention_layernorm",
                "pre_feedforward_layernorm",
                "post_feedforward_layernorm",
            ],
        };
        for norm in norms {
            list.norm(&format!("{at}.{norm}"), d, config.norm.kind);
        }
        // Old Llama exports store the rotary frequencies; they are recomputed.
        list.may(
            format!("{at}.self_attn.rotary_emb.inv_freq"),
            &[config.head_dim / 2],
        );
    }
    list.norm("model.norm", d, config.norm.kind);
    head(config, "lm_head.weight", list);
}

fn attention(config: &ModelConfig, at: &str, list: &mut List) {
    let (d, hd) = (config.width, config.head_dim);
    let (q, kv) = (config.heads * hd, config.kv_heads * hd);
    let bias = config.biases.qkv;
    if config.architecture == Architecture::Phi3 {
        list.linear(&format!("{at}.qkv_proj"), q + 2 * kv, d, bias);
    } else {
        list.linear(&format!("{at}.q_proj"), q, d, bias);
        list.linear(&format!("{at}.k_proj"), kv, d, bias);
        list.linear(&format!("{at}.v_proj"), kv, d, bias);
    }
    list.linear(&format!("{at}.o_proj"), d, q, config.biases.output);
    let (q_norm, k_norm) = match config.qk_norm {
        QkNorm::None => return,
        QkNorm::PerHead => (hd, hd),
        QkNorm::Whole => (q, kv),
    };
    list.norm(&format!("{at}.q_norm"), q_norm, config.norm.kind);
    list.norm(&format!("{at}.k_norm"), k_norm, config.norm.kind);
}

fn gpt2(config: &ModelConfig, list: &mut List) {
    let (d, ff, context) = (config.width, config.feed_forward, config.positions);
    list.need("transformer.wte.weight".into(), &[config.vocabulary, d]);
    list.need("transformer.wpe.weight".into(), &[context, d]);
    for layer in 0..config.layers.len() {
        let at = format!("transformer.h.{layer}");
        list.norm(&format!("{at}.ln_1"), d, NormKind::Layer);
        list.conv1d(&format!("{at}.attn.c_attn"), d, 3 * d);
        list.conv1d(&format!("{at}.attn.c_proj"), d, d);
        list.norm(&format!("{at}.ln_2"), d, NormKind::Layer);
        list.conv1d(&format!("{at}.mlp.c_fc"), d, ff);
        list.conv1d(&format!("{at}.mlp.c_proj"), ff, d);
        list.may(format!("{at}.attn.bias"), &[1, 1, context, context]);
        list.may(format!("{at}.attn.masked_bias"), &[]);
    }
    list.norm("transformer.ln_f", d, NormKind::Layer);
    head(config, "lm_head.weight", list);
}

fn gpt_neox(config: &ModelConfig, list: &mut List) {
    let (d, ff, context) = (config.width, config.feed_forward, config.positions);
    list.need("gpt_neox.embed_in.weight".into(), &[config.vocabulary, d]);
    for layer in 0..config.layers.len() {
        let at = format!("gpt_neox.layers.{layer}");
        list.norm(&format!("{at}.input_layernorm"), d, NormKind::Layer);
        list.norm(
            &format!("{at}.post_attention_layernorm"),
            d,
            NormKind::Layer,
        );
        let bias = config.biases.qkv;
        list.linear(&format!("{at}.attention.query_key_value"), 3 * d, d, bias);
        list.linear(&format!("{at}.attention.dense"), d, d, config.biases.output);
        list.linear(&format!("{at}.mlp.dense_h_to_4h"), ff, d, true);
        list.linear(&format!("{at}.mlp.dense_4h_to_h"), d, ff, true);
        list.may(format!("{at}.attention.bias"), &[1, 1, context, context]);
        list.may(format!("{at}.attention.masked_bias"), &[]);
        let rotated = config.layers[layer].rope.as_ref().map_or(0, |r| r.dims);
        list.may(
            format!("{at}.attention.rotary_emb.inv_freq"),
            &[rotated / 2],
        );
    }
    list.norm("gpt_neox.final_layer_norm", d, NormKind::Layer);
    head(config, "embed_out.weight", list);
}
