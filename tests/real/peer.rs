//! llama.cpp's own server, which nobody here wrote.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use filiation_teacher::{Client, Endpoint, Mode, Options, Store};

use crate::folder;

/// The file of a model, such as `smollm2` or `smollm2-f16`.
pub(crate) fn gguf(name: &str) -> PathBuf {
    let model = name.split('-').next().unwrap_or(name);
    folder(&format!("{name}-gguf")).join(format!("{model}.gguf"))
}

/// A server; it ends with the test, by its own process and no other.
pub(crate) struct Peer {
    child: Child,
    pub(crate) url: String,
}

impl Peer {
    pub(crate) fn start(name: &str) -> Self {
        let python = std::env::var_os("FILIATION_PYTHON")
            .map_or_else(|| folder("../venv/bin/python"), PathBuf::from);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/real/serve.py");
        let mut child = Command::new(python)
            .arg(script)
            .arg(gguf(name))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("FILIATION_PYTHON has xllamacpp");
        let out = child.stdout.take().expect("piped");
        let (told, heard) = mpsc::channel();
        std::thread::spawn(move || {
            // What the server logs afterwards is read and dropped, so that it never waits.
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if line.starts_with("http://") {
                    drop(told.send(line.trim().to_owned()));
                }
            }
        });
        let url = heard
            .recv_timeout(Duration::from_secs(120))
            .expect("it listens");
        Self { child, url }
    }

    pub(crate) fn client(&self, name: &str, store: &Path) -> Client {
        let endpoint =
            Endpoint::new(&format!("llamacpp:{name}"), Some(&self.url)).expect("an endpoint");
        let store = Arc::new(Store::record(store).expect("opens"));
        let options = Options {
            concurrency: 2,
            ..Options::default()
        };
        Client::new(endpoint, store, Mode::Record, options).expect("starts")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
