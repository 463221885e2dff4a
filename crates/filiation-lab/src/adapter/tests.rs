//! Against PyTorch and PEFT: `tests/adapter_reference.py` says how.

use std::fs;
use std::path::PathBuf;

use filiation_core::{Digest, Role};
use serde::Deserialize;
use tempfile::TempDir;

use super::base::{Base, Projection};
use super::forward::Trace;
use super::head::{Goal, Headed, score};
use super::learner::{Pupil, Row};
use super::lora::{Adapter, Rank};
use crate::folder::tensors;
use crate::product::{View, multiply};
use crate::text::{Stream, stream};
use crate::trainer::{Learner, descend};
use crate::{LabError, Lineage, Schedule, Stored};

#[derive(Deserialize)]
struct Reference {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    model: String,
    guided: bool,
    loss: f64,
    last_logits: Vec<Vec<f64>>,
    gradients: Vec<Gradient>,
}

#[derive(Deserialize)]
struct Gradient {
    tensor: String,
    norm: f64,
    probe: f64,
    first: Vec<f64>,
}

fn reference() -> Vec<Case> {
    let stored = include_str!("../../tests/adapter_reference.json");
    let reference: Reference = serde_json::from_str(stored).expect("reference");
    assert_eq!(reference.cases.len(), 4);
    reference.cases
}

fn open(name: &str) -> Base {
    let parity = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../filiation-model/tests/parity");
    Base::open(&parity.join(name), 32).expect("opens")
}

fn wave(i: usize, t: usize) -> f64 {
    ((i * 37 + t * 11 + 5) % 61) as f64 / 61.0 - 0.5
}

fn rank() -> Rank {
    Rank {
        rank: 3,
        alpha: 6.0,
        targets: Projection::ALL.to_vec(),
    }
}

fn adapter(base: &Base) -> Adapter {
    let mut adapter = Adapter::new(base.config(), &rank(), 1);
    for (t, tensor) in adapter.tensors.iter().enumerate() {
        for (i, value) in adapter.values[tensor.span.clone()].iter_mut().enumerate() {
            *value = (0.2 * wave(i, t)) as f32;
        }
    }
    adapter
}

fn rows(guided: bool) -> Vec<Row> {
    let row = |(i, (length, from)): (usize, (usize, usize))| Row {
        ids: (0..length)
            .map(|j| ((7 + 13 * i + 29 * j + j * j) % 64) as u32)
            .collect(),
        from,
        guided: guided && i == 1,
    };
    [(13, 4), (21, 9), (6, 1)]
        .into_iter()
        .enumerate()
        .map(row)
        .collect()
}

/// The final hidden rows of one sequence.
fn hidden(base: &Base, adapter: Option<&Adapter>, ids: &[u32]) -> Vec<f32> {
    let (rows, span) = (ids.len(), 0..ids.len());
    let mut trace = Trace::new(base, adapter, rows, rows);
    base.forward(adapter, ids, std::slice::from_ref(&span), &mut trace);
    trace.hidden
}

#[test]
fn gradients_are_those_of_peft() {
    for case in reference() {
        let base = open(&case.model);
        let other = if case.model == "llama" {
            "gemma-3"
        } else {
            "llama"
        };
        let teacher = case.guided.then(|| open(other));
        let mut pupil = Pupil::new(
            &base,
            teacher.as_ref(),
            adapter(&base),
            rows(case.guided),
            3,
            stream(1, Stream::Order),
        );
        // The second run finds the buffers as the first left them.
        pupil.run(&[2, 0, 1]);
        let loss = pupil.run(&[0, 1, 2]);
        let name = format!("{} guided {}", case.model, case.guided);
        assert!(
            (loss - case.loss).abs() < 2e-6,
            "{name}: {loss} for {}",
            case.loss
        );
        let tensors = pupil.adapter.tensors.clone();
        assert_eq!(tensors.len(), case.gradients.len());
        let (_, gradients) = pupil.parts();
        for (t, (tensor, want)) in tensors.iter().zip(&case.gradients).enumerate() {
            assert_eq!(tensor.name, want.tensor);
            let got = &gradients[0][tensor.span.clone()];
            let norm = got
                .iter()
                .map(|g| f64::from(*g).powi(2))
                .sum::<f64>()
                .sqrt();
            let values = got
                .iter()
                .enumerate()
                .map(|(i, g)| f64::from(*g) * wave(i, t + 3));
            let probe: f64 = values.sum();
            let mut off = vec![norm - want.norm, probe - want.probe];
            off.extend(got.iter().zip(&want.first).map(|(g, w)| f64::from(*g) - w));
            for off in off {
                assert!(
                    off.abs() < 2e-5 * want.norm,
                    "{name}, {}: off by {off:e}",
                    tensor.name
                );
            }
        }
    }
}

