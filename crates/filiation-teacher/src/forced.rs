//! Log-probabilities of given text, by whatever way a dialect has.

use filiation_core::{Message, Prompt, ScoredText, ScoredToken};

use crate::call::{Call, Complete, Completed, Input, Piece, Reply, Token};
use crate::client::{Client, Seen};
use crate::{Dialect, Failure, TeacherError};

/// A text after a prompt.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    prompt: Prompt,
    continuation: String,
    /// Tokenised by itself, not together with the prompt.
    apart: bool,
}

impl Text {
    pub(crate) fn joint(prompt: &Prompt, continuation: &str) -> Self {
        Self {
            prompt: prompt.clone(),
            continuation: continuation.to_owned(),
            apart: false,
        }
    }

    pub(crate) fn option(prompt: &Prompt, option: &str) -> Self {
        Self {
            apart: true,
            ..Self::joint(prompt, option)
        }
    }
}

type Scored = Result<ScoredText, TeacherError>;

const EMPTY: ScoredText = ScoredText {
    tokens: Vec::new(),
    bytes: 0,
};

/// Scores of texts, in order.
pub(crate) fn score(client: &Client, texts: &[Text]) -> Vec<Scored> {
    if texts.is_empty() {
        return Vec::new();
    }
    match client.endpoint().dialect() {
        Dialect::LlamaCpp => stepped(client, texts),
        _ => echoed(client, texts),
    }
}

/// One request a text: the endpoint scores what it is given.
fn echoed(client: &Client, texts: &[Text]) -> Vec<Scored> {
    let calls: Vec<Call> = texts.iter().map(given).collect();
    let replies = client.ask_all(&calls);
    let pairs = texts.iter().zip(replies);
    pairs
        .map(|(text, reply)| {
            if text.continuation.is_empty() {
                return Ok(EMPTY);
            }
            let seen = reply?;
            let Reply::Completed(Completed { input, .. }) = seen.reply else {
                return Err(unusable("the reply is no completion"));
            };
            align(&input, &text.continuation)
        })
        .collect()
}

fn given(text: &Text) -> Call {
    let Text {
        prompt,
        continuation,
        ..
    } = text;
    let (input, continues) = match prompt {
        Prompt::Text(prompt) => (Input::Text(format!("{prompt}{continuation}")), false),
        Prompt::Chat(messages) => {
            let mut messages = messages.clone();
            messages.push(Message {
                role: "assistant".into(),
                content: continuation.clone(),
            });
            (Input::Chat(messages), true)
        }
    };
    Complete {
        forced: Some(0),
        continues,
        ..Complete::of(input, 1).greedy()
    }
    .into()
}

/// Lays tokens over the continuation that they end with, byte by byte.
pub(crate) fn align(tokens: &[Token], continuation: &str) -> Scored {
    let wanted = continuation.as_bytes();
    let all: Vec<u8> = tokens
        .iter()
        .flat_map(|t| t.bytes.iter().copied())
        .collect();
    if !all.ends_with(wanted) {
        return Err(unusable(
            "the tokens of the input do not spell the text that was to be scored",
        ));
    }
    let from = all.len() - wanted.len();
    let (mut scored, mut at) = (Vec::new(), 0);
    for token in tokens {
        let (start, end) = (at, at + token.bytes.len());
        at = end;
        // What begins in the prompt belongs to it; a token without bytes says nothing of the text.
        if start < from || start == end {
            continue;
        }
        let logprob = token.logprob.ok_or_else(|| TeacherError::Unusable {
            attempts: 1,
            failure: Failure::NotFinite {
                found: "null".into(),
            },
        })?;
        scored.push(ScoredToken {
            id: token.id.unwrap_or(0),
            start: offset(start - from),
            end: offset(end - from),
            logprob,
        });
    }
    let bytes = scored.iter().map(|t| t.end - t.start).sum();
    Ok(ScoredText {
        tokens: scored,
        bytes,
    })
}

