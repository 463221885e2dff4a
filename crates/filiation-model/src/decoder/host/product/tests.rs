use std::sync::Arc;

use half::{bf16, f16};
use proptest::prelude::*;

use super::*;
use crate::decoder::view::MatrixView;
use crate::source::{SharedBytes, WeightData};

#[derive(Debug, Clone, Copy)]
enum Stored {
    F32,
    BF16,
    F16,
    /// f32, inputs outermost.
    Columns,
}

const ALL: [Stored; 4] = [Stored::F32, Stored::BF16, Stored::F16, Stored::Columns];

struct Halves(Vec<u16>);

impl SharedBytes for Halves {
    fn bytes(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

/// Values of many magnitudes and both signs, some zero.
fn values(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let unit = (state >> 40) as f32 / (1 << 23) as f32 - 1.0;
            match state % 19 {
                0 => 0.0,
                1 => unit * 1e-3,
                2 => unit * 50.0,
                _ => unit,
            }
        })
        .collect()
}

/// A matrix as it is stored, and its elements (outputs, inputs) in f32.
fn stored(kind: Stored, outputs: usize, inputs: usize, seed: u64) -> (MatrixView, Vec<f32>) {
    let x = values(outputs * inputs, seed);
    let rows = |data| MatrixView::rows(data, outputs, inputs);
    match kind {
        Stored::F32 => (rows(WeightData::Owned(Arc::new(x.clone()))), x),
        Stored::BF16 => {
            let bits = x.iter().map(|x| bf16::from_f32(*x).to_bits()).collect();
            let x = x.iter().map(|x| bf16::from_f32(*x).to_f32()).collect();
            (rows(WeightData::BF16(Arc::new(Halves(bits)))), x)
        }
        Stored::F16 => {
            let bits = x.iter().map(|x| f16::from_f32(*x).to_bits()).collect();
            let x = x.iter().map(|x| f16::from_f32(*x).to_f32()).collect();
            (rows(WeightData::F16(Arc::new(Halves(bits)))), x)
        }
        Stored::Columns => {
            let mut turned = vec![0.0; x.len()];
            for (o, row) in x.chunks(inputs.max(1)).enumerate() {
                for (i, x) in row.iter().enumerate() {
                    turned[i * outputs + o] = *x;
                }
            }
            let data = WeightData::Owned(Arc::new(turned));
            (MatrixView::columns(data, outputs, inputs), x)
        }
    }
}

