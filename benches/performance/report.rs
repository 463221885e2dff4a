//! The table and the file of results.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

/// What a figure should be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wanted {
    AtLeast(f64),
    AtMost(f64),
    /// Told, not judged.
    Nothing,
}

/// A figure of one run.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) ours: f64,
    /// The peer's, or what ours is a share of; none where the figure stands by itself.
    pub(crate) peer: Option<f64>,
    pub(crate) ratio: Option<f64>,
    pub(crate) wanted: Wanted,
}

impl Figure {
    /// Seconds for the same work: above 1 ours is quicker.
    pub(crate) fn speed(name: &'static str, ours: f64, peer: f64, wanted: f64) -> Self {
        Self {
            name,
            unit: "s",
            ours,
            peer: Some(peer),
            ratio: Some(peer / ours),
            wanted: Wanted::AtLeast(wanted),
        }
    }

    /// Ours over the other's, for what should be small (`AtMost`) or large.
    pub(crate) fn share(
        (name, unit): (&'static str, &'static str),
        ours: f64,
        peer: f64,
        wanted: Wanted,
    ) -> Self {
        Self {
            name,
            unit,
            ours,
            peer: Some(peer),
            ratio: Some(ours / peer),
            wanted,
        }
    }

    pub(crate) fn alone(
        (name, unit): (&'static str, &'static str),
        ours: f64,
        wanted: Wanted,
    ) -> Self {
        Self {
            name,
            unit,
            ours,
            peer: None,
            ratio: None,
            wanted,
        }
    }

    fn met(&self) -> bool {
        let found = self.ratio.unwrap_or(self.ours);
        match self.wanted {
            Wanted::AtLeast(least) => found >= least,
            Wanted::AtMost(most) => found <= most,
            Wanted::Nothing => true,
        }
    }

    fn cells(&self) -> [String; 5] {
        let value = |x: f64| match x.abs() {
            x if x >= 100.0 => format!("{x:.0}"),
            x if x >= 10.0 => format!("{x:.1}"),
            _ => format!("{x:.2}"),
        };
        let shown = |x: f64| format!("{} {}", value(x), self.unit);
        let wanted = match self.wanted {
            Wanted::AtLeast(x) => format!("≥ {x}"),
            Wanted::AtMost(x) => format!("≤ {x}"),
            Wanted::Nothing => String::new(),
        };
        let missed = if self.met() { "" } else { ", missed" };
        [
            format!("`{}`", self.name),
            shown(self.ours),
            self.peer.map_or("–".into(), shown),
            self.ratio.map_or("–".into(), |r| format!("{r:.2}")),
            wanted + missed,
        ]
    }
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    }
}

/// A Markdown table that reads as it stands.
pub(crate) fn table(figures: &[Figure]) -> String {
    let mut rows = vec![["figure", "ours", "peer", "ratio", "wanted"].map(String::from)];
    rows.extend(figures.iter().map(Figure::cells));
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: [usize; 5] = std::array::from_fn(width);
    let line = |cells: &[String; 5]| {
        let [name, rest @ ..] = cells;
        let mut line = format!("| {name:<0$} |", widths[0]);
        for (cell, width) in rest.iter().zip(&widths[1..]) {
            line += &format!(" {cell:>width$} |");
        }
        line
    };
    let right = widths[1..]
        .iter()
        .map(|w| format!("{}:|", "-".repeat(w + 1)));
    let rule = format!(
        "|{}|{}",
        "-".repeat(widths[0] + 2),
        right.collect::<String>()
    );
    let mut lines = vec![line(&rows[0]), rule];
    lines.extend(rows[1..].iter().map(line));
    lines.join("\n")
}

/// Ratios that a whole run must have given.
const RATIOS: [&str; 10] = [
    "score_f32_vs_torch",
    "score_bf16_vs_torch_f32",
    "score_vs_gemm_peak",
    "forensic_gemma_vs_torch",
    "forensic_smollm2_vs_torch",
    "generate_vs_transformers",
    "generate_vs_llamacpp_f16",
    "train_vs_torch",
    "peak_memory_vs_torch",
    "first_result_vs_torch",
];

/// Writes `benches/results.json`, and the table into `docs/performance.md`.
pub(crate) fn store(
    root: &Path,
    figures: &[Figure],
    machine: &Value,
    versions: &Value,
    table: &str,
) -> Result<()> {
    let find = |name: &str| {
        figures
            .iter()
            .find(|f| f.name == name)
            .and_then(|f| f.ratio)
    };
    let mut ratios = Map::new();
    for name in RATIOS {
        let Some(ratio) = find(name).filter(|r| r.is_finite()) else {
            bail!("no ratio `{name}`: nothing is written");
        };
        ratios.insert(name.into(), round(ratio));
    }
    let medians: Map<String, Value> = figures
        .iter()
        .map(|f| {
            let peer = f.peer.map(round);
            let of = json!({ "ours": round(f.ours), "peer": peer, "unit": f.unit });
            (f.name.to_owned(), of)
        })
        .collect();
    let results = json!({
        "ratios": ratios,
        "medians": medians,
        "machine": machine,
        "versions": versions,
    });
    let text = serde_json::to_string_pretty(&results)? + "\n";
    fs::write(root.join("benches/results.json"), text)?;
    into_page(&root.join("docs/performance.md"), table)
}

/// Four significant digits: more would be noise.
fn round(x: f64) -> Value {
    format!("{x:.3e}")
        .parse::<f64>()
        .map_or(Value::Null, Value::from)
}

/// Puts the table between the two marks of the page.
fn into_page(page: &Path, table: &str) -> Result<()> {
    const MARKS: [&str; 2] = ["<!-- figures -->\n", "<!-- end of figures -->\n"];
    let text = fs::read_to_string(page)?;
    let (before, rest) = text.split_once(MARKS[0]).context("no mark `figures`")?;
    let (_, after) = rest
        .split_once(MARKS[1])
        .context("no mark `end of figures`")?;
    let text = [before, MARKS[0], table, "\n", MARKS[1], after].concat();
    Ok(fs::write(page, text)?)
}