fn offset(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Tokens of the whole, and the place of the first that is scored.
struct Laid {
    tokens: Vec<Piece>,
    first: usize,
    /// Bytes of the continuation before that token.
    skipped: usize,
}

/// A request a token: each is drawn by force after those before it.
///
/// llama.cpp reports nothing of a drawn token that begins a character and does not end it. There another
/// is drawn, and the token is looked up in the whole distribution.
fn stepped(client: &Client, texts: &[Text]) -> Vec<Scored> {
    let laid = lay(client, texts);
    let any_torn = laid.iter().flatten().any(|laid| {
        let scored = &laid.tokens[laid.first..];
        scored.iter().any(|piece| is_torn(&piece.bytes))
    });
    let stand_in = match any_torn {
        true => letter(client),
        false => Ok(0),
    };
    let vocabulary = client.endpoint().declared().top;
    let mut calls = Vec::new();
    let mut ranges = Vec::with_capacity(laid.len());
    for laid in &laid {
        let from = calls.len();
        if let Ok(laid) = laid {
            let ids: Vec<u32> = laid.tokens.iter().map(|t| t.id).collect();
            for i in laid.first..ids.len() {
                let (draw, top) = match (is_torn(&laid.tokens[i].bytes), &stand_in) {
                    (true, Ok(letter)) => (*letter, vocabulary),
                    _ => (ids[i], 1),
                };
                calls.push(Call::Complete(Complete {
                    draw: Some(draw),
                    top: Some(top),
                    ..Complete::of(Input::Tokens(ids[..i].to_vec()), 1).greedy()
                }));
            }
        }
        ranges.push(from..calls.len());
    }
    let replies = client.ask_all(&calls);
    let pairs = laid.into_iter().zip(ranges);
    pairs
        .map(|(laid, range)| sum_up(&laid?, &replies[range]))
        .collect()
}

fn sum_up(laid: &Laid, replies: &[Result<Seen, TeacherError>]) -> Scored {
    let mut at = laid.skipped;
    let mut scored = Vec::with_capacity(replies.len());
    for (piece, reply) in laid.tokens[laid.first..].iter().zip(replies) {
        let seen = reply.clone()?;
        let Reply::Completed(said) = seen.reply else {
            return Err(unusable("the reply is no completion"));
        };
        let Some(logprob) = said.tokens.first().and_then(|token| of(token, piece.id)) else {
            return Err(unusable(
                "another token came than the one that was to be scored",
            ));
        };
        let start = at;
        at += piece.bytes.len();
        if start == at {
            continue;
        }
        scored.push(ScoredToken {
            id: piece.id,
            start: offset(start),
            end: offset(at),
            logprob,
        });
    }
    let bytes = scored.iter().map(|t| t.end - t.start).sum();
    Ok(ScoredText {
        tokens: scored,
        bytes,
    })
}

// What a place says of a token, drawn there or not.
fn of(place: &Token, id: u32) -> Option<f64> {
    if place.id == Some(id) {
        return place.logprob;
    }
    let listed = place.top.iter().find(|other| other.id == Some(id));
    listed.map(|other| other.logprob)
}

// Whether bytes end in the middle of a character.
fn is_torn(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|e| e.error_len().is_none())
}

// A token that is text by itself.
fn letter(client: &Client) -> Result<u32, TeacherError> {
    let tokenize = Call::Tokenize {
        text: "a".into(),
        begin: false,
        special: false,
    };
    match client.ask(&tokenize)?.reply {
        Reply::Pieces(pieces) => match pieces.as_slice() {
            [one] => Ok(one.id),
            _ => Err(unusable("a letter is more than one token")),
        },
        _ => Err(unusable("the reply is no list of tokens")),
    }
}

/// Tokenises. A conversation is rendered by the endpoint and tokenised with its special tokens; what
/// is scored never holds any.
fn lay(client: &Client, texts: &[Text]) -> Vec<Result<Laid, TeacherError>> {
    let (mut chats, mut asked) = (Vec::new(), Vec::new());
    for (i, text) in texts.iter().enumerate() {
        if let Prompt::Chat(messages) = &text.prompt {
            chats.push(i);
            asked.push(Call::Render(messages.clone()));
        }
    }
    let mut rendered: Vec<Option<Result<String, TeacherError>>> = vec![None; texts.len()];
    for (place, reply) in chats.into_iter().zip(client.ask_all(&asked)) {
        rendered[place] = Some(reply.and_then(|seen| match seen.reply {
            Reply::Text(text) => Ok(text),
            _ => Err(unusable("the reply is no text")),
        }));
    }
    let mut calls = Vec::new();
    for (text, rendered) in texts.iter().zip(&rendered) {
        let (prompt, special) = match (&text.prompt, rendered) {
            (Prompt::Text(prompt), _) => (prompt.as_str(), false),
            (_, Some(Ok(rendered))) => (rendered.as_str(), true),
            _ => ("", true),
        };
        let apart = text.apart || special;
        let whole = if apart {
            prompt.to_owned()
        } else {
            format!("{prompt}{}", text.continuation)
        };
        calls.push(Call::Tokenize {
            text: whole,
            begin: true,
            special,
        });
        calls.push(Call::Tokenize {
            text: if apart {
                text.continuation.clone()
            } else {
                String::new()
            },
            begin: false,
            special: false,
        });
    }
    let mut replies = client
        .ask_all(&calls)
        .into_iter()
        .map(|reply| match reply?.reply {
            Reply::Pieces(pieces) => Ok(pieces),
            _ => Err(unusable("the reply is no list of tokens")),
        });
    let mut all = Vec::with_capacity(texts.len());
    for (text, rendered) in texts.iter().zip(rendered) {
        let pair = (replies.next(), replies.next());
        let (Some(whole), Some(tail)) = pair else {
            all.push(Err(unusable("tokens are missing")));
            continue;
        };
        all.push(match rendered {
            Some(Err(error)) => Err(error),
            other => {
                whole.and_then(|whole| place(text, other.is_some() || text.apart, whole, tail?))
            }
        });
    }
    all
}

