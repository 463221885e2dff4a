//! The methods of Python's `str` and `dict` that chat templates call.

use minijinja::value::{Value, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State};

pub(super) fn call(
    state: &mut State<'_, '_>,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default();
            // Every method reads its text at least once.
            state.consume_fuel(text.len() as u64 / 64)?;
            on_string(state, text, method, args)
        }
        ValueKind::Map => on_map(state, value, method, args),
        _ => Err(ErrorKind::UnknownMethod.into()),
    }
}

fn on_map(
    state: &mut State<'_, '_>,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    match method {
        "get" => {
            let (key, default): (&Value, Option<&Value>) = from_args(args)?;
            let found = value.get_item(key)?;
            Ok(if found.is_undefined() {
                default.cloned().unwrap_or_else(|| ().into())
            } else {
                found
            })
        }
        "items" => state.apply_filter("items", std::slice::from_ref(value)),
        "keys" => {
            let () = from_args(args)?;
            Ok(value.try_iter()?.collect::<Vec<_>>().into())
        }
        "values" => {
            let () = from_args(args)?;
            let values = value.try_iter()?.map(|key| value.get_item(&key));
            Ok(values.collect::<Result<Vec<_>, _>>()?.into())
        }
        _ => Err(ErrorKind::UnknownMethod.into()),
    }
}

fn on_string(
    state: &State<'_, '_>,
    text: &str,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    match method {
        "strip" | "lstrip" | "rstrip" => {
            let (set,): (Option<&str>,) = from_args(args)?;
            let drop = |c: char| set.map_or_else(|| is_space(c), |set| set.contains(c));
            Ok(match method {
                "strip" => text.trim_matches(drop),
                "lstrip" => text.trim_start_matches(drop),
                _ => text.trim_end_matches(drop),
            }
            .into())
        }
        "startswith" | "endswith" => {
            let (affix,): (&Value,) = from_args(args)?;
            affixed(text, affix, method == "startswith").map(Value::from)
        }
        "removeprefix" => {
            let (affix,): (&str,) = from_args(args)?;
            Ok(text.strip_prefix(affix).unwrap_or(text).into())
        }
        "removesuffix" => {
            let (affix,): (&str,) = from_args(args)?;
            Ok(text.strip_suffix(affix).unwrap_or(text).into())
        }
        "split" | "rsplit" => {
            let (separator, most): (Option<&str>, Option<i64>) = from_args(args)?;
            split(state, text, separator, most, method == "rsplit")
        }
        "splitlines" => {
            let () = from_args(args)?;
            state.consume_fuel(text.len() as u64)?;
            Ok(list(text.lines()))
        }
        "replace" => {
            let (old, new, most): (&str, &str, Option<i64>) = from_args(args)?;
            replace(state, text, old, new, most)
        }
        "join" => join(state, text, args),
        "find" | "count" => {
            let (needle,): (&str,) = from_args(args)?;
            Ok(match method {
                "count" if needle.is_empty() => Value::from(text.chars().count() + 1),
                "count" => text.matches(needle).count().into(),
                _ => text
                    .find(needle)
                    .map_or(Value::from(-1), |at| text[..at].chars().count().into()),
            })
        }
        _ => {
            let () = from_args(args)?;
            cased(text, method)
        }
    }
}

/// Methods without arguments.
fn cased(text: &str, method: &str) -> Result<Value, Error> {
    Ok(match method {
        "upper" => text.to_uppercase().into(),
        "lower" => text.to_lowercase().into(),
        "title" => title(text).into(),
        "capitalize" => {
            let mut chars = text.chars();
            let first = chars.next().into_iter().flat_map(char::to_uppercase);
            let rest = chars.as_str().to_lowercase();
            (first.collect::<String>() + &rest).into()
        }
        "isdigit" => (!text.is_empty() && text.chars().all(char::is_numeric)).into(),
        "isalpha" => (!text.is_empty() && text.chars().all(char::is_alphabetic)).into(),
        "isalnum" => (!text.is_empty() && text.chars().all(char::is_alphanumeric)).into(),
        "isspace" => (!text.is_empty() && text.chars().all(is_space)).into(),
        _ => return Err(ErrorKind::UnknownMethod.into()),
    })
}

/// What Python calls white space: Unicode's, and the four separators of ASCII.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// An affix, or any of a sequence of them.
fn affixed(text: &str, affix: &Value, start: bool) -> Result<bool, Error> {
    let test = |affix: &str| {
        if start {
            text.starts_with(affix)
        } else {
            text.ends_with(affix)
        }
    };
    if let Some(affix) = affix.as_str() {
        return Ok(test(affix));
    }
    Ok(affix
        .try_iter()?
        .any(|affix| affix.as_str().is_some_and(test)))
}

fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for c in text.chars() {
        if inside {
            out.extend(c.to_lowercase());
        } else {
            out.extend(c.to_uppercase());
        }
        inside = c.is_alphabetic();
    }
    out
}

fn split(
    state: &State<'_, '_>,
    text: &str,
    separator: Option<&str>,
    most: Option<i64>,
    from_right: bool,
) -> Result<Value, Error> {
    // Negative means without limit, as in Python.
    let pieces = most
        .and_then(|n| usize::try_from(n).ok())
        .map_or(usize::MAX, |n| n.saturating_add(1));
    let parts: Vec<&str> = match separator {
        Some("") => return Err(Error::new(ErrorKind::InvalidOperation, "empty separator")),
        Some(separator) => {
            state.consume_fuel(text.matches(separator).count() as u64)?;
            if from_right {
                let mut parts: Vec<_> = text.rsplitn(pieces, separator).collect();
                parts.reverse();
                parts
            } else {
                text.splitn(pieces, separator).collect()
            }
        }
        None if from_right => {
            return Err(Error::new(
                ErrorKind::InvalidOperation,
                "rsplit needs a separator",
            ));
        }
        None => {
            state.consume_fuel(text.len() as u64)?;
            split_space(text, pieces)
        }
    };
    Ok(list(parts))
}

fn list<'a>(parts: impl IntoIterator<Item = &'a str>) -> Value {
    parts.into_iter().map(Value::from).collect()
}

/// Words, and where `pieces` of them are reached, the rest with its trailing space.
fn split_space(text: &str, pieces: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while !rest.is_empty() {
        if parts.len() + 1 == pieces {
            parts.push(rest);
            break;
        }
        let end = rest.find(is_space).unwrap_or(rest.len());
        parts.push(&rest[..end]);
        rest = rest[end..].trim_start_matches(is_space);
    }
    parts
}

fn replace(
    state: &State<'_, '_>,
    text: &str,
    old: &str,
    new: &str,
    most: Option<i64>,
) -> Result<Value, Error> {
    let most = most
        .and_then(|n| usize::try_from(n).ok())
        .unwrap_or(usize::MAX);
    let count = text.matches(old).count().min(most);
    // Paid for before it is made: two long strings make an endless one.
    let growth = (count as u64).saturating_mul(new.len() as u64);
    state.consume_fuel(growth / 64)?;
    Ok(text.replacen(old, new, count).into())
}

fn join(state: &State<'_, '_>, separator: &str, args: &[Value]) -> Result<Value, Error> {
    let (items,): (&Value,) = from_args(args)?;
    let mut out = String::new();
    for (i, item) in items.try_iter()?.enumerate() {
        let item = item
            .as_str()
            .ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "join needs strings"))?
            .to_owned();
        state.consume_fuel(1 + (separator.len() + item.len()) as u64 / 64)?;
        if i > 0 {
            out.push_str(separator);
        }
        out.push_str(&item);
    }
    Ok(out.into())
}
