//! A Hub on this machine, as sound or as hostile as a test wants it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What a request asked.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) authorized: bool,
    pub(crate) range: Option<u64>,
}

/// How the Hub misbehaves.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    /// The content of every file is refused, though its header is not.
    pub(crate) denied: bool,
    /// This file's content is another of the same length.
    pub(crate) spoilt: Option<&'static str>,
    /// This file's content ends in the middle, once.
    pub(crate) torn: Option<&'static str>,
    /// Ranges are not heard.
    pub(crate) no_ranges: bool,
    /// A further name in the list.
    pub(crate) name: Option<&'static str>,
    /// The commit that is answered for.
    pub(crate) commit: Option<String>,
    /// Headers of every answer.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// The status of every answer.
    pub(crate) status: Option<u16>,
    /// What is answered for JSON.
    pub(crate) html: bool,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    faults: Faults,
    seen: Vec<Seen>,
}

pub(crate) struct Mock {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Mock {
    /// A Hub with one model, `acme/tiny`, of these files.
    pub(crate) fn serve(files: BTreeMap<String, Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its number");
        let state = Arc::new(Mutex::new(State {
            files,
            ..State::default()
        }));
        let shared = Arc::clone(&state);
        // It ends with the test's process; nothing waits for it.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || answer(stream, &shared));
            }
        });
        Self { address, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn misbehave(&self, faults: Faults) {
        lock(&self.state).faults = faults;
    }

    pub(crate) fn put(&self, name: &str, content: &[u8]) {
        lock(&self.state).files.insert(name.into(), content.into());
    }

    /// What was asked since the last time.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut lock(&self.state).seen)
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream);
    // Connections are kept: the client decides when to close.
    while let Some((seen, body)) = request(&mut reader) {
        lock(state).seen.push(seen.clone());
        let reply = reply(&seen, &body, state);
        if reader.get_mut().write_all(&reply.bytes).is_err() || reply.close {
            return;
        }
    }
}

fn request(reader: &mut BufReader<TcpStream>) -> Option<(Seen, Vec<u8>)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let mut words = line.split_whitespace();
    let mut seen = Seen {
        method: words.next()?.to_owned(),
        path: words.next()?.to_owned(),
        authorized: false,
        range: None,
    };
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let header = header.trim().to_ascii_lowercase();
        match header.split_once(':') {
            None => break,
            Some(("content-length", value)) => length = value.trim().parse().ok()?,
            Some(("authorization", _)) => seen.authorized = true,
            Some(("range", value)) => {
                let start = value.trim().strip_prefix("bytes=")?.split('-').next()?;
                seen.range = start.parse().ok();
            }
            Some(_) => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((seen, body))
}

struct Reply {
    bytes: Vec<u8>,
    close: bool,
}

struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// Bytes of the body that are sent.
    sent: usize,
}

impl Answer {
    fn of(status: u16, body: Vec<u8>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            sent: body.len(),
            body,
        }
    }

    fn json(value: &Value) -> Self {
        let mut answer = Self::of(200, value.to_string().into_bytes());
        answer
            .headers
            .push(("Content-Type", "application/json".into()));
        answer
    }
}

fn reply(seen: &Seen, body: &[u8], state: &Mutex<State>) -> Reply {
    let mut state = lock(state);
    let mut answer = route(seen, body, &mut state);
    let faults = &state.faults;
    if let Some(status) = faults.status {
        answer = Answer::of(status, b"no".to_vec());
    }
    if faults.html && seen.path.starts_with("/api") {
        answer = Answer::of(200, b"<html>sign in</html>".to_vec());
    }
    answer.headers.extend(faults.headers.clone());
    let mut head = format!(
        "HTTP/1.1 {} X\r\nContent-Length: {}\r\n",
        answer.status,
        answer.body.len()
    );
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    let mut bytes = (head + "\r\n").into_bytes();
    if seen.method != "HEAD" {
        bytes.extend(&answer.body[..answer.sent]);
    }
    Reply {
        close: answer.sent < answer.body.len(),
        bytes,
    }
}

