//! What rows begin with alike is computed once, and gives the bits that each row gives alone.

use filiation_model::{Cache, Decoder};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{Case, difference};

const VOCABULARY: u32 = 64;

/// Rows with common beginnings: prompts, each alone and before several continuations, in any order.
fn groups() -> impl Strategy<Value = Vec<Vec<u32>>> {
    let tokens = |most| prop::collection::vec(0..VOCABULARY, 0..most);
    let group = (
        tokens(20),
        prop::collection::vec((0_usize..20, tokens(12)), 1..6),
    );
    let rows = prop::collection::vec(group, 1..12).prop_map(|groups| {
        let mut rows = Vec::new();
        for (prompt, tails) in groups {
            for (cut, tail) in tails {
                // Some leave the prompt before its end.
                let shared = &prompt[..prompt.len().saturating_sub(cut / 4)];
                rows.push([shared, &tail].concat());
            }
            rows.push(prompt);
        }
        rows
    });
    rows.prop_shuffle()
}

fn slices(rows: &[Vec<u32>]) -> Vec<&[u32]> {
    rows.iter().map(Vec::as_slice).collect()
}

fn pools() -> Vec<rayon::ThreadPool> {
    let pool = |threads| {
        let built = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        built.expect("a pool")
    };
    [1, 2, 5].map(pool).into()
}

/// Bits of the states of every row, layers and final.
fn states(decoder: &Decoder, rows: &[&[u32]], cache: Option<&mut Cache>) -> Vec<Vec<Vec<f32>>> {
    let hidden = decoder.hidden(rows, cache, &[0, 1, 2]).expect("runs");
    let all = hidden.layers.iter().chain([&hidden.states]);
    all.map(super::rows).collect()
}

/// The same, each row in a pass of its own.
fn alone(decoder: &Decoder, rows: &[&[u32]]) -> Vec<Vec<Vec<f32>>> {
    let mut whole = vec![Vec::new(); 4];
    for row in rows {
        for (whole, part) in whole.iter_mut().zip(states(decoder, &[row], None)) {
            whole.extend(part);
        }
    }
    whole
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    })
}

#[test]
fn a_shared_beginning_changes_no_bit() {
    let pools = pools();
    for case in Case::all() {
        let [(_, decoder), _] = case.decoders();
        let checked = runner(12).run(&groups(), |all| {
            let all = slices(&all);
            let expected = alone(&decoder, &all);
            for pool in &pools {
                let found = pool.install(|| states(&decoder, &all, None));
                prop_assert!(found == expected, "{} threads", pool.current_num_threads());
            }
            Ok(())
        });
        checked.unwrap_or_else(|e| panic!("{}: {e}", case.name));
    }
}

#[test]
fn a_shared_beginning_agrees_on_devices() {
    for case in Case::all() {
        let [_, (_, decoder)] = case.decoders();
        let checked = runner(3).run(&groups(), |all| {
            let all = slices(&all);
            let (found, expected) = (states(&decoder, &all, None), alone(&decoder, &all));
            for (found, expected) in found.iter().zip(&expected) {
                // candle's products round as their shapes have it.
                let worst = difference(found, expected);
                prop_assert!(worst <= 2e-5, "off by {worst:e}");
            }
            Ok(())
        });
        checked.unwrap_or_else(|e| panic!("{}: {e}", case.name));
    }
}

#[test]
fn caches_hold_the_shared_beginning_too() {
    let pools = pools();
    for case in Case::all() {
        let [(_, decoder), _] = case.decoders();
        let checked = runner(6).run(&groups(), |all| {
            let all = slices(&all);
            let steps: Vec<u32> = all
                .iter()
                .map(|row| row.len() as u32 % VOCABULARY)
                .collect();
            let mut expected = vec![Vec::new(); 4];
            for (row, step) in all.iter().zip(&steps) {
                let mut cache = decoder.cache(1);
                states(&decoder, &[row], Some(&mut cache));
                let step = states(&decoder, &[&[*step][..]], Some(&mut cache));
                for (whole, part) in expected.iter_mut().zip(step) {
                    whole.extend(part);
                }
            }
            let steps: Vec<&[u32]> = steps.chunks(1).collect();
            for pool in &pools {
                let mut cache = decoder.cache(all.len());
                let found = pool.install(|| {
                    states(&decoder, &all, Some(&mut cache));
                    states(&decoder, &steps, Some(&mut cache))
                });
                prop_assert!(found == expected, "{} threads", pool.current_num_threads());
                let lengths: Vec<usize> = all.iter().map(|row| row.len() + 1).collect();
                prop_assert_eq!(cache.lengths(), lengths);
            }
            Ok(())
        });
        checked.unwrap_or_else(|e| panic!("{}: {e}", case.name));
    }
}
