//! Checking and tidying.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use filiation_core::Digest;
use rusqlite::Connection;
use serde::Serialize;

use super::exchange::{Exchange, Kind};
use super::{damaged, disk, objects};
use crate::{Key, TeacherError};

/// What a check of everything found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Rows of the chain.
    pub rows: u64,
    /// Objects that rows name.
    pub objects: u64,
    /// Their bytes, uncompressed.
    pub bytes: u64,
    /// Digest of the last row.
    pub head: Option<Digest>,
    /// What is wrong, first row first.
    pub problems: Vec<String>,
}

/// What tidying removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Sweep {
    /// Files removed.
    pub files: u64,
    /// Their bytes on disk.
    pub bytes: u64,
}

pub(super) fn verify(root: &Path, connection: &Connection) -> Result<Verified, TeacherError> {
    let failed = |e: rusqlite::Error| damaged(root, e.to_string());
    let mut statement = connection
        .prepare("SELECT seq, key, kind, record, digest FROM exchange ORDER BY seq")
        .map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    let mut found = Verified {
        rows: 0,
        objects: 0,
        bytes: 0,
        head: None,
        problems: Vec::new(),
    };
    let mut previous = Digest::of(b"");
    let mut seen = BTreeSet::new();
    while let Some(row) = rows.next().map_err(failed)? {
        found.rows += 1;
        let seq: u64 = row.get(0).map_err(failed)?;
        let columns: (String, String) = (row.get(1).map_err(failed)?, row.get(2).map_err(failed)?);
        let record: Vec<u8> = row.get(3).map_err(failed)?;
        let stated: String = row.get(4).map_err(failed)?;
        let digest = Digest::of(&record);
        let mut problem = |text: &str| found.problems.push(format!("row {seq}: {text}"));
        if seq != found.rows {
            problem("its place in the chain is another");
        }
        if digest.to_string() != stated {
            problem("it was changed since it was written");
        }
        match serde_json::from_slice::<Exchange>(&record) {
            Err(e) => problem(&format!("it cannot be read: {e}")),
            Ok(exchange) => {
                if exchange.previous != previous {
                    problem("it does not follow the row before it");
                }
                consistent(&exchange, seq, &columns, &mut problem);
                let named = [Some(exchange.request), exchange.response];
                let kept = exchange.kind != Kind::Interrupted;
                for object in named.into_iter().flatten().filter(|_| kept) {
                    if !seen.insert(object) {
                        continue;
                    }
                    match objects::read(root, &object) {
                        Ok(bytes) => {
                            found.objects += 1;
                            found.bytes += bytes.len() as u64;
                        }
                        Err(e) => problem(&e.to_string()),
                    }
                }
            }
        }
        previous = digest;
        found.head = Some(digest);
    }
    found.problems.extend(super::examined::problems(root));
    Ok(found)
}

fn consistent(
    exchange: &Exchange,
    seq: u64,
    columns: &(String, String),
    problem: &mut impl FnMut(&str),
) {
    let (key, kind) = columns;
    if exchange.seq != seq || exchange.key.to_string() != *key || exchange.kind.as_str() != kind {
        problem("its columns are not those of its record");
    }
    let sample = exchange.sample.parse().unwrap_or(0);
    let expected = Key::of(
        &exchange.dialect,
        &exchange.url,
        exchange.request,
        sample,
        &exchange.epoch,
    );
    if expected != exchange.key {
        problem("its key is not that of its request");
    }
}

pub(super) fn sweep(root: &Path, connection: &Connection) -> Result<Sweep, TeacherError> {
    let failed = |e: rusqlite::Error| damaged(root, e.to_string());
    let mut statement = connection
        .prepare("SELECT request FROM exchange UNION SELECT response FROM exchange WHERE response IS NOT NULL")
        .map_err(failed)?;
    let named = statement
        .query_map([], |row| row.get::<_, String>(0))
        .map_err(failed)?;
    let mut kept = BTreeSet::new();
    for digest in named {
        let digest: Digest = digest
            .map_err(failed)?
            .parse()
            .map_err(|_| damaged(root, "a row names no digest"))?;
        kept.insert(objects::place(root, &digest));
    }
    let mut swept = Sweep::default();
    for folder in entries(&objects::folder(root))? {
        if !folder.is_dir() {
            continue;
        }
        for file in entries(&folder)? {
            if kept.contains(&file) {
                continue;
            }
            let bytes = fs::metadata(&file)
                .map_err(|e| disk("read", &file, &e))?
                .len();
            fs::remove_file(&file).map_err(|e| disk("remove", &file, &e))?;
            swept.files += 1;
            swept.bytes += bytes;
        }
    }
    Ok(swept)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, TeacherError> {
    let list = fs::read_dir(folder).map_err(|e| disk("read", folder, &e))?;
    let mut paths: Vec<PathBuf> = list.flatten().map(|e| e.path()).collect();
    paths.sort();
    Ok(paths)
}
