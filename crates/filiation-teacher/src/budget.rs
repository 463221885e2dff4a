use std::sync::Mutex;

use serde::Serialize;

use crate::{Price, TeacherError, Usage};

/// What may be spent, in one go. Answers that are in the store cost nothing.
///
/// Several endpoints may share one budget: what went to the others counts by `before`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Budget {
    /// Most requests sent, attempts that fail among them.
    pub requests: Option<u64>,
    /// Most money, in the currency of the prices.
    pub cost: Option<f64>,
    /// Requests and money that were spent of it elsewhere.
    pub before: (u64, f64),
}

/// What was spent.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Spent {
    /// Requests sent, attempts that failed among them.
    pub requests: u64,
    /// Answers received.
    pub answers: u64,
    /// Answers taken from the store.
    pub replayed: u64,
    /// Tokens of inputs, as counted by the endpoint.
    pub input_tokens: u64,
    /// Tokens drawn, as counted by the endpoint.
    pub output_tokens: u64,
    /// Money, where a price is known.
    pub cost: f64,
}

impl Spent {
    /// Both together.
    pub const fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            answers: self.answers + other.answers,
            replayed: self.replayed + other.replayed,
            input_tokens: self.input_tokens + other.input_tokens,
            output_tokens: self.output_tokens + other.output_tokens,
            cost: self.cost + other.cost,
        }
    }
}

/// Counts what is spent and holds it below the budget, what is under way included.
#[derive(Debug)]
pub(crate) struct Ledger {
    budget: Budget,
    price: Option<Price>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    spent: Spent,
    reserved: f64,
}

impl Ledger {
    pub(crate) fn new(budget: Budget, price: Option<Price>) -> Self {
        Self {
            budget,
            price,
            state: Mutex::new(State::default()),
        }
    }

    pub(crate) fn spent(&self) -> Spent {
        self.state().spent
    }

    pub(crate) fn replayed(&self) {
        self.state().spent.replayed += 1;
    }

    /// Before sending: what the request costs at most is set aside.
    pub(crate) fn reserve(&self, input_bytes: usize, max_tokens: u32) -> Result<f64, TeacherError> {
        // No tokenizer in use makes more tokens than bytes, and prompts have a frame of some tokens.
        let most = Usage {
            input: input_bytes as u64 / 2 + 16,
            output: u64::from(max_tokens),
            reasoning: 0,
        };
        let cost = self.price.map_or(0.0, |price| price.of(&most));
        let (mut state, before) = (self.state(), self.budget.before);
        if let Some(limit) = self
            .budget
            .requests
            .filter(|limit| before.0 + state.spent.requests >= *limit)
        {
            return Err(TeacherError::Budget {
                limit: format!("{limit} requests"),
                spent: (before.0 + state.spent.requests).to_string(),
            });
        }
        if let Some(limit) = self.budget.cost {
            let would = before.1 + state.spent.cost + state.reserved + cost;
            if would > limit {
                return Err(TeacherError::Budget {
                    limit: format!("{limit}"),
                    spent: format!(
                        "{:.6}, and the next request may cost {cost:.6}",
                        before.1 + state.spent.cost
                    ),
                });
            }
        }
        state.spent.requests += 1;
        state.reserved += cost;
        Ok(cost)
    }

    /// After an attempt: what was set aside becomes what it cost. An answer without a count costs
    /// what was set aside.
    pub(crate) fn settle(&self, reserved: f64, usage: Option<Usage>, answered: bool) {
        let mut state = self.state();
        state.reserved -= reserved;
        if !answered {
            return;
        }
        state.spent.answers += 1;
        match (usage, self.price) {
            (Some(usage), price) => {
                state.spent.input_tokens += usage.input;
                state.spent.output_tokens += usage.output;
                state.spent.cost += price.map_or(0.0, |price| price.of(&usage));
            }
            (None, _) => state.spent.cost += reserved,
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_under_way_counts() {
        let price = Price {
            input: 1.0,
            output: 1_000_000.0,
        };
        let budget = Budget {
            requests: None,
            cost: Some(25.0),
            ..Budget::default()
        };
        let ledger = Ledger::new(budget, Some(price));
        let first = ledger.reserve(0, 10).expect("within");
        let second = ledger.reserve(0, 10).expect("within");
        assert!(ledger.reserve(0, 10).is_err(), "30 of 25");
        let used = Usage {
            input: 0,
            output: 2,
            reasoning: 0,
        };
        ledger.settle(first, Some(used), true);
        let third = ledger.reserve(0, 10).expect("8 were not used");
        ledger.settle(second, None, false);
        ledger.settle(third, None, true);
        let spent = ledger.spent();
        assert_eq!(
            (spent.requests, spent.answers, spent.output_tokens),
            (3, 2, 2)
        );
        assert!((spent.cost - 12.0).abs() < 0.001, "{}", spent.cost);
    }

    #[test]
    fn requests_are_counted_when_sent() {
        let budget = Budget {
            requests: Some(3),
            before: (1, 0.0),
            ..Budget::default()
        };
        let ledger = Ledger::new(budget, None);
        for _ in 0..2 {
            let reserved = ledger.reserve(100, 10).expect("within");
            ledger.settle(reserved, None, false);
        }
        let error = ledger.reserve(100, 10).expect_err("spent").to_string();
        assert!(
            error.contains("3 requests") && error.contains("3 so far"),
            "{error}"
        );
    }
}
