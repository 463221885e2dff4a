//! Tuple files.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{FORMAT, Header, Row, Tuples};
use crate::WatermarkError;

/// Longest window and most tokens of a row that a file may have.
const WIDEST: usize = 64;

// The first line of a file.
#[derive(Serialize, Deserialize)]
struct Sealed {
    tuples: Header,
    windows: u64,
    /// SHA-256 of the header and the other lines.
    digest: String,
}

fn hex(hash: &[u8]) -> String {
    hash.iter().map(|b| format!("{b:02x}")).collect()
}

impl Tuples {
    /// The file. The same tuples give the same bytes.
    pub fn to_text(&self) -> String {
        let lines = self.lines();
        let sealed = Sealed {
            tuples: self.header.clone(),
            windows: self.rows.len() as u64,
            digest: self.digest_of(&lines),
        };
        let first = serde_json::to_string(&sealed).unwrap_or_default();
        format!("{first}\n{lines}")
    }

    /// SHA-256 of header and rows, hexadecimal: what both sides compare.
    pub fn digest(&self) -> String {
        self.digest_of(&self.lines())
    }

    fn digest_of(&self, lines: &str) -> String {
        let header = serde_json::to_string(&self.header).unwrap_or_default();
        let hash = Sha256::new()
            .chain_update(header)
            .chain_update("\n")
            .chain_update(lines);
        hex(&hash.finalize())
    }

    fn lines(&self) -> String {
        let line = |row: &Row| serde_json::to_string(row).unwrap_or_default() + "\n";
        self.rows.iter().map(line).collect()
    }

    /// Reads a file and holds it against its digest and limits.
    ///
    /// # Errors
    /// [`WatermarkError::Tuples`] with the line and the reason.
    pub fn parse(text: &str) -> Result<Self, WatermarkError> {
        let bad = |line: usize, reason: String| WatermarkError::Tuples { line, reason };
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        let sealed: Sealed = serde_json::from_str(first).map_err(|e| bad(1, e.to_string()))?;
        let header = sealed.tuples;
        if header.format != FORMAT {
            let reason = format!("format {}, expected {FORMAT}", header.format);
            return Err(bad(1, reason));
        }
        let mut rows: Vec<Row> = Vec::new();
        let mut windows = BTreeSet::new();
        for (i, line) in lines.enumerate() {
            let row: Row = serde_json::from_str(line).map_err(|e| bad(i + 2, e.to_string()))?;
            row.check(&header, rows.last())
                .map_err(|reason| bad(i + 2, reason))?;
            // A window twice would count twice.
            if !windows.insert(row.window.clone()) {
                return Err(bad(i + 2, "a window twice, expected once".into()));
            }
            rows.push(row);
        }
        if sealed.windows != rows.len() as u64 {
            let reason = format!("{} windows, expected {}", rows.len(), sealed.windows);
            return Err(bad(rows.len() + 1, reason));
        }
        let tuples = Self { header, rows };
        let digest = tuples.digest();
        if digest != sealed.digest {
            let reason = format!("digest `{digest}`, the file says `{}`", sealed.digest);
            return Err(bad(1, reason));
        }
        Ok(tuples)
    }
}

impl Row {
    fn check(&self, header: &Header, before: Option<&Self>) -> Result<(), String> {
        let vocabulary = header.vocabulary;
        if self.window.len() != header.width || header.width > WIDEST {
            let (got, want) = (self.window.len(), header.width);
            return Err(format!("window of {got} tokens, expected {want}"));
        }
        let ids = self.window.iter().copied();
        let ids = ids.chain(self.tokens.iter().map(|t| t.0));
        let mut ids = ids.chain(self.masses.iter().map(|m| m.0));
        if let Some(id) = ids.find(|id| *id >= vocabulary) {
            return Err(format!("token id {id}, expected less than {vocabulary}"));
        }
        let mut tokens: Vec<u32> = self.masses.iter().map(|m| m.0).collect();
        let mut chosen: Vec<u32> = self.tokens.iter().map(|m| m.0).collect();
        for list in [&mut tokens, &mut chosen] {
            list.sort_unstable();
            if list.windows(2).any(|pair| pair[0] == pair[1]) {
                return Err("a token twice in a row, expected once".into());
            }
        }
        let total: f64 = self.masses.iter().map(|m| m.1).sum();
        let positive = self.masses.iter().all(|(_, mass)| *mass > 0.0);
        // Each is rounded to six digits.
        let most = 1.0 + 1e-6 * (self.masses.len() + 1) as f64;
        if self.masses.is_empty() || !positive || total.is_nan() || total > most {
            return Err(format!("probabilities that sum to {total}"));
        }
        if self.tokens.is_empty() || self.read == 0 {
            return Err("no token, expected at least one".into());
        }
        let key = |row: &Self| (std::cmp::Reverse(row.frequency), row.window.clone());
        if before.is_some_and(|before| key(before) >= key(self)) {
            return Err("out of order, expected the most frequent window first".into());
        }
        Ok(())
    }
}
