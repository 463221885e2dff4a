use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use filiation_audit::population::{Family, Known, Learned, Manifest};
use filiation_checkpoint::{Checkpoint, Limits};
use filiation_core::Role;
use filiation_lab::{Lineage, Tie};

use crate::output;

/// Writes a manifest to standard output. Suspects with their own initialisation are held, in turn,
/// against the bases that distilled suspects start from.
#[derive(Args)]
pub(crate) struct ManifestArgs {
    /// Folder of models, each with its `lineage.json`.
    models: PathBuf,
    /// That folder as the manifest is to name it, relative to where the manifest will stand.
    #[arg(long, value_name = "PATH")]
    named: Option<PathBuf>,
    /// Teachers that are siblings, joined by commas; repeat for each group.
    #[arg(long = "siblings", value_name = "A,B")]
    siblings: Vec<String>,
    /// A probe by name; repeat for each.
    #[arg(long = "probe", value_name = "NAME", required = true)]
    probes: Vec<String>,
    /// A prompt suite (JSONL), relative to where the manifest will stand; repeat for each.
    #[arg(long = "suite", value_name = "FILE")]
    suites: Vec<PathBuf>,
    /// Most tokens a completion may have.
    #[arg(long, default_value_t = 48)]
    max_tokens: u32,
    /// Completions of each prompt by each teacher.
    #[arg(long, default_value_t = 1)]
    samples: u32,
    /// Sampling temperature of the teachers.
    #[arg(long, default_value_t = 1.0)]
    temperature: f64,
    /// Seed of every random choice.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Also hold every suspect without a teacher against a base that is not its own: as the independent
    /// model that it is there, in its own lineage.
    #[arg(long)]
    cross: bool,
}

impl ManifestArgs {
    pub(crate) fn run(self, json: bool) -> Result<()> {
        let lineages = lineages(&self.models)?;
        let teachers = named(&lineages, Role::Teacher);
        if teachers.is_empty() {
            bail!(
                "`{}` holds no model with role `teacher`",
                self.models.display()
            );
        }
        let split = |group: &String| group.split(',').map(str::to_owned).collect();
        let mut families = families(&lineages);
        if self.cross {
            cross(&mut families);
        }
        for family in &mut families {
            family.kind = Some(kind(&self.models.join(&family.base))?);
        }
        let manifest = Manifest {
            format: 1,
            models: self.named.unwrap_or(self.models),
            teachers,
            siblings: self.siblings.iter().map(split).collect(),
            probes: self.probes,
            suites: self.suites,
            max_tokens: self.max_tokens,
            samples: self.samples,
            temperature: self.temperature,
            raw: false,
            limit: None,
            seed: self.seed,
            families,
        };
        manifest.check()?;
        if json {
            return output::json(&manifest);
        }
        output::text(&text(manifest)?)
    }
}

