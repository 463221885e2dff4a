//! Teachers behind an API, from the command line: bought once, kept byte for byte, audited.

mod audit;
mod kill;
mod money;
#[expect(dead_code, reason = "it can do more than is asked of it here")]
mod server;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A key that nothing may keep.
const CANARY: &str = "sk-canary-77c1e0a9d2";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn filiation(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_filiation"));
    command
        .current_dir(folder)
        .env("CANARY_KEY", CANARY)
        .env_remove("FILIATION_STORE")
        .env_remove("FILIATION_ANSWERS");
    command
}

fn told(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!(
        "{}\n{}",
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(err)
    )
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).expect("lists") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|w| w == text.as_bytes())
}
