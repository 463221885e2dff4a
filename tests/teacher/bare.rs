//! The least that a client of HTTP/1.1 can do: what the time of another is held against.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::thread;

/// Posts `bodies` over `connections` kept open, each answer read whole and dropped.
pub(crate) fn post(url: &str, path: &str, bodies: &[Vec<u8>], connections: usize) {
    let address = url.strip_prefix("http://").expect("this machine");
    let share = bodies.len().div_ceil(connections);
    thread::scope(|scope| {
        for part in bodies.chunks(share) {
            scope.spawn(move || {
                let stream = TcpStream::connect(address).expect("connects");
                stream.set_nodelay(true).expect("set");
                let mut writing = stream.try_clone().expect("a second handle");
                let mut reading = BufReader::new(stream);
                for body in part {
                    let head = format!(
                        "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\n\r\n",
                        body.len()
                    );
                    writing
                        .write_all(&[head.as_bytes(), body].concat())
                        .expect("sends");
                    receive(&mut reading);
                }
            });
        }
    });
}

fn receive(reading: &mut impl BufRead) {
    let mut length = 0;
    loop {
        let mut line = String::new();
        reading.read_line(&mut line).expect("a head");
        match line.trim_end().split_once(": ") {
            Some(("content-length", n)) => length = n.parse().expect("a number"),
            _ if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reading.read_exact(&mut body).expect("a body");
}