// In the order of their names.
fn lineages(folder: &Path) -> Result<Vec<Lineage>> {
    let shown = |path: &Path| format!("cannot read `{}`", path.display());
    let mut all = Vec::new();
    for entry in folder.read_dir().with_context(|| shown(folder))? {
        let path = entry
            .with_context(|| shown(folder))?
            .path()
            .join("lineage.json");
        if path.is_file() {
            let bytes = std::fs::read(&path).with_context(|| shown(&path))?;
            let lineage: Lineage = serde_json::from_slice(&bytes).with_context(|| {
                format!("`{}` is no record of a model's parents", path.display())
            })?;
            all.push(lineage);
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

fn named(lineages: &[Lineage], role: Role) -> Vec<String> {
    let of_role = lineages.iter().filter(|l| l.role == role);
    of_role.map(|l| l.name.clone()).collect()
}

fn start(lineage: &Lineage) -> Option<&str> {
    let parents = lineage.parents.iter();
    let mut starts = parents.filter(|p| p.tie == Tie::InitialisedFrom);
    starts.next().map(|p| p.model.as_str())
}

/// What it learned itself, or what it starts from did: further training does not undo a history.
fn learned(lineage: &Lineage, all: &[Lineage]) -> Option<Learned> {
    let own = lineage
        .parents
        .iter()
        .filter_map(|parent| match parent.tie {
            Tie::DistilledFrom {
                share, by, hidden, ..
            } => Some(Learned {
                from: parent.model.clone(),
                also: None,
                share,
                by: match hidden {
                    None => by.as_str().into(),
                    Some(hiding) => format!("{}-{}", by.as_str(), hiding.as_str()),
                },
            }),
            Tie::InitialisedFrom => None,
        });
    // Of two teachers each has half of the rows that came from one.
    let own = own.reduce(|one, other| Learned {
        also: Some(other.from),
        share: one.share + other.share,
        by: format!("{}-mixed", one.by),
        from: one.from,
    });
    let earlier = || {
        let start = all
            .iter()
            .find(|l| Some(l.name.as_str()) == start(lineage))?;
        let before = learned(start, all).filter(|_| start.role == Role::Suspect)?;
        Some(Learned {
            by: format!("{}-cooled", before.by),
            ..before
        })
    };
    own.or_else(earlier)
}

/// The base that it descends from: the first that was made to be one.
fn base<'a>(lineage: &'a Lineage, all: &'a [Lineage]) -> Option<&'a str> {
    let name = start(lineage)?;
    match all.iter().find(|l| l.name == name) {
        Some(before) if before.role == Role::Suspect => base(before, all),
        _ => Some(name),
    }
}

/// Layers and width.
fn kind(model: &Path) -> Result<String> {
    let checkpoint = Checkpoint::open(model, &Limits::default())?;
    let config = checkpoint.config();
    Ok(format!("{}x{}", config.layers.len(), config.width))
}

fn families(lineages: &[Lineage]) -> Vec<Family> {
    let suspects = || lineages.iter().filter(|l| l.role == Role::Suspect);
    let known = |lineage: &Lineage| Known {
        model: lineage.name.clone(),
        name: None,
        lineage: None,
        independent: start(lineage).is_none(),
        learned: learned(lineage, lineages),
    };
    let mut families: Vec<Family> = named(lineages, Role::Base)
        .into_iter()
        .map(|base| {
            let of_base = |l: &&Lineage| self::base(l, lineages) == Some(base.as_str());
            let controls = lineages.iter().filter(|l| l.role == Role::Control);
            Family {
                controls: controls.filter(of_base).map(|l| l.name.clone()).collect(),
                suspects: suspects().filter(of_base).map(known).collect(),
                kind: None,
                base,
            }
        })
        .filter(|family| !family.suspects.is_empty())
        .collect();
    let taught = |f: &Family| f.suspects.iter().any(|s| s.learned.is_some());
    families.sort_by_key(|f| !taught(f));
    let held = families.iter().filter(|f| taught(f)).count().max(1);
    if !families.is_empty() {
        let independents = suspects().filter(|l| start(l).is_none());
        for (i, lineage) in independents.enumerate() {
            let family = (i % held).min(families.len() - 1);
            families[family].suspects.push(known(lineage));
        }
    }
    families
}

/// Fine-tunes without a teacher, each held against the base of the next family too.
fn cross(families: &mut [Family]) {
    let clean = |f: &&Family| {
        f.suspects
            .iter()
            .any(|s| s.learned.is_none() && !s.independent)
    };
    let places: Vec<usize> = (0..families.len())
        .filter(|at| clean(&&families[*at]))
        .collect();
    let mut crossed = Vec::new();
    for (at, place) in places.iter().enumerate().filter(|_| places.len() > 1) {
        let against = places[(at + 1) % places.len()];
        let base = &families[against].base;
        let own = families[*place].suspects.iter();
        for known in own.filter(|s| s.learned.is_none() && !s.independent) {
            let moved = Known {
                name: Some(format!("{}-against-{base}", known.model)),
                lineage: Some(families[*place].base.clone()),
                independent: true,
                ..known.clone()
            };
            crossed.push((against, moved));
        }
    }
    for (family, known) in crossed {
        families[family].suspects.push(known);
    }
}

// One suspect a line, which a general writer of TOML does not do.
fn text(mut manifest: Manifest) -> Result<String> {
    let families = std::mem::take(&mut manifest.families);
    let mut text = toml::to_string(&manifest)?;
    let quoted = |name: &str| format!("{name:?}");
    for family in &families {
        let controls: Vec<String> = family.controls.iter().map(|c| quoted(c)).collect();
        write!(text, "\n[[family]]\nbase = {}\n", quoted(&family.base))?;
        if let Some(kind) = &family.kind {
            writeln!(text, "kind = {}", quoted(kind))?;
        }
        write!(text, "controls = [{}]\nsuspects = [\n", controls.join(", "))?;
        for known in &family.suspects {
            write!(text, "  {{ model = {}", quoted(&known.model))?;
            for (key, value) in [("name", &known.name), ("lineage", &known.lineage)] {
                if let Some(value) = value {
                    write!(text, ", {key} = {}", quoted(value))?;
                }
            }
            if known.independent {
                text.push_str(", independent = true");
            }
            if let Some(learned) = &known.learned {
                let (from, by) = (quoted(&learned.from), quoted(&learned.by));
                let share = learned.share;
                let also = learned.also.as_ref();
                let also = also.map_or(String::new(), |name| format!(", also = {}", quoted(name)));
                write!(
                    text,
                    ", learned = {{ from = {from}{also}, share = {share:?}, by = {by} }}"
                )?;
            }
            text.push_str(" },\n");
        }
        text.push_str("]\n");
    }
    Ok(text)
}