#[test]
fn adapted_logits_are_those_of_peft() {
    for case in reference().into_iter().filter(|case| !case.guided) {
        let base = open(&case.model);
        let adapter = adapter(&base);
        let (d, ids) = (base.config().width, base.config().vocabulary);
        for (row, want) in rows(false).iter().zip(&case.last_logits) {
            let hidden = hidden(&base, Some(&adapter), &row.ids);
            let mut logits = vec![0.0; ids];
            let (last, head) = (&hidden[hidden.len() - d..], base.head());
            let (last, head) = (View::rows(last, d), View::columns(head, d));
            multiply([1, ids, d], (&mut logits, ids), last, head, false);
            for (got, want) in logits.iter().zip(want) {
                assert!(
                    (f64::from(*got) - want).abs() < 1e-4,
                    "{}: {got} for {want}",
                    case.model
                );
            }
        }
    }
}

const SCHEDULE: Schedule = Schedule {
    steps: 30,
    windows: 10,
    rate: 2e-2,
    warmup: 3,
    floor: 0.1,
    weight_decay: 0.0,
    clip: 1.0,
};

fn trained(threads: usize) -> (Vec<f32>, Vec<f64>) {
    let base = open("gemma-3");
    let adapter = Adapter::new(base.config(), &rank(), 5);
    let tensors = adapter.tensors.clone();
    let rows: Vec<Row> = rows(false).into_iter().cycle().take(7).collect();
    let order = stream(5, Stream::Order);
    let mut pupil = Pupil::new(&base, None, adapter, rows, SCHEDULE.windows, order);
    let mut losses = Vec::new();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let run = || {
        let mut watch = |_, loss| losses.push(loss);
        descend("test", &tensors, &SCHEDULE, &mut pupil, &mut watch)
    };
    pool.expect("threads").install(run).expect("trains");
    (pupil.adapter.values, losses)
}

#[test]
fn an_adapter_learns_the_same_on_any_number_of_threads() {
    let one = trained(1);
    assert!(one == trained(3));
    let (first, last) = (one.1[0], one.1[29]);
    assert!(last < 0.7 * first, "{first} to {last}");
}

#[test]
fn an_untrained_adapter_changes_nothing() {
    let base = open("llama");
    let adapter = Adapter::new(base.config(), &rank(), 1);
    let row = &rows(false)[1].ids;
    let [with, without] = [Some(&adapter), None].map(|adapter| hidden(&base, adapter, row));
    assert_eq!(with, without);
}

#[test]
fn sequences_of_a_piece_do_not_see_each_other() {
    let base = open("gemma-3");
    let rows = rows(false);
    let both = [&rows[0].ids[..], &rows[1].ids[..]].concat();
    let (first, d) = (rows[0].ids.len(), base.config().width);
    let mut trace = Trace::new(&base, None, both.len(), 21);
    base.forward(None, &both, &[0..first, first..both.len()], &mut trace);
    let alone = hidden(&base, None, &rows[1].ids);
    for (got, want) in trace.hidden[first * d..].iter().zip(&alone) {
        assert!((got - want).abs() < 1e-5, "{got} for {want}");
    }
}

#[test]
fn a_base_without_a_backward_pass_here_is_refused() {
    let parity = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../filiation-model/tests/parity");
    for (name, what) in [
        ("gpt-2", "layer normalisation"),
        ("gemma-2", "capped scores or logits"),
        ("qwen2", "biases"),
        ("olmo-2", "its placement of normalisations"),
    ] {
        let error = Base::open(&parity.join(name), 8).expect_err("refused");
        assert!(
            matches!(error, LabError::Unsupported { what: w, .. } if w == what),
            "{name}: {error}"
        );
    }
}

