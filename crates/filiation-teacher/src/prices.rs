use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{Endpoint, TeacherError, Usage};

/// Money for a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Price {
    /// Of input.
    pub input: f64,
    /// Of output, hidden reasoning included.
    pub output: f64,
}

impl Price {
    /// What these tokens cost.
    #[expect(clippy::cast_precision_loss, reason = "counts of tokens")]
    pub fn of(&self, usage: &Usage) -> f64 {
        (usage.input as f64 * self.input + usage.output as f64 * self.output) / 1e6
    }
}

/// A table of prices, which its owner keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// Currency, for people.
    #[serde(default = "Prices::default_currency")]
    pub currency: String,
    /// Day that the prices were looked up, `YYYY-MM-DD`.
    #[serde(default)]
    pub as_of: Option<String>,
    /// The lines; the first that fits counts.
    #[serde(default)]
    pub price: Vec<Line>,
}

/// One line of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// `PROVIDER:MODEL`; a final `*` stands for any rest.
    pub endpoint: String,
    /// For a million tokens of input.
    pub input: f64,
    /// For a million tokens of output.
    pub output: f64,
}

impl Prices {
    fn default_currency() -> String {
        "USD".into()
    }

    /// Reads a table.
    ///
    /// # Errors
    /// [`TeacherError::Prices`], [`TeacherError::Disk`].
    pub fn read(path: &Path) -> Result<Self, TeacherError> {
        let text = std::fs::read_to_string(path).map_err(|e| TeacherError::Disk {
            what: "read",
            path: path.to_owned(),
            reason: e.to_string(),
        })?;
        let refuse = |reason: String| TeacherError::Prices {
            path: path.to_owned(),
            reason,
        };
        let table: Self = toml::from_str(&text).map_err(|e| refuse(e.to_string()))?;
        let odd = |x: f64| !(x.is_finite() && x >= 0.0);
        if let Some(line) = table.price.iter().find(|l| odd(l.input) || odd(l.output)) {
            return Err(refuse(format!(
                "the price of `{}` is no amount",
                line.endpoint
            )));
        }
        Ok(table)
    }

    /// The price of an endpoint; nothing is paid for a server on this machine.
    pub fn of(&self, endpoint: &Endpoint) -> Option<Price> {
        let id = format!("{}:{}", endpoint.provider().name, endpoint.model());
        let fits = |line: &&Line| match line.endpoint.strip_suffix('*') {
            Some(start) => id.starts_with(start),
            None => line.endpoint == id,
        };
        let line = self.price.iter().find(fits);
        line.map(|line| Price {
            input: line.input,
            output: line.output,
        })
    }
}

impl Price {
    /// Nothing.
    pub const FREE: Self = Self {
        input: 0.0,
        output: 0.0,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_fits_counts() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("prices.toml");
        let text = "[[price]]\nendpoint = \"openai:m-mini\"\ninput = 1\noutput = 2\n\
                    [[price]]\nendpoint = \"openai:m*\"\ninput = 3\noutput = 4\n";
        std::fs::write(&path, text).expect("writes");
        let prices = Prices::read(&path).expect("a table");
        let of = |id| prices.of(&Endpoint::new(id, None).expect("an endpoint"));
        assert_eq!(of("openai:m-mini").map(|p| p.input), Some(1.0));
        assert_eq!(of("openai:m-large").map(|p| p.input), Some(3.0));
        assert_eq!(of("anthropic:m"), None);
        std::fs::write(&path, text.replace("= 1", "= -1")).expect("writes");
        let error = Prices::read(&path).expect_err("no amount").to_string();
        assert!(error.contains("openai:m-mini"), "{error}");
    }
}
