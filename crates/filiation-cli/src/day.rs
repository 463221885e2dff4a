//! Days as `2026-02-03`.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

/// A day of the Gregorian calendar, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Day {
    year: u64,
    month: u64,
    day: u64,
}

impl Day {
    /// Today, UTC.
    ///
    /// # Errors
    /// Where the clock stands before 1970.
    pub(crate) fn today() -> Result<Self> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let seconds = since
            .context("the clock stands before 1970, give `--date`")?
            .as_secs();
        Ok(Self::since_1970(seconds / 86_400))
    }

    /// The day this many days after 1 January 1970.
    pub(crate) fn since_1970(days: u64) -> Self {
        let (mut year, mut rest) = (1970, days);
        while rest >= 365 + u64::from(is_leap(year)) {
            rest -= 365 + u64::from(is_leap(year));
            year += 1;
        }
        let mut month = 1;
        while rest >= length(year, month) {
            rest -= length(year, month);
            month += 1;
        }
        Self {
            year,
            month,
            day: rest + 1,
        }
    }
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const fn length(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl FromStr for Day {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let refused = || format!("`{text}` is not a day, expected one as `2026-02-03`");
        let parts: Vec<&str> = text.split('-').collect();
        let [year, month, day] = parts.as_slice() else {
            return Err(refused());
        };
        let number = |part: &str, digits: usize| {
            let plain = part.len() == digits && part.bytes().all(|b| b.is_ascii_digit());
            part.parse::<u64>()
                .ok()
                .filter(|_| plain)
                .ok_or_else(refused)
        };
        let (year, month, day) = (number(year, 4)?, number(month, 2)?, number(day, 2)?);
        let sound = (1..=12).contains(&month) && day >= 1 && day <= length(year, month);
        sound
            .then_some(Self { year, month, day })
            .ok_or_else(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_since_1970() {
        for (days, shown) in [
            (0, "1970-01-01"),
            (59, "1970-03-01"),
            (789, "1972-02-29"),
            (11_016, "2000-02-29"),
            (20_454, "2026-01-01"),
            (20_818, "2026-12-31"),
            (47_541, "2100-03-01"),
        ] {
            assert_eq!(Day::since_1970(days).to_string(), shown);
            assert_eq!(shown.parse(), Ok(Day::since_1970(days)));
        }
    }

    #[test]
    fn what_is_no_day_is_refused() {
        for text in [
            "",
            "2026",
            "2026-2-3",
            "2026-13-01",
            "2025-02-29",
            "2026-00-10",
            "today",
        ] {
            assert!(text.parse::<Day>().is_err(), "{text}");
        }
    }
}