#[test]
fn a_row_of_a_teacher_that_is_the_pupil_leaves_no_gradient() {
    let base = open("llama");
    let hidden = hidden(&base, None, &rows(false)[0].ids);
    let own = Headed {
        hidden: &hidden,
        head: base.head(),
        width: base.config().width,
    };
    let mut slopes = vec![1.0; hidden.len()];
    score(own, &Goal::Distribution(own), 1.0, &mut slopes);
    assert!(slopes.iter().all(|s| s.abs() < 1e-5), "{slopes:?}");
}

#[test]
fn a_merged_folder_computes_what_base_and_adapter_do() {
    for (name, stored, tolerance) in [
        ("llama", Stored::F32, 1e-4),
        ("gemma-3", Stored::F32, 1e-4),
        ("llama", Stored::Bf16, 0.2),
    ] {
        let (base, out) = (open(name), TempDir::new().expect("folder"));
        let adapter = adapter(&base);
        let weights = tensors(&adapter.tensors, &adapter.values, Stored::F32).expect("weights");
        let lineage = Lineage {
            format: 1,
            name: "adapter".into(),
            role: Role::Suspect,
            parents: Vec::new(),
            seed: 1,
            documents: 1,
            loss: 1.0,
            recipe: Digest::of(b""),
            weights: Digest::of(&weights),
        };
        super::folder::write(out.path(), name, &rank(), &weights, &lineage).expect("writes");
        let merged = out.path().join("merged");
        let folder = base.checkpoint.root().to_owned();
        super::merge(&folder, &out.path().join("adapter"), &merged, Some(stored)).expect("merges");
        let merged = Base::open(&merged, 32).expect("opens");
        let ids = &rows(false)[1].ids;
        let (want, got) = (
            hidden(&base, Some(&adapter), ids),
            hidden(&merged, None, ids),
        );
        let off = want
            .iter()
            .zip(&got)
            .map(|(w, g)| (w - g).abs())
            .fold(0.0, f32::max);
        assert!(off < tolerance, "{name} {stored:?}: {off}");
        let plain = hidden(&base, None, ids);
        let moved = want
            .iter()
            .zip(&plain)
            .map(|(w, p)| (w - p).abs())
            .fold(0.0, f32::max);
        assert!(moved > 0.4, "the adapter changes nothing: {moved}");
    }
}

#[test]
fn an_adapter_of_another_kind_is_refused() {
    let (base, out) = (open("llama"), TempDir::new().expect("folder"));
    let adapter = adapter(&base);
    let weights = tensors(&adapter.tensors, &adapter.values, Stored::F32).expect("weights");
    let plain = serde_json::json!({ "peft_type": "LORA", "r": 3, "lora_alpha": 6 });
    fs::write(out.path().join("adapter_model.safetensors"), weights).expect("writes");
    let folder = base.checkpoint.root();
    let merged = |change: serde_json::Value| {
        let mut config = plain.clone();
        let keys = change.as_object().expect("keys").clone();
        config.as_object_mut().expect("keys").extend(keys);
        fs::write(out.path().join("adapter_config.json"), config.to_string()).expect("writes");
        super::merge(folder, out.path(), &out.path().join("merged"), None)
            .map_err(|e| e.to_string())
    };
    merged(serde_json::json!({})).expect("merges");
    for (change, message) in [
        (
            serde_json::json!({ "peft_type": "IA3" }),
            "`IA3` of rank 3, expected `LORA`",
        ),
        (
            serde_json::json!({ "use_dora": true }),
            "`use_dora` is true, expected none",
        ),
        (
            serde_json::json!({ "rank_pattern": { "q_proj": 2 } }),
            "expected none",
        ),
    ] {
        let error = merged(change).expect_err("refused");
        assert!(error.contains(message), "{error}");
    }
    let gemma = open("gemma-3");
    let error = super::merge(
        gemma.checkpoint.root(),
        out.path(),
        &out.path().join("no"),
        None,
    );
    assert!(error.is_err(), "merged into another model");
}