/// The definition: one chain an element.
fn chains(a: &[f32], w: &[f32], [m, n, k]: [usize; 3], start: Option<&[f32]>) -> Vec<f32> {
    let mut out = Vec::with_capacity(m * n);
    for i in 0..m {
        for o in 0..n {
            let mut sum = start.map_or(0.0, |start| start[i * n + o]);
            for j in 0..k {
                sum = a[i * k + j].mul_add(w[o * k + j], sum);
            }
            out.push(sum);
        }
    }
    out
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

fn by(isa: Isa, a: Rows<'_>, packed: &Packed, start: Option<&[f32]>) -> Vec<f32> {
    let b = packed.panels();
    let mut out = start.map_or_else(|| vec![f32::NAN; a.count * b.outputs], <[f32]>::to_vec);
    let mut rows: Vec<&mut [f32]> = out.chunks_exact_mut(b.outputs).collect();
    multiply(isa, a, b, 0..b.count(), start.is_some(), &mut rows);
    out
}

fn check(kind: Stored, [m, n, k]: [usize; 3], seed: u64) {
    let (view, w) = stored(kind, n, k, seed);
    let packed = Packed::new(&view);
    let a = values(m * k, seed + 1);
    let begun = values(m * n, seed + 2);
    let rows = Rows {
        values: &a,
        stride: k,
        count: m,
    };
    for start in [None, Some(&begun[..])] {
        let expected = bits(&chains(&a, &w, [m, n, k], start));
        for isa in Isa::all() {
            let found = bits(&by(isa, rows, &packed, start));
            assert!(found == expected, "{isa:?} {kind:?} {m} {n} {k}");
        }
        for threads in [Threads::One, Threads::All] {
            let mut out = start.map_or_else(|| vec![f32::NAN; m * n], <[f32]>::to_vec);
            product(rows, packed.panels(), start.is_some(), &mut out, threads);
            assert!(bits(&out) == expected, "{threads:?} {kind:?} {m} {n} {k}");
        }
    }
    let mut row = vec![0.0; k];
    for (o, expected) in w.chunks_exact(k.max(1)).enumerate() {
        packed.output(o, &mut row);
        assert_eq!(row, expected);
    }
}

#[test]
fn every_number_of_rows_is_its_chains() {
    for m in 1..=70 {
        check(ALL[m % 4], [m, 1 + m * 31 % 150, 1 + m * 17 % 40], m as u64);
    }
}

#[test]
fn every_number_of_outputs_is_its_chains() {
    for n in 1..=2 * PANEL + 1 {
        check(ALL[n % 4], [1 + n % 11, n, 7], n as u64);
        check(ALL[(n + 1) % 4], [8, n, 1], n as u64);
    }
}

#[test]
fn inputs_taken_in_parts_are_one_chain() {
    for k in [1, 2, 191, 192, 193, 383, 384, 385, 577, 1536, 2000] {
        for (i, kind) in ALL.into_iter().enumerate() {
            check(kind, [3 + i, 50, k], k as u64);
        }
    }
}

#[test]
fn blocks_of_rows_and_many_panels() {
    for kind in ALL {
        check(kind, [131, 300, 200], 5);
    }
}

#[test]
fn a_product_over_no_inputs_is_its_start() {
    check(Stored::F32, [3, 5, 0], 1);
}

#[test]
fn strides_leave_out_what_lies_between() {
    let (k, n) = (5, 7);
    let a = values(4 * 9, 1);
    let w = values(k * 11, 2);
    for isa in Isa::all() {
        let mut out = [0.5; 4 * 10];
        let mut rows: Vec<&mut [f32]> = out.chunks_mut(10).map(|row| &mut row[2..9]).collect();
        let a_rows = Rows {
            values: &a[1..],
            stride: 9,
            count: 4,
        };
        // Inputs outermost, in place.
        let b = Panels {
            values: Elements::F32(&w[3..]),
            inputs: k,
            outputs: n,
            panel: PANEL,
            row: 11,
        };
        multiply(isa, a_rows, b, 0..1, false, &mut rows);
        for (i, row) in out.chunks(10).enumerate() {
            for (o, found) in row.iter().enumerate() {
                let mut expected = 0.5;
                if let Some(o) = o.checked_sub(2).filter(|o| *o < n) {
                    expected = (0..k).fold(0.0_f32, |sum, j| {
                        a[1 + i * 9 + j].mul_add(w[3 + j * 11 + o], sum)
                    });
                }
                assert_eq!(found.to_bits(), expected.to_bits(), "{isa:?} {i} {o}");
            }
        }
    }
}

#[test]
fn a_part_of_an_output_is_a_matrix() {
    let (view, w) = stored(Stored::F32, 130, 9, 4);
    let packed = Packed::new(&view.part(20, 70));
    let mut row = [0.0; 9];
    for o in 0..70 {
        packed.output(o, &mut row);
        assert_eq!(row, w[(20 + o) * 9..][..9]);
    }
}

#[test]
#[should_panic(expected = "the left factor is too short")]
fn a_factor_that_is_too_short_is_refused() {
    let packed = Packed::new(&stored(Stored::F32, 3, 4, 1).0);
    let a = Rows {
        values: &[0.0; 7],
        stride: 4,
        count: 2,
    };
    product(a, packed.panels(), false, &mut [0.0; 6], Threads::One);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_shape_is_its_chains(
        m in 1_usize..70,
        n in 1_usize..200,
        k in 1_usize..420,
        kind in 0_usize..4,
        seed in 0_u64..1 << 32,
    ) {
        check(ALL[kind], [m, n, k], seed);
    }

    #[test]
    fn a_row_does_not_depend_on_the_others(
        m in 2_usize..40,
        n in 1_usize..100,
        k in 1_usize..300,
        seed in 0_u64..1 << 32,
    ) {
        let packed = Packed::new(&stored(Stored::BF16, n, k, seed).0);
        let a = values(m * k, seed + 1);
        let rows = |values, count| Rows { values, stride: k, count };
        let all = by(Isa::best(), rows(&a, m), &packed, None);
        for (i, a) in a.chunks(k).enumerate() {
            let alone = by(Isa::best(), rows(a, 1), &packed, None);
            prop_assert_eq!(bits(&alone), bits(&all[i * n..][..n]));
        }
    }
}