fn route(seen: &Seen, body: &[u8], state: &mut State) -> Answer {
    let commit = state.faults.commit.clone().unwrap_or_else(|| COMMIT.into());
    let path = seen.path.as_str();
    if let Some(rest) = path.strip_prefix("/api/models/acme/tiny") {
        if rest.starts_with("/paths-info/") {
            return paths_info(body, state);
        }
        let named = rest.strip_prefix("/revision/");
        if rest.is_empty() || named.is_some_and(|r| ["main", "v1", COMMIT].contains(&r)) {
            let mut names: Vec<&str> = state.files.keys().map(String::as_str).collect();
            names.extend(state.faults.name);
            let siblings: Vec<Value> = names.iter().map(|n| json!({ "rfilename": n })).collect();
            return Answer::json(&json!({ "id": "acme/tiny", "sha": commit, "private": false,
                "tags": [], "siblings": siblings }));
        }
        return Answer::of(404, b"{\"error\":\"Revision Not Found\"}".to_vec());
    }
    let name = path.strip_prefix(&format!("/acme/tiny/resolve/{COMMIT}/"));
    let content = name.and_then(|n| Some((n.to_owned(), state.files.get(n)?.clone())));
    match content {
        Some((name, content)) => file(seen, &name, content, state),
        None => Answer::of(404, b"Entry not found".to_vec()),
    }
}

fn paths_info(body: &[u8], state: &State) -> Answer {
    let asked: Value = serde_json::from_slice(body).unwrap_or_default();
    let names = asked["paths"].as_array().into_iter().flatten();
    let entry = |name: &Value| {
        let name = name.as_str()?;
        let content = state.files.get(name)?;
        let mut entry = json!({ "type": "file", "path": name, "size": content.len(), "oid": oid(name, content) });
        if is_lfs(name) {
            // As the Hub writes it: the id is `oid`.
            entry["lfs"] =
                json!({ "oid": sha256(content), "size": content.len(), "pointerSize": 130 });
        }
        Some(entry)
    };
    Answer::json(&Value::Array(names.filter_map(entry).collect()))
}

fn file(seen: &Seen, name: &str, mut content: Vec<u8>, state: &mut State) -> Answer {
    let faults = &mut state.faults;
    if faults.denied && seen.method == "GET" {
        return Answer::of(
            403,
            b"<Error>AccessDenied: signature expired</Error>".to_vec(),
        );
    }
    let etag = if is_lfs(name) {
        sha256(&content)
    } else {
        oid(name, &content)
    };
    if faults.spoilt == Some(name)
        && let Some(last) = content.last_mut()
    {
        *last ^= 1;
    }
    let mut status = 200;
    if let Some(start) = seen.range.filter(|_| !faults.no_ranges) {
        content.drain(..start as usize);
        status = 206;
    }
    let mut answer = Answer::of(status, content);
    if faults.torn == Some(name) && seen.method == "GET" {
        faults.torn = None;
        answer.sent /= 2;
    }
    answer.headers.push(("ETag", format!("\"{etag}\"")));
    answer.headers.push(("X-Repo-Commit", COMMIT.into()));
    answer
}

fn is_lfs(name: &str) -> bool {
    name.ends_with(".safetensors") || name.ends_with(".gguf")
}

pub(crate) fn sha256(content: &[u8]) -> String {
    hex(&Sha256::digest(content))
}

/// Git's hash of a file, or of the pointer in its place.
pub(crate) fn oid(name: &str, content: &[u8]) -> String {
    let pointer = format!(
        "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n",
        sha256(content),
        content.len()
    );
    let text = if is_lfs(name) {
        pointer.as_bytes()
    } else {
        content
    };
    let mut hash = Sha1::new();
    hash.update(format!("blob {}\0", text.len()));
    hash.update(text);
    hex(&hash.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
