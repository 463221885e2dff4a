//! The filiation command: was this model distilled from that one?

#![forbid(unsafe_code)]

mod commands;
mod day;
mod exchanges;
mod failure;
mod hub;
mod models;
mod output;
mod progress;
mod size;
mod teachers;

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Was this model distilled from that one? Evidence for and against, from the weights up.
///
/// Data go to standard output, progress and errors to standard error. Exit codes: 0 ran, 1 could
/// not run, 2 usage. No exit code is a verdict.
#[derive(Parser)]
#[command(name = "filiation", version, max_term_width = 100)]
struct Cli {
    /// Write JSON to standard output.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: commands::Command,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command.run(cli.json) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::tell(&error),
    }
}
