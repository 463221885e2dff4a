use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use filiation_core::{Digest, canonical};
use filiation_probes::canaries::{self, Record, Spec};

use crate::day::Day;
use crate::failure::Usage;
use crate::output;

const RECORD: &str = "canaries.json";
const SECRET: &str = "canaries.secret.json";
const TEXTS: &str = "texts.jsonl";

/// Makes canaries: texts drawn by lot among decoys that are made alike.
///
/// Three files are written. `canaries.json` has commitments and no text: publish it, or have its date
/// witnessed, before a model appears. `canaries.secret.json` opens it: keep it. `texts.jsonl` is what
/// to plant: its lines go among a teacher's answers or data, as often as they stand there.
#[derive(Args)]
#[command(after_help = "Example:\n  \
    filiation canary plant --id acme-7 --form phrase --count 64 --repeats 1,4,16 --out canaries/acme-7")]
pub(crate) struct Plant {
    /// Folder for the files.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Name of the set: letters, digits, `.`, `_`, `-`.
    #[arg(long, default_value = "canaries")]
    id: String,
    /// What the canaries look like.
    #[arg(long, value_enum, default_value_t = Form::Phrase)]
    form: Form,
    /// How many. Their p-values are combined.
    #[arg(long, default_value_t = 64)]
    count: u32,
    /// Decoys of each: its p is at least 1/(decoys + 1).
    #[arg(long, default_value_t = 99)]
    decoys: u32,
    /// How often each is planted, in turn: with `1,4,16` a third once, a third four times, and so on.
    #[arg(long, value_delimiter = ',', default_value = "1", value_name = "N,…")]
    repeats: Vec<u32>,
    /// Day of the making. Default: today (UTC).
    #[arg(long, value_name = "YYYY-MM-DD")]
    date: Option<Day>,
    /// 64 hexadecimal digits to make the canaries from, for making them again. Default: random.
    #[arg(
        long,
        value_name = "HEX",
        env = "FILIATION_CANARY_SEED",
        hide_env_values = true
    )]
    seed: Option<String>,
    /// Write the canaries in clear into the record. Whoever reads it can train them away.
    #[arg(long)]
    disclose: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    /// A sentence that announces a random string.
    String,
    /// A made-up fact in plain English.
    Phrase,
    /// A question as a user turn, and its made-up answer.
    Question,
}

impl From<Form> for canaries::Form {
    fn from(form: Form) -> Self {
        match form {
            Form::String => Self::String,
            Form::Phrase => Self::Phrase,
            Form::Question => Self::Question,
        }
    }
}

impl Plant {
    pub(super) fn run(self, json: bool) -> Result<()> {
        let date = match self.date {
            Some(day) => day,
            None => Day::today()?,
        };
        let spec = Spec {
            id: self.id.clone(),
            created: date.to_string(),
            form: self.form.into(),
            count: self.count,
            decoys: self.decoys,
            repeats: self.repeats.clone(),
        };
        spec.check().map_err(|e| Usage(e.to_string()))?;
        for name in [RECORD, SECRET, TEXTS] {
            let path = self.out.join(name);
            if path.exists() {
                bail!(
                    "`{}` stands already, and is not written over",
                    path.display()
                );
            }
        }
        let (mut record, secret) = Record::plant(spec, self.seed()?)?;
        if self.disclose {
            record = record.disclose(&secret)?;
        }
        let texts: String = record
            .plantings(&secret)?
            .iter()
            .map(|planting| {
                String::from_utf8_lossy(&canonical::to_bytes(planting)).into_owned() + "\n"
            })
            .collect();
        fs::create_dir_all(&self.out)
            .with_context(|| format!("cannot make `{}`", self.out.display()))?;
        // The secret first: without it the others are worth nothing.
        write(&self.out.join(SECRET), &canonical::to_pretty(&secret), true)?;
        write(
            &self.out.join(RECORD),
            &canonical::to_pretty(&record),
            false,
        )?;
        write(&self.out.join(TEXTS), texts.as_bytes(), true)?;
        let lines = texts.lines().count();
        if json {
            return output::json(&serde_json::json!({
                "id": record.spec.id,
                "created": record.spec.created,
                "commitment": record.commitment,
                "canaries": record.canaries.len(),
                "decoys": record.spec.decoys,
                "texts": lines,
                "disclosed": self.disclose,
            }));
        }
        output::text(&format!(
            "{} canaries of {}, {} decoys each; {lines} texts to plant\n\
             commitment {}\n\
             publish {RECORD}; keep {SECRET}; plant {TEXTS} (all in {})\n",
            record.canaries.len(),
            record.spec.id,
            record.spec.decoys,
            record.commitment,
            self.out.display()
        ))
    }

    fn seed(&self) -> Result<[u8; 32]> {
        match &self.seed {
            // Not quoted: it is the secret.
            Some(text) => match text.parse::<Digest>() {
                Ok(seed) => Ok(*seed.as_bytes()),
                Err(_) => Err(Usage("`--seed` is no 64 hexadecimal digits".into()).into()),
            },
            None => {
                let mut seed = [0; 32];
                getrandom::fill(&mut seed)
                    .map_err(|e| anyhow::anyhow!("the system gives no random bytes: {e}"))?;
                Ok(seed)
            }
        }
    }
}

fn write(path: &Path, bytes: &[u8], private: bool) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if private {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options
        .open(path)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .with_context(|| format!("cannot write `{}`", path.display()))
}
