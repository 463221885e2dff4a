mod asked;
mod audit;
mod cache;
mod canary;
mod collect;
mod import;
mod inspect;
mod lab;
mod lineage;
mod measure;
mod pack;
mod plan;
mod population;
mod remote;
mod report;
mod schema;
mod teacher;
mod watermark;
mod weigh;
mod worth;

use anyhow::Result;
use clap::Subcommand;

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Audit a suspect against candidate teachers, from weights to a written opinion.
    Audit(Box<audit::Audit>),
    /// Record a teacher's answers once, for any number of audits.
    Collect(Box<collect::Collect>),
    /// Look at a recording, or make one of a log.
    #[command(subcommand)]
    Pack(pack::Pack),
    /// Look at a model behind an API: what it gives, whether it is sound, whether it is still the same.
    #[command(subcommand)]
    Teacher(teacher::Teacher),
    /// Look after what models behind APIs answered.
    #[command(subcommand)]
    Cache(cache::Cache),
    /// Price what models behind APIs will be asked, before they are.
    Plan(Box<plan::Plan>),
    /// Compute every statistic of a run again, from its transcripts.
    Measure(measure::Measure),
    /// Weigh the statistics of a run again, and write its report.
    Weigh(weigh::Weigh),
    /// Show the report of a run.
    Report(report::ReportArgs),
    /// Show what a model folder holds, without running it.
    Inspect(inspect::Inspect),
    /// Compare the weights of two models.
    Lineage(lineage::Lineage),
    /// Train small models of known history.
    #[command(subcommand)]
    Lab(lab::Lab),
    /// Score suspects of known history, and judge the probes by them.
    #[command(subcommand)]
    Population(population::Population),
    /// Read watermarks under a key.
    #[command(subcommand)]
    Watermark(watermark::Watermark),
    /// Plant texts by lot, and look for them in a suspect.
    #[command(subcommand)]
    Canary(canary::Canary),
    /// Print the JSON Schema of `report.json`.
    Schema(schema::Schema),
}

impl Command {
    pub(crate) fn run(self, json: bool) -> Result<()> {
        match self {
            Self::Audit(command) => command.run(json),
            Self::Collect(command) => command.run(json),
            Self::Pack(command) => command.run(json),
            Self::Teacher(command) => command.run(json),
            Self::Cache(command) => command.run(json),
            Self::Plan(command) => command.run(json),
            Self::Measure(command) => command.run(json),
            Self::Weigh(command) => command.run(json),
            Self::Report(command) => command.run(json),
            Self::Inspect(command) => command.run(json),
            Self::Lineage(command) => command.run(json),
            Self::Lab(command) => command.run(json),
            Self::Population(command) => command.run(json),
            Self::Watermark(command) => command.run(json),
            Self::Canary(command) => command.run(json),
            Self::Schema(command) => command.run(),
        }
    }
}
