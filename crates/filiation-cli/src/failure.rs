//! How a failure is told.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use filiation_audit::AuditError;
use filiation_checkpoint::CheckpointError;
use filiation_core::Digest;
use filiation_hub::HubError;
use filiation_model::LoadError;
use filiation_report::clean;
use filiation_teacher::TeacherError;

use crate::models::TrialRender;

/// Arguments that do not go together: exit code 2, as for those that do not parse.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// A file that is another than the one that was told of.
#[derive(Debug)]
pub(crate) struct Mismatch {
    pub(crate) path: PathBuf,
    pub(crate) found: Digest,
    pub(crate) expected: Digest,
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (path, found, expected) = (self.path.display(), self.found, self.expected);
        write!(f, "`{path}` is {found}, expected {expected}")
    }
}

impl std::error::Error for Mismatch {}

/// A store that is not what was written.
#[derive(Debug)]
pub(crate) struct Damaged(pub(crate) Vec<String>);

impl std::fmt::Display for Damaged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = &self.0[..self.0.len().min(20)];
        write!(f, "{} problems\n{}", self.0.len(), shown.join("\n"))
    }
}

impl std::error::Error for Damaged {}

/// Writes an error, its causes and what to do about it to standard error.
pub(crate) fn tell(error: &anyhow::Error) -> ExitCode {
    let mut lines: Vec<String> = Vec::new();
    for (i, cause) in error.chain().enumerate() {
        // A message may run over lines where a parser draws where it stopped.
        let text = cause.to_string();
        let text: Vec<_> = text.trim_end().lines().map(clean).collect();
        let text = text.join("\n  ");
        match i {
            0 => lines.push(format!("error: {text}")),
            // A wrapper may have told its cause already.
            _ if lines.iter().any(|line| line.contains(&text)) => {}
            _ => lines.push(format!("  caused by: {text}")),
        }
    }
    lines.extend(
        error
            .chain()
            .filter_map(hint)
            .map(|h| format!("hint: {}", clean(&h))),
    );
    // Nobody is left to be told where standard error is closed.
    let _ = writeln!(std::io::stderr().lock(), "{}", lines.join("\n"));
    ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
}

fn hint(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(error) = cause.downcast_ref::<AuditError>() {
        return error.hint();
    }
    if let Some(error) = cause.downcast_ref::<CheckpointError>() {
        return error.hint();
    }
    if let Some(error) = cause.downcast_ref::<HubError>() {
        return error.hint();
    }
    if let Some(error) = cause.downcast_ref::<TeacherError>() {
        return error.hint();
    }
    if cause.is::<TrialRender>() {
        return Some(TrialRender::HINT.into());
    }
    cause.downcast_ref::<LoadError>().and_then(LoadError::hint)
}
