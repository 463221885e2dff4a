//! Whole numbers of a few bits, held against what numpy makes of them by the definition of each form
//! (`scripts/packed_reference.py`).

use super::*;

const STEM: &str = "model.layers.0.mlp.up_proj.";

/// The cases of the script.
fn cases() -> Vec<Value> {
    serde_json::from_str(include_str!("packed.json")).expect("what the script prints")
}

fn size(value: &Value) -> usize {
    value.as_u64().expect("a size") as usize
}

/// One tensor of a case.
fn part(part: &Value) -> Tensor {
    let shape = part["shape"].as_array().expect("a shape");
    let values = part["values"].as_array().expect("numbers");
    let values = values.iter().map(|v| v.as_i64().expect("a whole number"));
    let (dtype, bytes): (_, Vec<u8>) = match part["dtype"].as_str() {
        Some("I32") => (
            "I32",
            values.flat_map(|v| (v as i32).to_le_bytes()).collect(),
        ),
        Some("I64") => ("I64", values.flat_map(i64::to_le_bytes).collect()),
        _ => (
            "F16",
            values.flat_map(|v| (v as u16).to_le_bytes()).collect(),
        ),
    };
    let name = part["name"].as_str().expect("a name");
    (
        format!("{STEM}{name}"),
        dtype,
        shape.iter().map(size).collect(),
        bytes,
    )
}

/// A folder in which one matrix is packed as `case` says.
fn folder_of(case: &Value, change: impl Fn(&mut Value, &mut Vec<Tensor>)) -> TempDir {
    let mut plain = config();
    plain["hidden_size"] = case["shape"][1].clone();
    plain["intermediate_size"] = case["shape"][0].clone();
    let needed = ModelConfig::from_json(&plain)
        .expect("a plain Llama")
        .expected_tensors();
    let needed = needed.into_iter().filter(|t| !t.optional);
    let mut all: Vec<Tensor> = needed
        .filter(|t| t.name != format!("{STEM}weight"))
        .map(|t| {
            let bytes = 0.5_f32.to_le_bytes().repeat(t.shape.iter().product());
            (t.name, "F32", t.shape, bytes)
        })
        .collect();
    all.extend(case["parts"].as_array().expect("parts").iter().map(part));
    plain["quantization_config"] = case["config"].clone();
    change(&mut plain, &mut all);
    let folder = TempDir::new().expect("a temporary folder");
    write(&folder, "config.json", plain.to_string());
    write(&folder, "model.safetensors", safetensors(&all));
    folder
}

#[test]
fn every_form_stands_for_what_numpy_says() {
    for case in cases() {
        let folder = folder_of(&case, |_, _| ());
        let found = open(&folder).unwrap_or_else(|e| panic!("{}: {e}", case["config"]));
        let expected = case["expected"].as_array().expect("numbers");
        let expected: Vec<f32> = expected
            .iter()
            .map(|v| v.as_f64().expect("one") as f32)
            .collect();
        let name = format!("{STEM}weight");
        let view = found.tensor(&name).expect("there");
        let (outputs, inputs) = (size(&case["shape"][0]), size(&case["shape"][1]));
        assert_eq!(
            (view.shape, view.len()),
            (&[outputs, inputs][..], expected.len())
        );
        assert_eq!(view.to_f32(), expected, "{}", case["config"]);
        assert_eq!(view.rows(3..5).to_f32(), expected[3 * inputs..5 * inputs]);
        assert_eq!(
            view.rows(3..9).rows(1..2).to_f32(),
            expected[4 * inputs..5 * inputs]
        );
        let [Finding::Packed { count: 1, .. }] = found.findings() else {
            panic!("{:?}", found.findings());
        };
        let stored = ModelWeights::stored(&found, &name).expect("there");
        assert_eq!(stored.dtype, None);
        // What is on the lattices is nearest to itself, and to what lies a third of a step off.
        let rows = ModelWeights::rows(&found, &name, 0..outputs).expect("there");
        let lattices = found
            .lattices(&name, 0..outputs)
            .expect("there")
            .expect("codes");
        assert!(lattices.round(&rows, &rows));
        let moved = |part: f32| -> Vec<f32> {
            let step = |i: usize| lattices.each[i / lattices.run].step;
            rows.iter()
                .enumerate()
                .map(|(i, x)| x + part * step(i))
                .collect()
        };
        assert!(lattices.round(&moved(0.33), &rows));
        assert!(!lattices.round(&moved(0.9), &rows));
        found.check_finite().expect("scales are numbers");
        let plain = folder_of(&case, |config, all| {
            config["quantization_config"] = Value::Null;
            all.retain(|t| !t.0.starts_with(STEM));
            let bytes = 0.5_f32.to_le_bytes().repeat(outputs * inputs);
            all.push((name.clone(), "F32", vec![outputs, inputs], bytes));
        });
        let plain = open(&plain).expect("sound");
        assert_eq!(found.identity().parameters, plain.identity().parameters);
    }
}

