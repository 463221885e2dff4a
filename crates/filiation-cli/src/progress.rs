//! Progress on standard error: a bar on a terminal, a line now and then elsewhere.

use std::cell::RefCell;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use filiation_audit::Progress;
use indicatif::{ProgressBar, ProgressStyle};

const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// How collecting is shown.
pub(crate) struct Shown {
    terminal: bool,
    stage: RefCell<Option<Stage>>,
}

struct Stage {
    name: String,
    bar: ProgressBar,
    done: u64,
    total: u64,
    began_with: u64,
    began: Instant,
    told: Instant,
}

impl Shown {
    pub(crate) fn new() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
            stage: RefCell::new(None),
        }
    }

    /// One line, whatever is shown around it.
    pub(crate) fn line(text: &str) {
        // Progress that cannot be shown stops nothing.
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }
}

impl Progress for Shown {
    fn begin(&self, stage: &str, done: u64, total: u64) {
        let bar = if self.terminal {
            let style = "{msg} {wide_bar} {pos}/{len} ETA {eta}";
            let style = ProgressStyle::with_template(style).expect("the template is sound");
            ProgressBar::new(total)
                .with_style(style)
                .with_message(stage.to_owned())
                .with_position(done)
        } else {
            Self::line(&format!("{stage} {done}/{total}"));
            ProgressBar::hidden()
        };
        bar.reset_eta();
        bar.tick();
        let now = Instant::now();
        self.stage.replace(Some(Stage {
            name: stage.to_owned(),
            bar,
            done,
            total,
            began_with: done,
            began: now,
            told: now,
        }));
    }

    fn advance(&self, count: u64) {
        if let Some(stage) = self.stage.borrow_mut().as_mut() {
            stage.done += count;
            stage.bar.inc(count);
            if !self.terminal && stage.told.elapsed() >= BETWEEN_LINES {
                stage.told = Instant::now();
                Self::line(&stage.line());
            }
        }
    }

    fn end(&self) {
        if let Some(stage) = self.stage.take() {
            stage.bar.finish_and_clear();
            let seconds = stage.began.elapsed().as_secs_f64();
            Self::line(&format!(
                "{} {}/{} in {seconds:.1} s",
                stage.name, stage.done, stage.total
            ));
        }
    }
}

impl Stage {
    fn line(&self) -> String {
        let (made, left) = (self.done - self.began_with, self.total - self.done);
        let eta = self.began.elapsed().as_secs_f64() / made.max(1) as f64 * left as f64;
        format!("{} {}/{} ETA {eta:.0} s", self.name, self.done, self.total)
    }
}
