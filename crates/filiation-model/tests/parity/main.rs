//! Every supported architecture against what transformers computed (`make_goldens.py`).

#![expect(
    clippy::print_stdout,
    reason = "the largest differences, shown with `--nocapture`"
)]

mod sharing;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{Device, Tensor};
use filiation_checkpoint::config::{Architecture, ModelConfig};
use filiation_checkpoint::{Checkpoint, Limits};
use filiation_model::{Decoder, LoadError, WeightData, WeightSource};
use serde::Deserialize;
use serde_json::Value;

/// Largest |Δlogit| and relative |Δhidden| against transformers, both in f32.
const TOLERANCE: f32 = 1e-4;

#[derive(Deserialize)]
struct Golden {
    tokens: Vec<u32>,
    logits: Vec<Vec<f32>>,
    hidden: Vec<Vec<Vec<f32>>>,
}

struct Case {
    name: String,
    checkpoint: Arc<Checkpoint>,
    golden: Golden,
    v4: Value,
}

impl Case {
    fn all() -> Vec<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity");
        let entries = std::fs::read_dir(&root).expect("the folder of goldens");
        let mut folders: Vec<PathBuf> = entries
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.join("golden.json").exists())
            .collect();
        folders.sort();
        assert_eq!(folders.len(), 14, "a case was added or lost");
        folders.iter().map(|folder| Self::open(folder)).collect()
    }

    fn open(folder: &Path) -> Self {
        let json = |name| std::fs::read(folder.join(name)).expect("a file of the case");
        Self {
            name: folder.file_name().expect("a name").to_string_lossy().into(),
            checkpoint: Arc::new(Checkpoint::open(folder, &Limits::default()).expect("sound")),
            golden: serde_json::from_slice(&json("golden.json")).expect("a golden"),
            v4: serde_json::from_slice(&json("config-v4.json")).expect("json"),
        }
    }

    fn decoders(&self) -> [(&'static str, Decoder); 2] {
        self.decoders_as(self.checkpoint.config())
    }

    /// With the weights of the case under another configuration.
    fn decoders_as(&self, config: &ModelConfig) -> [(&'static str, Decoder); 2] {
        let weights = &self.checkpoint;
        [
            (
                "host",
                Decoder::load(config, weights, &Device::Cpu).expect("loads"),
            ),
            (
                "plain",
                Decoder::load_plain(config, weights, &Device::Cpu).expect("loads"),
            ),
        ]
    }
}

fn rows(tensor: &Tensor) -> Vec<Vec<f32>> {
    tensor.to_vec2().expect("a matrix in f32")
}

fn difference(found: &[Vec<f32>], expected: &[Vec<f32>]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let pairs = found.iter().flatten().zip(expected.iter().flatten());
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn logits(decoder: &Decoder, rows_in: &[&[u32]]) -> Vec<Vec<f32>> {
    let hidden = decoder.hidden(rows_in, None, &[]).expect("runs");
    rows(&decoder.logits(&hidden.states).expect("runs"))
}

#[test]
fn logits_and_hidden_states_are_those_of_transformers() {
    for case in Case::all() {
        let golden = &case.golden;
        let layers: Vec<usize> = (0..golden.hidden.len()).collect();
        for (backend, decoder) in case.decoders() {
            let hidden = decoder
                .hidden(&[&golden.tokens], None, &layers)
                .expect("runs");
            let found = rows(&decoder.logits(&hidden.states).expect("runs"));
            let worst = difference(&found, &golden.logits);
            println!("{} ({backend}): max |Δlogit| {worst:.1e}", case.name);
            assert!(
                worst <= TOLERANCE,
                "{} ({backend}): logits off by {worst:e}",
                case.name
            );
            for (layer, expected) in golden.hidden.iter().enumerate() {
                let largest = expected
                    .iter()
                    .flatten()
                    .fold(1.0_f32, |m, x| m.max(x.abs()));
                let worst = difference(&rows(&hidden.layers[layer]), expected) / largest;
                let what = format!("{} ({backend}), layer {layer}", case.name);
                assert!(worst <= TOLERANCE, "{what}: off by {worst:e}");
            }
        }
    }
}

/// A window one token too wide or too narrow would not pass for the right one.
#[test]
fn a_window_off_by_one_is_beyond_the_tolerance() {
    let mut windowed = 0;
    for case in Case::all() {
        if case
            .checkpoint
            .config()
            .layers
            .iter()
            .all(|l| l.window.is_none())
        {
            continue;
        }
        windowed += 1;
        for by in [-1, 1] {
            let mut config = case.checkpoint.config().clone();
            for layer in &mut config.layers {
                layer.window = layer
                    .window
                    .and_then(|window| window.checked_add_signed(by));
            }
            for (backend, decoder) in case.decoders_as(&config) {
                let found = logits(&decoder, &[&case.golden.tokens]);
                let off = difference(&found, &case.golden.logits);
                println!(
                    "{} ({backend}), window {by:+}: max |Δlogit| {off:.1e}",
                    case.name
                );
                assert!(
                    off > TOLERANCE,
                    "{} ({backend}), window {by:+}: only off by {off:e}",
                    case.name
                );
            }
        }
    }
    assert!(windowed >= 2, "{windowed} cases with a window");
}

#[test]
fn every_architecture_has_a_case() {
    let cases = Case::all();
    for architecture in Architecture::ALL {
        let covered = cases
            .iter()
            .any(|c| c.checkpoint.config().architecture == architecture);
        assert!(covered, "no case for {architecture:?}");
    }
}

#[test]
fn keys_of_transformers_4_and_5_mean_the_same() {
    for case in Case::all() {
        let v4 = ModelConfig::from_json(&case.v4).expect("known keys");
        assert_eq!(&v4, case.checkpoint.config(), "{}", case.name);
    }
}

#[test]
fn a_batch_gives_what_each_row_gives_alone() {
    for case in Case::all() {
        let tokens = &case.golden.tokens;
        let batch: Vec<&[u32]> = vec![&tokens[..1], &tokens[3..20], tokens, &tokens[7..9], tokens];
        for (backend, decoder) in case.decoders() {
            let together = logits(&decoder, &batch);
            let alone: Vec<_> = batch
                .iter()
                .flat_map(|row| logits(&decoder, &[row]))
                .collect();
            let worst = difference(&together, &alone);
            assert!(worst <= 1e-5, "{} ({backend}): off by {worst:e}", case.name);
        }
    }
}

#[test]
fn a_cache_gives_what_the_whole_gives() {
    for case in Case::all() {
        let tokens = &case.golden.tokens;
        let (first, second) = (&tokens[..], &tokens[5..22]);
        for (backend, decoder) in case.decoders() {
            let mut cache = decoder.cache(2);
            let mut found = [Vec::new(), Vec::new()];
            // Pieces of unlike lengths; the second row starts late and ends early.
            let cuts = [
                (0, 3, 0, 0),
                (3, 4, 0, 1),
                (4, 13, 1, 2),
                (13, 23, 2, 17),
                (23, 24, 17, 17),
            ];
            for (a, b, c, d) in cuts {
                let pieces = [&first[a..b], &second[c..d]];
                let hidden = decoder
                    .hidden(&pieces, Some(&mut cache), &[])
                    .expect("runs");
                let mut step = rows(&decoder.logits(&hidden.states).expect("runs"));
                found[1].extend(step.split_off(b - a));
                found[0].extend(step);
            }
            assert_eq!(cache.lengths(), [24, 17]);
            for (row, found) in [first, second].iter().zip(&found) {
                let worst = difference(found, &logits(&decoder, &[row]));
                assert!(worst <= 2e-5, "{} ({backend}): off by {worst:e}", case.name);
            }
        }
    }
}

#[test]
fn logprobs_are_the_log_softmax_of_the_logits() {
    for case in Case::all() {
        let tokens = &case.golden.tokens;
        for (backend, decoder) in case.decoders() {
            let states = decoder.hidden(&[tokens], None, &[]).expect("runs").states;
            let found = decoder.logprobs(&states, tokens).expect("runs");
            for ((found, row), target) in found.iter().zip(&case.golden.logits).zip(tokens) {
                let total: f64 = row.iter().map(|x| f64::from(*x).exp()).sum();
                let expected = f64::from(row[*target as usize]) - total.ln();
                let off = (found - expected).abs();
                assert!(off <= 2e-4, "{} ({backend}): off by {off:e}", case.name);
            }
        }
    }
}

/// The same weights, widened to f32 before the decoder sees them.
struct Widened(Arc<Checkpoint>);

impl WeightSource for Widened {
    fn tensor(&self, name: &str) -> Result<(Vec<usize>, WeightData), LoadError> {
        let (shape, data) = Checkpoint::tensor(&self.0, name).map(|view| {
            (
                view.shape.to_vec(),
                WeightData::Owned(Arc::new(view.to_f32())),
            )
        })?;
        Ok((shape, data))
    }

    fn contains(&self, name: &str) -> bool {
        WeightSource::contains(&self.0, name)
    }
}

#[test]
fn sixteen_bit_weights_lose_nothing() {
    for case in Case::all() {
        let wide = Widened(Arc::clone(&case.checkpoint));
        let config = case.checkpoint.config();
        let wide = Decoder::load(config, &wide, &Device::Cpu).expect("loads");
        let expected = logits(&wide, &[&case.golden.tokens]);
        for (backend, decoder) in case.decoders() {
            let worst = difference(&logits(&decoder, &[&case.golden.tokens]), &expected);
            assert!(worst <= 2e-5, "{} ({backend}): off by {worst:e}", case.name);
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let case = Case::all()
        .into_iter()
        .find(|c| c.name == "gpt-2")
        .expect("the case");
    let [(_, decoder), _] = case.decoders();
    let long = vec![0; 33];
    let refusals = [
        decoder
            .hidden(&[&[64]], None, &[])
            .expect_err("id")
            .to_string(),
        decoder
            .hidden(&[&long], None, &[])
            .expect_err("length")
            .to_string(),
        decoder
            .hidden(&[&[0]], None, &[3])
            .expect_err("layer")
            .to_string(),
        decoder
            .hidden(&[&[0]], Some(&mut decoder.cache(2)), &[])
            .expect_err("rows")
            .to_string(),
    ];
    let expected = ["64", "33 tokens", "layer 3", "2 rows"];
    for (found, part) in refusals.iter().zip(expected) {
        assert!(found.contains(part), "`{found}` does not name `{part}`");
    }
}
