//! Scores, generates and embeds text with a local model, by candle.
