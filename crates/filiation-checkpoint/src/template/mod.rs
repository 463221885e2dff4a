//! Chat templates: programs from the folder, run on a budget.

mod json;
mod methods;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use filiation_core::Message;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Enumerator, Object, Value};
use minijinja::{Environment, Error, ErrorKind};

use crate::error::shown;
use crate::{CheckpointError, Limits};

const NAME: &str = "chat_template";

/// A chat template in the dialect of `transformers`: Jinja with `raise_exception`, Python's string
/// methods and its `tojson`.
///
/// It sees `messages`, `add_generation_prompt`, the special tokens (`bos_token`, …), and `tools`
/// and `documents`, which are `none`. It does not see the time: a template that needs
/// `strftime_now` fails, as its prompts would differ from day to day.
#[derive(Debug)]
pub struct ChatTemplate {
    file: PathBuf,
    source: String,
    special: BTreeMap<String, String>,
    compiled: Result<Environment<'static>, String>,
    fuel: u64,
    output: usize,
}

impl ChatTemplate {
    /// A template from its `source` in `file` (used in messages only) and the special tokens that
    /// it may name (`bos_token` to `<s>`, …). A source that does not compile gives a template
    /// that fails when rendered, so that everything else in the folder can still be read.
    pub fn new(
        file: &Path,
        source: impl Into<String>,
        special: BTreeMap<String, String>,
        limits: &Limits,
    ) -> Self {
        let source = source.into();
        Self {
            file: file.to_owned(),
            compiled: environment(&source, limits.template_fuel).map_err(|e| e.to_string()),
            source,
            special,
            fuel: limits.template_fuel,
            output: limits.template_output,
        }
    }

    /// The source, as the folder has it.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Why it does not compile, where it does not.
    pub fn defect(&self) -> Option<&str> {
        self.compiled.as_ref().err().map(String::as_str)
    }

    /// `messages` as the text that the model reads; with `add_generation_prompt`, followed by what
    /// precedes the model's own turn.
    ///
    /// # Errors
    /// [`CheckpointError::Template`] where the template does not compile or refuses,
    /// [`CheckpointError::TemplateFuel`] where it does not end,
    /// [`CheckpointError::TemplateOutput`] where it writes too much.
    pub fn render(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<String, CheckpointError> {
        let refuse = |reason: &str| CheckpointError::Template {
            file: self.file.clone(),
            reason: shown(reason),
        };
        let environment = self.compiled.as_ref().map_err(|e| refuse(e))?;
        let template = environment
            .get_template(NAME)
            .map_err(|e| refuse(&e.to_string()))?;
        let mut out = Capped {
            bytes: Vec::new(),
            cap: self.output,
            full: false,
        };
        let context = self.context(messages, add_generation_prompt);
        let result = template.render_captured_to(context, &mut out).map(|_| ());
        if out.full {
            return Err(CheckpointError::TemplateOutput {
                file: self.file.clone(),
                limit: self.output,
            });
        }
        match result {
            Ok(()) => String::from_utf8(out.bytes).map_err(|e| refuse(&e.to_string())),
            Err(error) if is_out_of_fuel(&error) => Err(CheckpointError::TemplateFuel {
                file: self.file.clone(),
                limit: self.fuel,
            }),
            Err(error) => Err(refuse(&error.to_string())),
        }
    }

    fn context(&self, messages: &[Message], add_generation_prompt: bool) -> Value {
        let turns = messages.iter().map(|m| Value::from_object(Turn(m.clone())));
        let none = || Value::from(());
        let mut context = BTreeMap::from([
            ("messages".to_owned(), turns.collect::<Vec<_>>().into()),
            (
                "add_generation_prompt".to_owned(),
                add_generation_prompt.into(),
            ),
            ("tools".to_owned(), none()),
            ("documents".to_owned(), none()),
        ]);
        context.extend(self.special.iter().map(|(k, v)| (k.clone(), v.into())));
        context.into()
    }
}

// No loader is set, and no function that reaches files, time or randomness is.
fn environment(source: &str, fuel: u64) -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(
        SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()?,
    );
    environment.set_fuel(Some(fuel));
    environment.set_recursion_limit(200);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_unknown_method_callback(methods::call);
    environment.add_filter("tojson", json::tojson);
    environment.add_function("raise_exception", raise_exception);
    environment.add_template_owned(NAME, without_generation_tags(source))?;
    Ok(environment)
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

fn is_out_of_fuel(error: &Error) -> bool {
    let mut next = Some(error as &dyn std::error::Error);
    while let Some(error) = next {
        if error
            .downcast_ref::<Error>()
            .is_some_and(|e| e.kind() == ErrorKind::OutOfFuel)
        {
            return true;
        }
        next = error.source();
    }
    false
}

/// Turns `{% generation %}`, which marks the model's own words for training and prints nothing,
/// into a tag that Jinja knows, with the same effect on white space around it.
fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at);
        out.push_str(before);
        let Some(end) = tag.find("%}") else {
            rest = tag;
            break;
        };
        let body = &tag[2..end];
        let word = body.trim_matches(['-', '+']).trim();
        let (open, close) = (body.starts_with('-'), body.ends_with('-'));
        match word {
            "generation" | "endgeneration" => {
                let (dash, end) = (if open { "-" } else { "" }, if close { "-" } else { "" });
                let tag = if word == "generation" {
                    "if true"
                } else {
                    "endif"
                };
                out.push_str(&format!("{{%{dash} {tag} {end}%}}"));
            }
            _ => out.push_str(&tag[..end + 2]),
        }
        rest = &tag[end + 2..];
    }
    out.push_str(rest);
    out
}

/// A message as the template sees it, keys in the order that `transformers` has them.
#[derive(Debug)]
struct Turn(Message);

impl Object for Turn {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str()? {
            "role" => Some(self.0.role.as_str().into()),
            "content" => Some(self.0.content.as_str().into()),
            _ => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&["role", "content"])
    }
}

struct Capped {
    bytes: Vec<u8>,
    cap: usize,
    full: bool,
}

impl Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.cap {
            self.full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
