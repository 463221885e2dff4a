use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use filiation_audit::population::Decided;
use filiation_lr::calibrate::share_above;
use filiation_lr::system::{
    Frame, Rate, Settings, Subject, Summary, Validated, held_out, judge_others,
};
use filiation_lr::{Record, run_alike};
use tabled::builder::Builder;
use tabled::settings::Style;

use super::plot;
use crate::output;

/// Fits likelihood ratios on the scores of a population and judges them on models that were left out:
/// single lineages, and whole teachers with their students.
#[derive(Args)]
pub(crate) struct Show {
    /// Folders with `scores.jsonl` or `by-probe/` (and `calibration.toml`), or score files.
    #[arg(required = true)]
    scores: Vec<PathBuf>,
    /// A probe whose scores are used; repeat for each. Default: those that `calibration.toml` names.
    #[arg(long = "stream", value_name = "PROBE")]
    streams: Vec<String>,
    /// Candidates of a case: every model keeps so many, its teacher among them. Default: all.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(2..))]
    candidates: Option<u16>,
    /// Controls of a case: so many clean lineages, drawn for each model. Default: all.
    #[arg(long, value_name = "N")]
    controls: Option<u16>,
    /// Only students of whose rows at least this share came from the teacher: Hd is then "a share of at
    /// least that".
    #[arg(long, value_name = "SHARE")]
    least_share: Option<f64>,
    /// A score file of another population: it is judged by what is fitted on this one.
    #[arg(long, value_name = "SCORES")]
    judge: Option<PathBuf>,
    /// Markdown tables.
    #[arg(long)]
    markdown: bool,
    /// Folder that gets `tippett.svg` and `cross-entropy.svg`, each teacher left out.
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
}

impl Show {
    pub(crate) fn run(self, json: bool) -> Result<()> {
        let records = super::records(&super::score_files(&self.scores)?)?;
        let streams = self.streams(&records)?;
        let frame = Frame {
            candidates: self.candidates.map(usize::from),
            controls: self.controls.map(usize::from),
            ..Frame::WHOLE
        };
        run_alike(&[&records], &streams)?;
        let subjects = self.subjects(&records)?;
        let settings = Settings::of(streams);
        if let Some(others) = &self.judge {
            let others = super::records(std::slice::from_ref(others))?;
            run_alike(&[&records, &others], &settings.streams)?;
            return self.others(&subjects, &others, &settings, frame, json);
        }
        let validated = Validated::of(&subjects, &settings, frame)?;
        if let Some(folder) = &self.plots {
            let llrs = held_out(&validated.judged)?;
            let plots = [
                ("tippett.svg", plot::tippett(&llrs, validated.bounds)?),
                ("cross-entropy.svg", plot::cross_entropy(&llrs)?),
            ];
            for (name, svg) in plots {
                let path = folder.join(name);
                std::fs::write(&path, svg)
                    .with_context(|| format!("cannot write `{}`", path.display()))?;
            }
        }
        if json {
            return output::json(&validated);
        }
        output::text(&self.text(&validated)?)
    }

    fn subjects(&self, records: &[Record]) -> Result<Vec<Subject>> {
        let mut subjects = Subject::all(records)?;
        if let Some(least) = self.least_share {
            let enough = |s: &Subject| s.known.taught.as_ref().is_none_or(|t| t.share >= least);
            subjects.retain(enough);
        }
        Ok(subjects)
    }

    fn others(
        &self,
        subjects: &[Subject],
        others: &[Record],
        settings: &Settings,
        frame: Frame,
        json: bool,
    ) -> Result<()> {
        let others = self.subjects(others)?;
        let judged = judge_others(subjects, &others, settings, frame)?;
        let summary = Summary::of(&judged)?;
        if json {
            return output::json(&summary);
        }
        let mut text = format!("{} models of another population.\n\n", judged.len());
        writeln!(
            text,
            "{}",
            self.table(figures(&[("other models", &summary)]))
        )?;
        writeln!(text, "{}", self.table(shares(&summary)))?;
        output::text(&text)
    }

    fn streams(&self, records: &[Record]) -> Result<Vec<String>> {
        let streams = match self.streams.is_empty() {
            false => self.streams.clone(),
            true => self.written()?,
        };
        for stream in &streams {
            if !records.iter().any(|r| r.method.name() == stream) {
                bail!("no score by probe `{stream}`");
            }
        }
        Ok(streams)
    }

    fn written(&self) -> Result<Vec<String>> {
        let files = self.scores.iter().map(|p| p.join("calibration.toml"));
        let Some(path) = files.into_iter().find(|p| p.is_file()) else {
            bail!(
                "no `calibration.toml` beside the scores\n\
                 hint: name the probes to use with `--stream`"
            );
        };
        Ok(Decided::read(&path)?.streams)
    }

