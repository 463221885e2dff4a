//! Plots of a validation as SVG. The same figures give the same bytes.

use std::fmt::Write;

use anyhow::Result;
use filiation_lr::calibrate::{Isotonic, Sample, ece, ece_without, share_above};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 56.0;
/// Steps of a curve.
const STEPS: u32 = 240;

/// A line of a plot.
struct Curve {
    name: &'static str,
    colour: &'static str,
    dash: &'static str,
    points: Vec<[f64; 2]>,
}

/// Axes and what stands at them.
struct Plot {
    title: &'static str,
    across: &'static str,
    up: &'static str,
    x: [f64; 2],
    y: [f64; 2],
    curves: Vec<Curve>,
}

/// Shares of both classes above each log10 likelihood ratio, with the bounds.
pub(super) fn tippett(llrs: &Sample, bounds: [f64; 2]) -> Result<String> {
    let x = [bounds[0].min(-1.0) - 0.3, bounds[1].max(1.0) + 0.3];
    let of = |distilled| along(x, |t| 100.0 * share_above(llrs, distilled, t));
    let at = |bound: f64| vec![[bound, 0.0], [bound, 100.0]];
    let plot = Plot {
        title: "Shares above a likelihood ratio",
        across: "log10 likelihood ratio",
        up: "share above, %",
        x,
        y: [0.0, 100.0],
        curves: vec![
            curve("true teacher", "#0b6e4f", "", of(true)),
            curve("largest other candidate", "#b3261e", "", of(false)),
            curve("lower bound", "#555555", "2 4", at(bounds[0])),
            curve("upper bound", "#555555", "6 4", at(bounds[1])),
        ],
    };
    plot.svg()
}

/// Empirical cross-entropy over prior odds, beside the best calibration and silence.
pub(super) fn cross_entropy(llrs: &Sample) -> Result<String> {
    let best = Isotonic::fit(llrs);
    let best = llrs.map(|llr| best.llr(llr))?;
    let x = [-3.0, 3.0];
    let curves = vec![
        curve(
            "likelihood ratios",
            "#0b6e4f",
            "",
            along(x, |o| ece(llrs, o)),
        ),
        curve(
            "best calibration",
            "#1f5fa8",
            "6 4",
            along(x, |o| ece(&best, o)),
        ),
        curve("saying nothing", "#555555", "2 4", along(x, ece_without)),
    ];
    let most = curves
        .iter()
        .flat_map(|c| &c.points)
        .map(|p| p[1])
        .fold(1.0, f64::max);
    let plot = Plot {
        title: "Empirical cross-entropy",
        across: "log10 prior odds",
        up: "cost, bits",
        x,
        y: [0.0, (most * 5.0).ceil() / 5.0],
        curves,
    };
    plot.svg()
}

fn along([from, to]: [f64; 2], y: impl Fn(f64) -> f64) -> Vec<[f64; 2]> {
    (0..=STEPS)
        .map(|i| {
            let x = (to - from).mul_add(f64::from(i) / f64::from(STEPS), from);
            [x, y(x)]
        })
        .collect()
}

const fn curve(
    name: &'static str,
    colour: &'static str,
    dash: &'static str,
    points: Vec<[f64; 2]>,
) -> Curve {
    Curve {
        name,
        colour,
        dash,
        points,
    }
}

impl Plot {
    fn place(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        let share = |v: f64, [from, to]: [f64; 2]| (v - from) / (to - from);
        [
            share(x, self.x).mul_add(WIDTH - LEFT - RIGHT, LEFT),
            share(y, self.y).mul_add(-(HEIGHT - TOP - BOTTOM), HEIGHT - BOTTOM),
        ]
    }

    fn svg(&self) -> Result<String> {
        let mut svg = String::new();
        writeln!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n\
             <title>{}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
             <text x=\"{LEFT}\" y=\"20\" font-size=\"14\">{}</text>",
            self.title, self.title
        )?;
        self.axes(&mut svg)?;
        for (i, curve) in self.curves.iter().enumerate() {
            let points: Vec<String> = curve
                .points
                .iter()
                .map(|p| {
                    let [x, y] = self.place(*p);
                    format!("{x:.1},{y:.1}")
                })
                .collect();
            let (colour, dash) = (curve.colour, curve.dash);
            writeln!(
                svg,
                "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" \
                 stroke-dasharray=\"{dash}\" points=\"{}\"/>",
                points.join(" ")
            )?;
            let (x, y) = (WIDTH - 190.0, 16.0f64.mul_add(i as f64, TOP + 14.0));
            writeln!(
                svg,
                "<line x1=\"{x}\" x2=\"{}\" y1=\"{}\" y2=\"{}\" stroke=\"{colour}\" \
                 stroke-width=\"1.5\" stroke-dasharray=\"{dash}\"/>\
                 <text x=\"{}\" y=\"{y}\">{}</text>",
                x + 24.0,
                y - 4.0,
                y - 4.0,
                x + 30.0,
                curve.name
            )?;
        }
        svg.push_str("</svg>\n");
        Ok(svg)
    }

    fn axes(&self, svg: &mut String) -> Result<()> {
        let [left, bottom] = self.place([self.x[0], self.y[0]]);
        let [right, top] = self.place([self.x[1], self.y[1]]);
        writeln!(
            svg,
            "<path d=\"M{left} {top}V{bottom}H{right}\" fill=\"none\" stroke=\"black\"/>"
        )?;
        let mut tick = self.x[0].ceil();
        while tick <= self.x[1] {
            let [x, y] = self.place([tick, self.y[0]]);
            writeln!(
                svg,
                "<path d=\"M{x:.1} {y}v5\" stroke=\"black\"/>\
                 <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{tick}</text>",
                y + 18.0
            )?;
            tick += 1.0;
        }
        for step in 0..=5 {
            let value = (self.y[1] - self.y[0]).mul_add(f64::from(step) / 5.0, self.y[0]);
            let [x, y] = self.place([self.x[0], value]);
            writeln!(
                svg,
                "<path d=\"M{x} {y:.1}h-5\" stroke=\"black\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                x - 8.0,
                y + 4.0,
                (value * 100.0).round() / 100.0
            )?;
        }
        writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n\
             <text transform=\"translate(16 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            f64::midpoint(left, right),
            HEIGHT - 16.0,
            self.across,
            f64::midpoint(top, bottom),
            self.up
        )?;
        Ok(())
    }
}
