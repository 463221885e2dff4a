//! A small language model behind the completions API, sound or with one fault.
//!
//! A token is a character; its probabilities hang on the two before it. Whatever a sound server of this
//! API gives, this one gives; each [`Fault`] is one thing that servers were seen to do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Map, Value, json};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// `llama-cpp-python` 0.3.36: the entry of a token of the prompt is of the token after it.
    OffByOne,
    /// The same the other way.
    OffByMinusOne,
    /// `echo` is passed over, as by llama.cpp's own server.
    EchoIgnored,
    /// Log-probabilities of the prompt are those of another temperature.
    OtherTemperature,
    /// Log-probabilities are left out.
    NoLogprobs,
    /// Probabilities sum to more than one.
    AboveOne,
    /// The second likeliest is drawn at temperature 0.
    SecondBest,
    /// Log-probabilities are of tokens that do not spell the text.
    OtherTokens,
    SeedIgnored,
    /// The same answer whatever the seed.
    Kept,
    GreedyVaries,
    OtherModel,
    ModelSwitches,
    FingerprintDrifts,
    NotFinite,
    TooLong,
    Html,
}

pub(crate) struct Toy {
    address: SocketAddr,
    server: Arc<Mutex<Arc<Server>>>,
}

struct Server {
    fault: Fault,
    /// Which of several models it is: the same number, the same probabilities.
    weights: u64,
    asked: AtomicU64,
}

const FIRST: u8 = b' ';
const LAST: u8 = b'~';

impl Toy {
    pub(crate) fn serve(fault: Fault, weights: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its number");
        let server = Arc::new(Mutex::new(Server::of(fault, weights)));
        let serving = Arc::clone(&server);
        // It ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = Arc::clone(&serving.lock().expect("no panic"));
                thread::spawn(move || server.talk(stream));
            }
        });
        Self { address, server }
    }

    /// From the next connection on another answers at the same address.
    pub(crate) fn become_another(&self, fault: Fault, weights: u64) {
        *self.server.lock().expect("no panic") = Server::of(fault, weights);
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }
}

impl Server {
    fn of(fault: Fault, weights: u64) -> Arc<Self> {
        Arc::new(Self {
            fault,
            weights,
            asked: AtomicU64::new(0),
        })
    }

    fn talk(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some((path, body)) = request(&mut reader) {
            let (kind, text) = match path.as_str() {
                "/v1/models" => (
                    "application/json",
                    json!({ "data": [{ "id": "toy" }] }).to_string(),
                ),
                _ if self.fault == Fault::Html => ("text/html", "<html>sign in</html>".into()),
                "/v1/completions" => ("application/json", self.completion(&body)),
                "/v1/chat/completions" => ("application/json", self.chat(&body)),
                _ => ("text/plain", "no".into()),
            };
            let status = if kind == "text/plain" { 404 } else { 200 };
            let head = format!(
                "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
                text.len()
            );
            if reader
                .get_mut()
                .write_all((head + &text).as_bytes())
                .is_err()
            {
                return;
            }
        }
    }

    fn names(&self) -> (String, String) {
        let n = self.asked.fetch_add(1, Ordering::Relaxed);
        let model = match self.fault {
            Fault::OtherModel => "smaller".into(),
            Fault::ModelSwitches if n >= 3 => "smaller".into(),
            _ => "toy".to_owned(),
        };
        let build = if self.fault == Fault::FingerprintDrifts {
            n % 2
        } else {
            0
        };
        (model, format!("fp_{build}"))
    }

    fn completion(&self, body: &Value) -> String {
        let prompt = body["prompt"].as_str().unwrap_or_default();
        let drawn = self.draw(prompt, body);
        let (model, fingerprint) = self.names();
        let top = body["logprobs"].as_u64();
        let echo = body["echo"] == true && self.fault != Fault::EchoIgnored;
        let whole = format!("{prompt}{drawn}");
        let (text, from) = if echo {
            (whole.as_str(), 0)
        } else {
            (drawn.as_str(), prompt.len())
        };
        let logprobs = top.filter(|_| self.fault != Fault::NoLogprobs);
        let logprobs = logprobs.map(|top| self.lists(&whole, from, prompt.len(), top as usize));
        Self::written(
            &json!({ "model": model, "system_fingerprint": fingerprint, "object": "text_completion",
            "choices": [{ "index": 0, "text": text, "finish_reason": "length", "logprobs": logprobs }],
            "usage": { "prompt_tokens": prompt.len(), "completion_tokens": drawn.len() } }),
        )
    }

    fn chat(&self, body: &Value) -> String {
        let turns = body["messages"].as_array().into_iter().flatten();
        let prompt: String = turns.filter_map(|m| m["content"].as_str()).collect();
        let drawn = self.draw(&prompt, body);
        let (model, fingerprint) = self.names();
        let asked = body["logprobs"] == true && self.fault != Fault::NoLogprobs;
        let top = body["top_logprobs"].as_u64().unwrap_or(0) as usize;
        let whole = format!("{prompt}{drawn}");
        let content: Vec<Value> = (prompt.len()..whole.len())
            .map(|at| self.entry(&whole, at, top))
            .collect();
        Self::written(&json!({ "model": model, "system_fingerprint": fingerprint,
            "choices": [{ "index": 0, "finish_reason": "length",
                "message": { "role": "assistant", "content": drawn },
                "logprobs": if asked { json!({ "content": content }) } else { Value::Null } }],
            "usage": { "prompt_tokens": prompt.len(), "completion_tokens": drawn.len() } }))
    }

    // JSON has no NaN; servers in Python write one all the same.
    fn written(value: &Value) -> String {
        value.to_string().replace("\"nan\"", "NaN")
    }