fn told(case: &Value, change: impl Fn(&mut Value, &mut Vec<Tensor>), texts: &[&str]) {
    let error = refused(&folder_of(case, change)).to_string();
    for text in texts {
        assert!(error.contains(text), "`{text}` is not in {error}");
    }
}

fn tensor<'a>(all: &'a mut [Tensor], name: &str) -> &'a mut Tensor {
    let named = all.iter_mut().find(|t| t.0 == format!("{STEM}{name}"));
    named.expect("there")
}

#[test]
fn what_does_not_fit_is_refused() {
    let all = cases();
    let (gptq, awq, rows) = (&all[0], &all[5], &all[6]);
    let set = |key: &'static str, value: Value| {
        move |config: &mut Value, _: &mut Vec<Tensor>| {
            config["quantization_config"][key] = value.clone();
        }
    };
    told(
        gptq,
        set("bits", json!(5)),
        &["quantization_config.bits", "`5`", "2, 3, 4, 8"],
    );
    told(gptq, set("group_size", json!(0)), &["group_size", "`0`"]);
    told(
        gptq,
        set("checkpoint_format", json!("marlin")),
        &["checkpoint_format", "marlin"],
    );
    told(
        gptq,
        set("rotation", json!("hadamard")),
        &["quantization_config.rotation"],
    );
    told(
        awq,
        set("version", json!("gemv")),
        &["quantization_config.version", "gemv"],
    );
    told(
        rows,
        set("transform_config", json!({"R1": {}})),
        &["transform_config"],
    );
    told(rows, set("config_groups", json!({})), &["config_groups"]);
    // Another group size asks for other scales.
    told(
        gptq,
        set("group_size", json!(4)),
        &["scales", "[2, 8]", "[4, 8]"],
    );
    let part = |name: &'static str, change: fn(&mut Tensor)| {
        move |_: &mut Value, all: &mut Vec<Tensor>| change(tensor(all, name))
    };
    told(
        gptq,
        part("qweight", |t| t.1 = "F32"),
        &["qweight", "F32", "I32"],
    );
    told(
        gptq,
        part("qweight", |t| t.2.reverse()),
        &["qweight", "[8, 2]", "[2, 8]"],
    );
    told(
        gptq,
        part("scales", |t| t.3[..2].copy_from_slice(&[0, 0x7c])),
        &["scales", "inf"],
    );
    told(
        gptq,
        part("g_idx", |t| t.3[..4].fill(0xff)),
        &["g_idx", "input 0", "group -1"],
    );
    told(
        gptq,
        part("g_idx", |t| t.3[4] = 2),
        &["g_idx", "input 1", "group 2, of 2"],
    );
    for name in ["scales", "qzeros"] {
        let gone = |_: &mut Value, all: &mut Vec<Tensor>| {
            all.retain(|t| t.0 != format!("{STEM}{name}"));
        };
        told(gptq, gone, &[name]);
    }
    // Codes without a configuration that speaks of them are no weights.
    let silent = |config: &mut Value, _: &mut Vec<Tensor>| {
        config["quantization_config"] = Value::Null;
    };
    told(gptq, silent, &["up_proj.weight"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Words of any content are codes of something, and no index leaves its tensor.
    #[test]
    fn words_of_any_content_are_read(which in 0..9_usize, noise in proptest::collection::vec(any::<u8>(), 64)) {
        let case = &cases()[which];
        let folder = folder_of(case, |_, all| {
            for t in all.iter_mut().filter(|t| t.0.starts_with(STEM) && t.1 == "I32" && !t.0.ends_with("g_idx")) {
                t.3.iter_mut().zip(noise.iter().cycle()).for_each(|(b, n)| *b ^= n);
            }
        });
        let found = open(&folder).expect("sound");
        let values = found.tensor(&format!("{STEM}weight")).expect("there").to_f32();
        prop_assert!(values.iter().all(|v| v.is_finite() && v.abs() <= 256.0 * 0.051));
    }
}
