//! FP8 with scales. Element 0x38 of E4M3 is 1, 0x40 is 2, 0xb8 is −1.

use super::*;

const FEW: &str = "model.layers.0.mlp.up_proj.weight";

/// [`tensors`], matrices but the embedding in FP8, with the scales that `scale` gives of each.
fn fp8(scale: impl Fn(&str, &[usize]) -> Vec<Tensor>) -> Vec<Tensor> {
    let mut all = Vec::new();
    for mut tensor in tensors() {
        if tensor.2.len() == 2 && !tensor.0.contains("embed") {
            tensor.1 = "F8_E4M3";
            let codes = [0x38, 0x40, 0xb8].iter().copied().cycle();
            tensor.3 = codes.take(tensor.2.iter().product()).collect();
            all.extend(scale(&tensor.0, &tensor.2));
        }
        all.push(tensor);
    }
    all
}

fn factors(name: String, shape: &[usize]) -> Tensor {
    let count = shape.iter().product::<usize>();
    let values = (1..=count).flat_map(|i| (i as f32).to_le_bytes());
    (name, "F32", shape.to_vec(), values.collect())
}

fn quantised(quantisation: Value, all: &[Tensor]) -> TempDir {
    let folder = folder();
    let mut config = config();
    config["quantization_config"] = quantisation;
    write(&folder, "config.json", config.to_string());
    write(&folder, "model.safetensors", safetensors(all));
    folder
}

fn blocks(size: Value) -> (Value, Vec<Tensor>) {
    let all = fp8(|name, shape| {
        let shape = [shape[0].div_ceil(4), shape[1].div_ceil(3)];
        vec![factors(format!("{name}_scale_inv"), &shape)]
    });
    let config =
        json!({ "quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": size });
    (config, all)
}

#[test]
fn a_factor_for_each_block() {
    let (config, all) = blocks(json!([4, 3]));
    let found = open(&quantised(config, &all)).expect("sound");
    // 6 x 4 in blocks of 4 x 3: factors 1 2 / 3 4; codes 1, 2, −1 over and over.
    let codes = [1.0, 2.0, -1.0].iter().copied().cycle();
    let expected: Vec<f32> = codes
        .take(24)
        .enumerate()
        .map(|(i, code)| code * [[1.0, 2.0], [3.0, 4.0]][i / 4 / 4][i % 4 / 3])
        .collect();
    let view = found.tensor(FEW).expect("there");
    assert_eq!(view.to_f32(), expected);
    // A part that begins within a block and ends in the next.
    assert_eq!(view.rows(3..5).to_f32(), expected[12..20]);
    assert_eq!(view.rows(3..5).rows(1..2).to_f32().len(), 4);
    let rows = ModelWeights::rows(&found, FEW, 4..9).expect("there");
    assert_eq!(rows, expected[16..]);
    let [Finding::ScaledFp8 { count }] = found.findings() else {
        panic!("{:?}", found.findings());
    };
    assert_eq!(*count, 14);
    let plain = open(&folder()).expect("sound");
    assert_eq!(found.identity().parameters, plain.identity().parameters);
}

#[test]
fn a_factor_for_each_output_or_one_for_all() {
    let config = json!({
        "quant_method": "compressed-tensors", "format": "float-quantized",
        "config_groups": { "group_0": { "weights": { "num_bits": 8, "type": "float" } } },
    });
    let first = |all: &[Tensor]| {
        let found = open(&quantised(config.clone(), all)).expect("sound");
        let values = found.tensor(FEW).expect("there").to_f32();
        values.chunks(4).map(|row| row[0]).collect::<Vec<_>>()
    };
    let codes = [1.0, 2.0, -1.0, 1.0, 2.0, -1.0];
    for shape in [|n: usize| vec![n, 1], |n: usize| vec![n]] {
        let all = fp8(|name, of| {
            let activations = factors(name.replace("weight", "input_scale"), &[1]);
            vec![factors(format!("{name}_scale"), &shape(of[0])), activations]
        });
        let expected: Vec<f32> = (1..=6).map(|i| i as f32 * codes[i - 1]).collect();
        assert_eq!(first(&all), expected);
    }
    let all = fp8(|name, _| vec![factors(format!("{name}_scale"), &[])]);
    assert_eq!(first(&all), codes);
}

#[test]
fn what_does_not_fit_is_refused() {
    let (config, all) = blocks(json!([4, 3]));
    let told = |all: &[Tensor], config: &Value, texts: &[&str]| {
        let error = refused(&quantised(config.clone(), all)).to_string();
        for text in texts {
            assert!(error.contains(text), "`{text}` is not in {error}");
        }
    };
    let scale = format!("{FEW}_scale_inv");
    let with = |change: &dyn Fn(&mut Tensor)| {
        let mut all = all.clone();
        change(all.iter_mut().find(|t| t.0 == scale).expect("there"));
        all
    };
    told(
        &all,
        &json!({ "quant_method": "fp8", "weight_block_size": [2, 2] }),
        &["_scale_inv", "shape"],
    );
    told(
        &all,
        &json!({ "quant_method": "fp8", "weight_block_size": [0, 2] }),
        &["weight_block_size", "[0,2]"],
    );
    told(
        &all,
        &json!({ "quant_method": "gptq", "bits": 4 }),
        &["quantization_config"],
    );
    told(
        &with(&|t| t.0 = "model.layers.0.mlp.scale".into()),
        &config,
        &["_scale`"],
    );
    told(
        &with(&|t| t.3[..4].fill(0)),
        &config,
        &[&scale, "element 0"],
    );
    told(&with(&|t| t.1 = "I32"), &config, &[&scale, "I32"]);
    let mut rotated = config.clone();
    rotated["transform_config"] = json!({ "config_groups": { "R1": { "type": "hadamard" } } });
    told(&all, &rotated, &["quantization_config.transform_config"]);
    let weights = json!({ "num_bits": 8, "type": "float", "symmetric": false });
    let shifted = json!({
        "quant_method": "compressed-tensors",
        "config_groups": { "group_0": { "weights": weights } },
    });
    told(&all, &shifted, &["quantization_config"]);
    let mut more = all.clone();
    more.push(factors("model.layers.0.x.weight_scale".into(), &[1]));
    told(&more, &config, &["model.layers.0.x.weight_scale"]);
    assert!(refused(&quantised(config, &more)).hint().is_some());
}
