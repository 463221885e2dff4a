//! Rates of the matrix products that a decoder on the processor consists of, in the shapes of
//! SmolLM2-135M, by number of rows.
//!
//! ```text
//! cargo bench -p filiation-cli --bench products
//! ```
//! Under `--test` each runs once. The machine must be quiet.

use std::io::Write;

use anyhow::Result;
use filiation_model::Product;

/// Inputs, outputs, and how often the model has such a matrix.
const SHAPES: [(usize, usize, usize); 5] = [
    (576, 576, 60),
    (576, 192, 60),
    (576, 1536, 60),
    (1536, 576, 30),
    (576, 49_152, 1),
];
const ROWS: [usize; 5] = [1, 8, 32, 64, 512];

fn main() -> Result<()> {
    let seconds = if std::env::args().any(|a| a == "--test") {
        1e-9
    } else {
        0.4
    };
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "GFLOPS; the last column is one pass through every matrix of the model"
    )?;
    for narrow in [false, true] {
        let title = if narrow { "bf16" } else { "f32" };
        write!(out, "{title:>5} rows")?;
        for (inputs, outputs, _) in SHAPES {
            write!(out, " {:>10}", format!("{inputs}x{outputs}"))?;
        }
        writeln!(out, "      model")?;
        for rows in ROWS {
            write!(out, "{rows:>10}")?;
            let (mut operations, mut time) = (0.0, 0.0);
            for (inputs, outputs, count) in SHAPES {
                let mut product = Product::new(rows, inputs, outputs, narrow);
                let rate = product.rate(seconds);
                operations += product.operations() * count as f64;
                time += product.operations() * count as f64 / rate;
                write!(out, " {:>10.0}", rate / 1e9)?;
            }
            writeln!(out, " {:>10.0}", operations / time / 1e9)?;
        }
    }
    writeln!(out, "peak {:.0}", Product::peak() / 1e9)?;
    Ok(())
}
