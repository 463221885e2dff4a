use std::path::Path;

use candle_core::{Device, Tensor};
use filiation_checkpoint::{Checkpoint, Limits};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use super::*;
use crate::LoadError;
use crate::decoder::{Budget, Cache, Decoder, budget};
use crate::source::WeightData;

const PARTS: usize = crate::decoder::host::PART;

/// Random weights of whatever a configuration calls for.
struct Random(ModelConfig);

impl WeightSource for Random {
    fn tensor(&self, name: &str) -> Result<(Vec<usize>, WeightData), LoadError> {
        let tensors = self.0.expected_tensors();
        let place = tensors.iter().position(|tensor| tensor.name == name);
        let place = place.ok_or_else(|| LoadError::MissingTensor { name: name.into() })?;
        let shape = tensors[place].shape.clone();
        let mut draw = ChaCha8Rng::seed_from_u64(place as u64);
        let count = shape.iter().product();
        let values = (0..count)
            .map(|_| draw.random::<f32>() * 0.4 - 0.2)
            .collect();
        Ok((shape, WeightData::Owned(Arc::new(values))))
    }

    fn contains(&self, name: &str) -> bool {
        self.0.expected_tensors().iter().any(|t| t.name == name)
    }
}

/// Eight layers of 0.4 MB, and a vocabulary of several parts.
fn random(tied: bool) -> (ModelConfig, Source) {
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama",
        "vocab_size": 2 * PARTS + 100, "hidden_size": 96, "num_hidden_layers": 8,
        "intermediate_size": 256, "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "hidden_act": "silu", "tie_word_embeddings": tied, "attention_bias": false,
        "mlp_bias": false,
    });
    let config = ModelConfig::from_json(&config).expect("a sound configuration");
    (config.clone(), Arc::new(Random(config)))
}

/// Every architecture that there are goldens of.
fn cases() -> Vec<(ModelConfig, Source)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity");
    let entries = std::fs::read_dir(root).expect("the folder of goldens");
    let folders = entries.map(|entry| entry.expect("an entry").path());
    let mut cases = vec![random(true), random(false)];
    for folder in folders.filter(|folder| folder.join("golden.json").exists()) {
        let checkpoint = Arc::new(Checkpoint::open(&folder, &Limits::default()).expect("sound"));
        cases.push((checkpoint.config().clone(), Arc::new(checkpoint)));
    }
    assert_eq!(cases.len(), 16);
    cases
}

/// Everything that a decoder gives for a few rows: states, logits, log-probabilities, and the
/// logits of two steps over a cache.
fn all(decoder: &Decoder) -> Vec<Vec<f64>> {
    let rows: [&[u32]; 3] = [&[5, 9, 2, 7, 1, 30], &[5, 9, 2, 7, 1, 8, 3], &[40]];
    let mut out = Vec::new();
    let mut push = |tensor: &Tensor| {
        let values = tensor.flatten_all().and_then(|x| x.to_vec1::<f32>());
        out.push(values.expect("f32").into_iter().map(f64::from).collect());
    };
    let hidden = decoder.hidden(&rows, None, &[0, 1, 2]).expect("runs");
    hidden.layers.iter().for_each(&mut push);
    push(&decoder.logits(&hidden.states).expect("runs"));
    let mut cache: Cache = decoder.cache(3);
    for step in [rows, [&[3], &[4, 4], &[]]] {
        let states = decoder
            .hidden(&step, Some(&mut cache), &[])
            .expect("runs")
            .states;
        push(&decoder.logits(&states).expect("runs"));
    }
    let targets: Vec<u32> = (0..14).map(|i| i * 4).collect();
    out.push(decoder.logprobs(&hidden.states, &targets).expect("runs"));
    out
}

#[test]
fn layers_made_one_after_the_other_change_no_bit() {
    for (config, source) in cases() {
        let name = config.architecture.class();
        let held = Decoder::load(&config, &*source, &Device::Cpu).expect("loads");
        let expected = all(&held);
        for ahead in [true, false] {
            let streamed = Decoder::streamed(&config, &source, &Device::Cpu, (ahead, PARTS));
            assert!(all(&streamed.expect("loads")) == expected, "{name}");
        }
    }
}

#[test]
fn other_devices_stream_too() {
    for (config, source) in cases() {
        let on = crate::decoder::OnDevice::new(Device::Cpu);
        let network = super::super::load::streamed(&config, &source, &on, (false, PARTS));
        let network = Box::new(network.expect("loads"));
        let streamed = Decoder::new(&config, crate::decoder::Inner::Device(network, on));
        let held = Decoder::load_plain(&config, &*source, &Device::Cpu).expect("loads");
        for (found, expected) in all(&streamed).iter().zip(all(&held)) {
            let off = found.iter().zip(&expected).map(|(a, b)| (a - b).abs());
            let worst = off.fold(0.0, f64::max);
            // candle's products round as their shapes have it.
            assert!(worst <= 1e-5, "{}: {worst:e}", config.architecture.class());
        }
    }
}

#[test]
fn what_fits_is_held_and_what_does_not_is_streamed() {
    let (config, source) = random(false);
    let within = |space| Budget::within(&config, &*source, space);
    let Err(LoadError::Memory { least, space: 0 }) = within(0) else {
        panic!("nothing fits in no space");
    };
    assert!(within(least - 1).is_err());
    let tight = within(least).expect("the least will do");
    assert!(
        matches!(tight.layers, budget::Layers::Streamed { .. }),
        "{tight:?}"
    );
    assert!(tight.longest >= Some(256) && tight.logits > 0);
    let wide = within(100 * least).expect("much will do");
    assert_eq!(wide.layers, budget::Layers::Held);
    assert_eq!(wide.tokens, Budget::unbounded(&config).tokens);
    let decoder = Decoder::load_within(&config, source.clone(), &Device::Cpu, least);
    let held = Decoder::load(&config, &*source, &Device::Cpu).expect("loads");
    assert!(all(&decoder.expect("loads")) == all(&held));
}
