//! A server of HTTP/1.1 on this machine that can break off wherever a test wants it to.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A request that came.
#[derive(Debug, Clone)]
pub(crate) struct Hit {
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// What to do with it.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// Status, content type, body.
    Whole(u16, &'static str, Vec<u8>),
    /// A successful head, and the body's first bytes.
    Cut(Vec<u8>, usize),
    /// Nothing; the connection is closed.
    Reset,
    /// Nothing, for so long.
    Hang(Duration),
}

impl Reply {
    pub(crate) fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::Whole(status, "application/json", body.into())
    }
}

type Handler = dyn Fn(usize, &Hit) -> Reply + Send + Sync;

/// Listens until it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    hits: Arc<Mutex<Vec<Hit>>>,
    closed: Arc<AtomicBool>,
}

impl Server {
    /// Answers each request by `handler`, which is given its number from 0 too.
    pub(crate) fn start(handler: impl Fn(usize, &Hit) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let hits: Arc<Mutex<Vec<Hit>>> = Arc::default();
        let closed: Arc<AtomicBool> = Arc::default();
        let handler: Arc<Handler> = Arc::new(handler);
        let (seen, over) = (Arc::clone(&hits), Arc::clone(&closed));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if over.load(Ordering::Acquire) {
                    break;
                }
                let (seen, handler) = (Arc::clone(&seen), Arc::clone(&handler));
                thread::spawn(move || serve(stream, &seen, &*handler));
            }
        });
        Self {
            address,
            hits,
            closed,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests so far.
    pub(crate) fn hits(&self) -> Vec<Hit> {
        self.hits.lock().expect("no test panicked").clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Release);
        drop(TcpStream::connect(self.address));
    }
}

fn serve(stream: TcpStream, seen: &Mutex<Vec<Hit>>, handler: &Handler) {
    drop(stream.set_nodelay(true));
    let Ok(writing) = stream.try_clone() else {
        return;
    };
    let (mut reading, mut writing) = (BufReader::new(stream), writing);
    while let Some(hit) = receive(&mut reading) {
        let number = {
            let mut seen = seen.lock().expect("no test panicked");
            seen.push(hit.clone());
            seen.len() - 1
        };
        let going_on = match handler(number, &hit) {
            Reply::Whole(status, kind, body) => {
                let head = head(status, kind, body.len());
                writing
                    .write_all(&[head.as_bytes(), &body].concat())
                    .is_ok()
            }
            Reply::Cut(body, at) => {
                let head = head(200, "application/json", body.len());
                drop(writing.write_all(&[head.as_bytes(), &body[..at.min(body.len())]].concat()));
                false
            }
            Reply::Reset => false,
            Reply::Hang(time) => {
                thread::sleep(time);
                false
            }
        };
        if !going_on {
            drop(writing.shutdown(std::net::Shutdown::Both));
            break;
        }
    }
}

fn head(status: u16, kind: &str, length: usize) -> String {
    // What waits is told to come back at once: tests have no time.
    let wait = if status == 429 {
        "retry-after: 0\r\n"
    } else {
        ""
    };
    format!("HTTP/1.1 {status} -\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n{wait}\r\n")
}

fn receive(reading: &mut impl BufRead) -> Option<Hit> {
    let mut line = String::new();
    reading.read_line(&mut line).ok()?;
    line.split_whitespace().nth(1)?;
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reading.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers
        .get("content-length")
        .and_then(|l| l.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reading.read_exact(&mut body).ok()?;
    Some(Hit { headers, body })
}
