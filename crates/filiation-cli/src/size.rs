//! Amounts of memory on the command line.

use std::str::FromStr;

/// Bytes, as `2GB`, `800MB`, `1.5GiB` or a plain number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

const UNITS: [(&str, u64); 9] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unit = UNITS.iter().find(|(unit, _)| text.ends_with(unit));
        let (number, unit) = match unit {
            Some((name, unit)) => (text[..text.len() - name.len()].trim_end(), *unit),
            None => (text.strip_suffix('B').unwrap_or(text), 1),
        };
        let refused =
            || format!("`{text}` is not an amount of memory, expected one as `2GB` or `800MiB`");
        let digits = number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let value: f64 = number.parse().ok().filter(|_| digits).ok_or_else(refused)?;
        let bytes = value * unit as f64;
        if !(1.0..=1e18).contains(&bytes) {
            return Err(refused());
        }
        Ok(Self(bytes as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read() {
        for (text, bytes) in [
            ("2GB", 2_000_000_000),
            ("800 MB", 800_000_000),
            ("1.5GiB", 3 << 29),
            ("64KiB", 1 << 16),
            ("123", 123),
            ("7B", 7),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in [
            "",
            "GB",
            "two GB",
            "-1GB",
            "1e3MB",
            "inf",
            "NaN",
            "0",
            "2gb",
            "9999999TB",
        ] {
            let refusal = text.parse::<Size>().expect_err(text);
            assert!(refusal.contains(text), "{refusal}");
        }
    }
}