    fn draw(&self, prompt: &str, body: &Value) -> String {
        let length = body["max_tokens"]
            .as_u64()
            .or(body["max_completion_tokens"].as_u64());
        let length = length.unwrap_or(16) + if self.fault == Fault::TooLong { 9 } else { 0 };
        let temperature = body["temperature"].as_f64().unwrap_or(1.0);
        let n = self.asked.load(Ordering::Relaxed);
        let mut seed = body["seed"].as_u64().unwrap_or(n);
        match self.fault {
            Fault::SeedIgnored => seed = n,
            Fault::Kept => seed = 0,
            _ => {}
        }
        let mut text = prompt.to_owned();
        for i in 0..length {
            let ranked = self.ranked(&text);
            let vary = self.fault == Fault::GreedyVaries && i == 3;
            let next = if temperature == 0.0 {
                let second = self.fault == Fault::SecondBest || vary && n % 2 == 1;
                ranked[usize::from(second)].0
            } else {
                let mut left = uniform(mix(seed, i));
                let drawn = ranked.iter().find(|(_, l)| {
                    left -= l.exp();
                    left < 0.0
                });
                drawn.unwrap_or(&ranked[0]).0
            };
            text.push(char::from(next));
        }
        text.split_off(prompt.len())
    }

    /// Characters with their log-probabilities after a text, likeliest first.
    fn ranked(&self, text: &str) -> Vec<(u8, f64)> {
        let context = text
            .bytes()
            .rev()
            .take(2)
            .fold(self.weights, |c, b| mix(c, u64::from(b)));
        let logits: Vec<(u8, f64)> = (FIRST..=LAST)
            .map(|c| (c, 9.0 * uniform(mix(context, u64::from(c)))))
            .collect();
        let sum: f64 = logits.iter().map(|(_, l)| l.exp()).sum();
        let mut ranked: Vec<(u8, f64)> = logits.iter().map(|(c, l)| (*c, l - sum.ln())).collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        ranked
    }

    /// The log-probability of the character at `at`, and the likeliest, by the entry of that place.
    fn scored(
        &self,
        whole: &str,
        at: usize,
        top: usize,
        forced: bool,
    ) -> (Value, Vec<(String, Value)>) {
        let shift = match self.fault {
            Fault::OffByOne if forced => 1,
            Fault::OffByMinusOne if forced => -1,
            _ => 0_isize,
        };
        let context = at.saturating_add_signed(shift).min(whole.len());
        let ranked = self.ranked(&whole[..context]);
        let own = whole.as_bytes()[at];
        let scale = if self.fault == Fault::OtherTemperature && forced {
            0.4
        } else {
            1.0
        };
        let more = if self.fault == Fault::AboveOne {
            0.3
        } else {
            0.0
        };
        let value = |l: f64| match self.fault {
            Fault::NotFinite => json!("nan"),
            _ => json!((l * scale + more).min(0.0)),
        };
        let of = |c: u8| {
            ranked
                .iter()
                .find(|(r, _)| *r == c)
                .map_or(-99.0, |(_, l)| *l)
        };
        let mut tops: Vec<(String, Value)> = ranked
            .iter()
            .take(top)
            .map(|(c, l)| (char::from(*c).to_string(), value(*l)))
            .collect();
        // As llama-cpp-python does it: the token itself is put among them.
        if !tops.iter().any(|(t, _)| t.as_bytes() == [own]) {
            tops.push((char::from(own).to_string(), value(of(own))));
        }
        (value(of(own)), tops)
    }

    fn spelled(&self, whole: &str, at: usize) -> String {
        match self.fault {
            Fault::OtherTokens => "#".into(),
            _ => whole[at..=at].to_owned(),
        }
    }

    fn lists(&self, whole: &str, from: usize, prompt: usize, top: usize) -> Value {
        let (mut tokens, mut values, mut tops) = (Vec::new(), Vec::new(), Vec::new());
        for at in from..whole.len() {
            let (value, top) = self.scored(whole, at, top, at < prompt);
            tokens.push(self.spelled(whole, at));
            values.push(if at == 0 { Value::Null } else { value });
            let top: Map<String, Value> = top.into_iter().collect();
            tops.push(if at == 0 {
                Value::Null
            } else {
                Value::Object(top)
            });
        }
        json!({ "tokens": tokens, "token_logprobs": values, "top_logprobs": tops,
            "text_offset": (from..whole.len()).collect::<Vec<_>>() })
    }

    fn entry(&self, whole: &str, at: usize, top: usize) -> Value {
        let (value, tops) = self.scored(whole, at, top, false);
        let shown = |text: &str, value: &Value| json!({ "token": text, "bytes": text.as_bytes(), "logprob": value });
        let mut entry = shown(&self.spelled(whole, at), &value);
        let tops: Vec<Value> = tops.iter().take(top).map(|(t, v)| shown(t, v)).collect();
        entry["top_logprobs"] = Value::Array(tops);
        entry
    }
}

const fn mix(a: u64, b: u64) -> u64 {
    let mut x = (a ^ b.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(0x2545_f491_4f6c_dd1d);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn uniform(x: u64) -> f64 {
    (mix(x, 1) >> 11) as f64 / (1_u64 << 53) as f64
}

fn request(reader: &mut BufReader<TcpStream>) -> Option<(String, Value)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let path = line.split_whitespace().nth(1)?.to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        match header.trim().to_ascii_lowercase().split_once(':') {
            None => break,
            Some(("content-length", value)) => length = value.trim().parse().ok()?,
            Some(_) => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((path, serde_json::from_slice(&body).unwrap_or_default()))
}
