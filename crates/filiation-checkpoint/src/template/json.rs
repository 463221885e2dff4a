//! `tojson` as `transformers` defines it: Python's `json.dumps`, nothing escaped for HTML.

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

/// Deepest nesting written.
const DEPTH: usize = 64;

pub(super) fn tojson(
    state: &State<'_, '_>,
    value: Value,
    options: Kwargs,
) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let ascii: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    if ascii == Some(true) {
        return Err(refuse("`ensure_ascii=true` is not supported"));
    }
    let mut writer = Writer {
        state,
        indent: indent.map(|n| n.min(16)),
        out: String::new(),
    };
    writer.value(&value, 0)?;
    Ok(writer.out)
}

fn refuse(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, what)
}

struct Writer<'a, 'b, 'c> {
    state: &'a State<'b, 'c>,
    indent: Option<usize>,
    out: String,
}

impl Writer<'_, '_, '_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        // A list that holds itself twice, forty times over, is small to make and endless to write.
        self.state.consume_fuel(1)?;
        if depth > DEPTH {
            return Err(refuse("value is nested too deeply for JSON"));
        }
        match value.kind() {
            ValueKind::None => self.out.push_str("null"),
            ValueKind::Bool => self
                .out
                .push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.out.push_str(&value.to_string()),
            ValueKind::String => self.string(value.as_str().unwrap_or_default())?,
            ValueKind::Seq | ValueKind::Iterable => {
                self.items(value, ['[', ']'], depth, |writer, item| {
                    writer.value(&item, depth + 1)
                })?;
            }
            ValueKind::Map => {
                self.items(value, ['{', '}'], depth, |writer, key| {
                    let name = key.as_str().ok_or_else(|| refuse("key is not a string"))?;
                    writer.string(name)?;
                    writer.out.push_str(": ");
                    writer.value(&value.get_item(&key)?, depth + 1)
                })?;
            }
            _ => return Err(refuse("value has no JSON")),
        }
        Ok(())
    }

    fn string(&mut self, text: &str) -> Result<(), Error> {
        self.state.consume_fuel(text.len() as u64 / 64)?;
        let json = serde_json::to_string(text).map_err(|_| refuse("value has no JSON"))?;
        self.out.push_str(&json);
        Ok(())
    }

    fn items(
        &mut self,
        value: &Value,
        [open, close]: [char; 2],
        depth: usize,
        mut write: impl FnMut(&mut Self, Value) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.out.push(open);
        let mut empty = true;
        for item in value.try_iter()? {
            if !empty {
                self.out
                    .push_str(if self.indent.is_some() { "," } else { ", " });
            }
            empty = false;
            self.line(depth + 1)?;
            write(self, item)?;
        }
        if !empty {
            self.line(depth)?;
        }
        self.out.push(close);
        Ok(())
    }

    fn line(&mut self, depth: usize) -> Result<(), Error> {
        if let Some(indent) = self.indent {
            self.state.consume_fuel((indent * depth) as u64 / 64)?;
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n(' ', indent * depth));
        }
        Ok(())
    }
}
