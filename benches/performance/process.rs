//! Child processes: what is measured runs alone in a process of its own, ours as well as the peers'.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

/// Longest that one child may take.
const LIMIT: Duration = Duration::from_secs(900);

/// What a child told.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// Seconds from the start of the process to its line `first`.
    pub(crate) first: Option<f64>,
    result: Value,
}

impl Run {
    pub(crate) fn number(&self, key: &str) -> Result<f64> {
        let number = self.result[key].as_f64();
        number.with_context(|| format!("a child gave no number `{key}`: {}", self.result))
    }

    /// The result in one line, without what was generated.
    pub(crate) fn short(&self) -> String {
        let mut shown = self.result.clone();
        if let Some(shown) = shown.as_object_mut() {
            shown.remove("rows");
        }
        shown.to_string()
    }

    pub(crate) fn value(&self, key: &str) -> &Value {
        &self.result[key]
    }
}

/// Where children are started from.
pub(crate) struct Workshop {
    /// Folder for jobs and what children say on standard error; gone after the run.
    pub(crate) scratch: PathBuf,
    /// The interpreter of the peers.
    pub(crate) python: PathBuf,
    /// Children that were started.
    pub(crate) started: AtomicUsize,
}

impl Workshop {
    /// Ourselves, as a child that works off `job`.
    pub(crate) fn ours(&self, kind: &str, job: &Value) -> Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--child").arg(kind).arg(self.job(kind, job)?);
        Ok(command)
    }

    /// The script `peer_NAME.py`, which works off the same kind of job.
    pub(crate) fn peer(&self, name: &str, job: &Value) -> Result<Command> {
        let mut command = self.script(name);
        command.arg(self.job(name, job)?);
        Ok(command)
    }

    pub(crate) fn script(&self, name: &str) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(crate::root().join(format!("benches/peer_{name}.py")));
        // A model is a folder here; nothing may look for it elsewhere.
        command.env("HF_HUB_OFFLINE", "1");
        command
    }

    fn job(&self, name: &str, job: &Value) -> Result<PathBuf> {
        let bytes = filiation_core::canonical::to_bytes(job);
        let path = self.scratch.join(format!(
            "{name}-{}.json",
            filiation_core::Digest::of(&bytes)
        ));
        std::fs::write(&path, bytes)?;
        Ok(path)
    }

    pub(crate) fn run(&self, command: Command) -> Result<Run> {
        self.start(command)?.finish()
    }

    pub(crate) fn start(&self, mut command: Command) -> Result<Running> {
        // Children may run side by side.
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let said = self.scratch.join(format!("said-{number}"));
        let start = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&said)?)
            .spawn()
            .with_context(|| format!("cannot start {:?}", command.get_program()))?;
        let out = child.stdout.take().context("no standard output")?;
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if send.send((line, start.elapsed().as_secs_f64())).is_err() {
                    break;
                }
            }
        });
        Ok(Running {
            what: format!("{command:?}"),
            child,
            lines,
            end: start + LIMIT,
            said,
        })
    }
}

/// A child that was started. Dropped, it is killed.
pub(crate) struct Running {
    what: String,
    child: Child,
    lines: Receiver<(String, f64)>,
    end: Instant,
    said: PathBuf,
}

impl Running {
    /// Waits for the result.
    pub(crate) fn finish(mut self) -> Result<Run> {
        let run = self.read();
        let ended = self.child.wait().map(|status| status.success());
        match run {
            Ok(run) if ended? => Ok(run),
            Ok(_) => Err(self.failed("it ended with an error")),
            Err(error) => Err(self.failed(&error.to_string())),
        }
    }

    fn read(&mut self) -> Result<Run> {
        let mut first = None;
        loop {
            let left = self.end.saturating_duration_since(Instant::now());
            let Ok((line, at)) = self.lines.recv_timeout(left) else {
                self.child.kill()?;
                bail!("no result within {} s, or none at all", LIMIT.as_secs());
            };
            if line == "first" {
                first = Some(at);
                continue;
            }
            if let Ok(result @ Value::Object(_)) = serde_json::from_str(&line) {
                return Ok(Run { first, result });
            }
        }
    }

    fn failed(&self, why: &str) -> anyhow::Error {
        anyhow!("{}: {why}; it said: {}", self.what, tail(&self.said))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error means that it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tail(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}
