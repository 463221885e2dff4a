use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use filiation_audit::Collection;

use super::asked::{Asked, Computed};
use super::pack;
use super::remote::{Remote, tell_spent};
use crate::day::Day;
use crate::output;
use crate::progress::Shown;
use crate::teachers::Parties;

/// Records a model: every answer to the questions that an audit puts to a teacher, sealed in a pack.
/// With a case, all teachers of it. The same command again goes on where it stopped.
///
/// An audit takes a pack in place of a model folder, for any number of suspects, and then needs
/// neither the teacher's weights nor a network. It must ask the way the pack was recorded.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    filiation collect models/t1 --suite probes/chat.jsonl --out packs/t1.pack\n  \
    filiation collect corpora/demo/case.toml --out packs\n  \
    filiation collect openai:MODEL --suite probes/chat.jsonl --out packs/m.pack \
    --basis 'contract 7' --authorised-by 'A. Auditor'")]
pub(crate) struct Collect {
    /// A case file (`.toml`), a model's folder or file, or `PROVIDER:MODEL` behind an API.
    #[arg(value_name = "CASE|[NAME=]MODEL")]
    target: String,
    /// The pack (`.pack`), or a folder for one pack a model.
    #[arg(long, value_name = "PACK|DIR")]
    out: PathBuf,
    /// The model's version, in the words of its maker.
    #[arg(long, value_name = "TEXT")]
    model_version: Option<String>,
    /// Day of the recording. Default: today (UTC).
    #[arg(long, value_name = "YYYY-MM-DD")]
    date: Option<Day>,
    #[command(flatten)]
    asked: Asked,
    #[command(flatten)]
    computed: Computed,
    #[command(flatten)]
    remote: Remote,
}

impl Collect {
    pub(crate) fn run(self, json: bool) -> Result<()> {
        let (mut order, folder) = self.asked.order(&self.target)?;
        self.remote.put_into(order.models.iter_mut())?;
        self.remote.authorise(order.models.iter_mut(), None)?;
        let local = self.computed.provider(order.asking.raw);
        let provider = Parties::new(local, self.remote.manner()?);
        let collection = Collection::begin(&order, &folder, &provider, &self.out)?;
        let collected = collection.collect(&provider, &Shown::new());
        tell_spent(&provider);
        collected?;
        let day = match self.date {
            Some(day) => day,
            None => Day::today()?,
        };
        let version = self.model_version.as_deref();
        let packs = collection.seal(&self.out, &provider, &day.to_string(), version)?;
        if json {
            let shown: Vec<_> = packs
                .iter()
                .map(|(path, p)| pack::Shown::of(path, p))
                .collect();
            return output::json(&shown);
        }
        let line = |path: &Path, pack: &filiation_audit::Pack| {
            format!(
                "{}: {} answers, {}\n",
                path.display(),
                pack.head().answers,
                pack.digest()
            )
        };
        output::text(
            &packs
                .iter()
                .map(|(path, p)| line(path, p))
                .collect::<String>(),
        )
    }
}