    fn text(&self, v: &Validated) -> Result<String> {
        let mut text = String::new();
        let p = &v.population;
        writeln!(
            text,
            "{} models: {} distilled and {} clean lineages, {} teachers, {} candidates and {} controls \
             each; tier {}.",
            v.models,
            p.distilled,
            p.other,
            p.teachers,
            v.candidates,
            v.controls,
            v.tier.number()
        )?;
        let [lower, upper] = v.bounds;
        writeln!(
            text,
            "Stated at least 10^{lower:.2} and at most 10^{upper:.2} = {:.0}, whatever the scores.",
            10_f64.powf(upper)
        )?;
        for against in &v.against {
            let [lower, upper] = against.bounds;
            writeln!(
                text,
                "Against {}: {} lineages, tier {}, 10^{lower:.2} to 10^{upper:.2} = {:.0}; {}.",
                against.alternative.symbol(),
                against.lineages,
                against.tier.number(),
                10_f64.powf(upper),
                against.fusion
            )?;
        }
        text.push('\n');
        writeln!(text, "{}", self.table(figures(&summaries(v))))?;
        writeln!(
            text,
            "By signal and share of the training rows, each teacher left out.\n"
        )?;
        writeln!(
            text,
            "{}",
            self.table(shares(&v.validation.leave_one_teacher_out))
        )?;
        let rows = unseen(&v.validation.leave_one_teacher_out);
        if rows.len() > 1 {
            writeln!(
                text,
                "What Cllr could be at best if students of small shares scored as clean models do, and all \
                 others were told without fail.\n"
            )?;
            writeln!(text, "{}", self.table(rows))?;
        }
        writeln!(
            text,
            "Shares above a likelihood ratio (Tippett), each teacher left out.\n"
        )?;
        writeln!(text, "{}", self.table(tails(v)?))?;
        if let Some(quiet) = v.validation.shuffled_quiet {
            writeln!(
                text,
                "Shuffled histories: |log10 LR| below 0.3 in {}.",
                rate(Some(quiet))
            )?;
        }
        writeln!(
            text,
            "Every model ten times: nothing changes by more than {:.1e}.",
            v.validation.change_by_repetition
        )?;
        Ok(text)
    }

    fn table(&self, rows: Vec<Vec<String>>) -> String {
        let mut table = Builder::from_iter(rows).build();
        if self.markdown {
            table.with(Style::markdown());
        } else {
            table.with(Style::psql());
        }
        format!("{table}\n")
    }
}

/// The summaries of a validation by name.
fn summaries(v: &Validated) -> Vec<(&'static str, &Summary)> {
    let of = &v.validation;
    let mut columns = vec![
        ("in sample", &of.in_sample),
        ("lineage left out", &of.leave_one_lineage_out),
        ("teacher left out", &of.leave_one_teacher_out),
    ];
    if let Some(family) = &of.leave_one_family_out {
        columns.push(("family left out", family));
    }
    columns
}

fn figures(columns: &[(&'static str, &Summary)]) -> Vec<Vec<String>> {
    let mut rows = vec![vec![String::new()]];
    rows[0].extend(columns.iter().map(|(name, _)| (*name).to_owned()));
    type Figure = (&'static str, fn(&Summary) -> String);
    let all: [Figure; 12] = [
        ("Cllr, bits", |s| format!("{:.3}", s.cllr)),
        ("Cllr_min, bits", |s| format!("{:.3}", s.cllr_min)),
        ("Cllr_cal, bits", |s| format!("{:.3}", s.cllr_calibration)),
        ("devPAV, log10", |s| {
            s.dev_pav.map_or("–".into(), |d| format!("{d:.2}"))
        }),
        ("equal error rate", |s| {
            format!("{:.1} %", 100.0 * s.equal_error_rate)
        }),
        ("clean, LR > 10", |s| rate(s.misleading_over_10)),
        ("clean, LR > 1", |s| rate(s.misleading_over_1)),
        ("students, LR < 1", |s| rate(s.misleading_below_1)),
        ("false positives at 1 %", |s| rate(s.false_positive_rate)),
        ("teacher first", |s| rate(s.teacher_first)),
        ("teacher first, with a sibling", |s| {
            rate(s.teacher_first_with_sibling)
        }),
        ("mean LR under H2", |s| {
            let [mean, error] = s.mean_lr_h2;
            format!("{mean:.2} ± {error:.2}")
        }),
    ];
    for (name, figure) in all {
        let mut row = vec![name.to_owned()];
        row.extend(columns.iter().map(|(_, summary)| figure(summary)));
        rows.push(row);
    }
    rows
}

fn shares(summary: &Summary) -> Vec<Vec<String>> {
    let head = [
        "signal",
        "share",
        "found at 1 %",
        "teacher first",
        "Cllr, bits",
        "Cllr_min, bits",
        "median log10 LR",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for at in &summary.by_share {
        rows.push(vec![
            at.by.clone(),
            format!("{} %", 100.0 * at.share),
            rate(at.found),
            rate(at.first),
            bits(at.cllr),
            bits(at.cllr_min),
            at.median_llr.map_or("–".into(), |llr| format!("{llr:.2}")),
        ]);
    }
    rows
}

fn bits(cllr: Option<f64>) -> String {
    cllr.map_or("–".into(), |cllr| format!("{cllr:.3}"))
}

fn unseen(summary: &Summary) -> Vec<Vec<String>> {
    let head = ["shares below", "of the students", "least Cllr, bits"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for at in summary.unseen.iter().filter(|at| at.students > 0.0) {
        rows.push(vec![
            format!("{} %", 100.0 * at.below),
            format!("{:.0} %", 100.0 * at.students),
            format!("{:.3}", at.least_cllr),
        ]);
    }
    rows
}

fn tails(v: &Validated) -> Result<Vec<Vec<String>>> {
    let thresholds = [-1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0];
    let head = ["log10 LR above", "true teacher", "largest other"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let llrs = held_out(&v.judged)?;
    for at in thresholds {
        let share = |class| format!("{:.1} %", 100.0 * share_above(&llrs, class, at));
        rows.push(vec![format!("{at:.1}"), share(true), share(false)]);
    }
    Ok(rows)
}

fn rate(rate: Option<Rate>) -> String {
    rate.map_or("–".into(), |r| {
        format!(
            "{}/{} [{:.1}, {:.1}] %",
            r.hits,
            r.of,
            100.0 * r.interval.lower,
            100.0 * r.interval.upper
        )
    })
}