fn place(
    text: &Text,
    apart: bool,
    whole: Vec<Piece>,
    tail: Vec<Piece>,
) -> Result<Laid, TeacherError> {
    let wanted = text.continuation.as_bytes();
    let spelled = |pieces: &[Piece]| {
        pieces
            .iter()
            .flat_map(|p| p.bytes.iter().copied())
            .collect::<Vec<u8>>()
    };
    let unspelled =
        || unusable("the endpoint's tokens do not spell the text that was to be scored");
    if apart {
        if spelled(&tail) != wanted {
            return Err(unspelled());
        }
        let first = whole.len();
        return laid([whole, tail].concat(), first, 0);
    }
    let all = spelled(&whole);
    if !all.ends_with(wanted) {
        return Err(unspelled());
    }
    let from = all.len() - wanted.len();
    let (mut at, mut first) = (0, whole.len());
    for (i, piece) in whole.iter().enumerate() {
        if at >= from && !piece.bytes.is_empty() {
            first = i;
            break;
        }
        at += piece.bytes.len();
    }
    laid(whole, first, at.saturating_sub(from))
}

fn laid(tokens: Vec<Piece>, first: usize, skipped: usize) -> Result<Laid, TeacherError> {
    if first == 0 && !tokens.is_empty() {
        return Err(unusable(
            "nothing precedes the first token, which has no probability then",
        ));
    }
    Ok(Laid {
        tokens,
        first,
        skipped,
    })
}

fn unusable(reason: &str) -> TeacherError {
    TeacherError::Unusable {
        attempts: 1,
        failure: Failure::Malformed {
            reason: reason.into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Alternative;

    fn token(text: &str, logprob: f64) -> Token {
        Token {
            id: None,
            bytes: text.into(),
            logprob: Some(logprob),
            top: Vec::new(),
        }
    }

    #[test]
    fn a_token_across_the_border_belongs_to_the_prompt() {
        let tokens = [
            token("The cap", -1.0),
            token("ital", -2.0),
            token(" of", -3.0),
        ];
        let scored = align(&tokens, "pital of").expect("aligned");
        let spans: Vec<_> = scored.tokens.iter().map(|t| (t.start, t.end)).collect();
        assert_eq!(spans, [(1, 5), (5, 8)]);
        assert_eq!(scored.bytes, 7);
        assert_eq!(scored.total().to_bits(), (-5.0_f64).to_bits());
    }

    #[test]
    fn bytes_that_begin_a_character_and_do_not_end_it_are_torn() {
        for (bytes, torn) in [
            (&[231, 186][..], true),
            (&[240, 159], true),
            (b"a \xe7", true),
            (&[162], false),
            (&[153, 130], false),
            ("\u{4e2d}".as_bytes(), false),
            (b"", false),
        ] {
            assert_eq!(is_torn(bytes), torn, "{bytes:?}");
        }
        let mut place = token("a", -3.0);
        place.id = Some(1);
        place.top.push(Alternative {
            id: Some(7),
            bytes: vec![231],
            logprob: -0.5,
        });
        assert_eq!((of(&place, 1), of(&place, 7)), (Some(-3.0), Some(-0.5)));
        assert_eq!(of(&place, 8), None);
    }

    #[test]
    fn text_that_the_tokens_do_not_spell_is_refused() {
        let tokens = [token("The", -1.0), token("\u{fffd}", -2.0)];
        assert!(align(&tokens, "é").is_err());
        assert_eq!(align(&tokens, "").expect("nothing").bytes, 0);
    }
}
