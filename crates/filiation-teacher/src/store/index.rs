//! The rows, in SQLite with a write-ahead log. `record` is the row; the other columns repeat parts of
//! it for queries.

use std::path::Path;
use std::time::Duration;

use filiation_core::Digest;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, Transaction, params};
use serde::Serialize;

use super::damaged;
use super::exchange::{Draft, Exchange};
use crate::{Key, TeacherError};

pub(super) const FILE: &str = "index.sqlite";
const FORMAT: i64 = 1;
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS exchange (
    seq INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    kind TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    epoch TEXT NOT NULL,
    provider TEXT NOT NULL,
    url TEXT NOT NULL,
    model_asked TEXT NOT NULL,
    model_returned TEXT,
    request TEXT NOT NULL,
    response TEXT,
    status INTEGER,
    began INTEGER NOT NULL,
    ended INTEGER,
    input_tokens INTEGER,
    output_tokens INTEGER,
    note TEXT,
    record BLOB NOT NULL,
    digest TEXT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS answered ON exchange (key) WHERE kind IN ('answer', 'refused');
CREATE INDEX IF NOT EXISTS by_key ON exchange (key);
CREATE INDEX IF NOT EXISTS by_endpoint ON exchange (endpoint, epoch);
";

pub(super) fn open(root: &Path, write: bool) -> Result<Connection, TeacherError> {
    let failed = |e: rusqlite::Error| damaged(root, e.to_string());
    let path = root.join(FILE);
    let mut flags = OpenFlags::SQLITE_OPEN_NO_MUTEX;
    flags |= if write {
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE
    } else {
        OpenFlags::SQLITE_OPEN_READ_ONLY
    };
    let connection = Connection::open_with_flags(&path, flags).map_err(failed)?;
    connection
        .busy_timeout(Duration::from_secs(30))
        .map_err(failed)?;
    let format: i64 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(failed)?;
    if write {
        connection
            .pragma_update(None, "journal_mode", "WAL")
            .map_err(failed)?;
        connection
            .pragma_update(None, "synchronous", "FULL")
            .map_err(failed)?;
        if format == 0 {
            connection.execute_batch(SCHEMA).map_err(failed)?;
            connection
                .pragma_update(None, "user_version", FORMAT)
                .map_err(failed)?;
            return Ok(connection);
        }
    }
    if format != FORMAT {
        return Err(damaged(
            root,
            format!("its format is {format}, expected {FORMAT}"),
        ));
    }
    Ok(connection)
}

/// Digest and place of the last row.
pub(super) fn last(root: &Path, connection: &Connection) -> Result<(u64, Digest), TeacherError> {
    let row = connection
        .query_row(
            "SELECT seq, digest FROM exchange ORDER BY seq DESC LIMIT 1",
            [],
            |row| Ok((row.get::<_, u64>(0)?, row.get::<_, String>(1)?)),
        )
        .optional()
        .map_err(|e| damaged(root, e.to_string()))?;
    match row {
        None => Ok((0, Digest::of(b""))),
        Some((seq, digest)) => {
            let digest = digest
                .parse()
                .map_err(|_| damaged(root, format!("row {seq} has no digest")))?;
            Ok((seq, digest))
        }
    }
}

pub(super) fn head(root: &Path, connection: &Connection) -> Result<Option<Digest>, TeacherError> {
    let (seq, digest) = last(root, connection)?;
    Ok((seq > 0).then_some(digest))
}

/// Adds a row after the last; gives it back as it stands in the chain.
pub(super) fn add(
    transaction: &Transaction<'_>,
    draft: Draft,
    (seq, previous): (u64, Digest),
) -> rusqlite::Result<(Exchange, Digest)> {
    let exchange = draft.at(seq + 1, previous);
    let record = exchange.record();
    let digest = Digest::of(&record);
    let text = |d: Digest| d.to_string();
    let mut statement = transaction.prepare_cached(
        "INSERT INTO exchange (seq, key, kind, endpoint, epoch, provider, url, model_asked, \
         model_returned, request, response, status, began, ended, input_tokens, output_tokens, note, \
         record, digest) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, \
         ?16, ?17, ?18, ?19)",
    )?;
    statement.execute(params![
        exchange.seq,
        exchange.key.to_string(),
        exchange.kind.as_str(),
        text(exchange.endpoint),
        exchange.epoch,
        exchange.provider,
        exchange.url,
        exchange.model_asked,
        exchange.model_returned,
        text(exchange.request),
        exchange.response.map(text),
        exchange.status,
        exchange.began,
        exchange.ended,
        exchange.usage.map(|u| u.input),
        exchange.usage.map(|u| u.output),
        exchange.note,
        record,
        text(digest),
    ])?;
    Ok((exchange, digest))
}

fn parsed(root: &Path, record: &[u8]) -> Result<Exchange, TeacherError> {
    serde_json::from_slice(record).map_err(|e| damaged(root, format!("a row cannot be read: {e}")))
}

pub(super) fn find(
    root: &Path,
    connection: &Connection,
    key: &Key,
) -> Result<Option<Exchange>, TeacherError> {
    let failed = |e: rusqlite::Error| damaged(root, e.to_string());
    let mut statement = connection
        .prepare_cached(
            "SELECT record FROM exchange WHERE key = ?1 AND kind IN ('answer', 'refused')",
        )
        .map_err(failed)?;
    let record: Option<Vec<u8>> = statement
        .query_row([key.to_string()], |row| row.get(0))
        .optional()
        .map_err(failed)?;
    record.map(|record| parsed(root, &record)).transpose()
}

/// Whether any attempt at a key was recorded that began at this moment or later.
pub(super) fn has_since(connection: &Connection, key: &Key, began: u64) -> rusqlite::Result<bool> {
    connection
        .query_row(
            "SELECT 1 FROM exchange WHERE key = ?1 AND began >= ?2 LIMIT 1",
            params![key.to_string(), began],
            |_| Ok(()),
        )
        .optional()
        .map(|found| found.is_some())
}

pub(super) fn first_model(
    root: &Path,
    connection: &Connection,
    endpoint: &Digest,
    epoch: &str,
) -> Result<Option<String>, TeacherError> {
    connection
        .query_row(
            "SELECT model_returned FROM exchange WHERE endpoint = ?1 AND epoch = ?2 AND kind = 'answer' \
             AND model_returned IS NOT NULL ORDER BY seq LIMIT 1",
            params![endpoint.to_string(), epoch],
            |row| row.get(0),
        )
        .optional()
        .map_err(|e| damaged(root, e.to_string()))
}

pub(super) fn exchanges(
    root: &Path,
    connection: &Connection,
    endpoint: Option<&Digest>,
) -> Result<Vec<Exchange>, TeacherError> {
    let failed = |e: rusqlite::Error| damaged(root, e.to_string());
    let mut statement = connection
        .prepare("SELECT record FROM exchange WHERE ?1 IS NULL OR endpoint = ?1 ORDER BY seq")
        .map_err(failed)?;
    let rows = statement
        .query_map([endpoint.map(Digest::to_string)], |row| {
            row.get::<_, Vec<u8>>(0)
        })
        .map_err(failed)?;
    rows.map(|row| parsed(root, &row.map_err(failed)?))
        .collect()
}

/// What a store holds of one endpoint in one epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Digest of the endpoint's identity.
    pub endpoint: Digest,
    /// Provider.
    pub provider: String,
    /// Model asked for.
    pub model: String,
    /// Address of the last exchange.
    pub url: String,
    /// Epoch; empty unless one was named.
    pub epoch: String,
    /// Models that answered, in the endpoint's words.
    pub returned: Vec<String>,
    /// Answers that can be used.
    pub answers: u64,
    /// Questions refused.
    pub refused: u64,
    /// Attempts without an answer.
    pub faults: u64,
    /// Questions under way when a process ended.
    pub interrupted: u64,
    /// Tokens of inputs, as counted by the endpoint.
    pub input_tokens: u64,
    /// Tokens drawn, as counted by the endpoint.
    pub output_tokens: u64,
    /// First attempt: milliseconds since 1970, UTC.
    pub first: u64,
    /// Last attempt.
    pub last: u64,
}

pub(super) fn summary(root: &Path, connection: &Connection) -> Result<Vec<Summary>, TeacherError> {
    let failed = |e: rusqlite::Error| damaged(root, e.to_string());
    let mut statement = connection
        .prepare(
            "SELECT endpoint, provider, model_asked, max(url), epoch, sum(kind = 'answer'), \
             sum(kind = 'refused'), sum(kind = 'fault'), sum(kind = 'interrupted'), \
             total(input_tokens), total(output_tokens), min(began), max(began) \
             FROM exchange GROUP BY endpoint, epoch ORDER BY min(seq)",
        )
        .map_err(failed)?;
    let read = |row: &Row<'_>| -> rusqlite::Result<(String, Summary)> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a sum of counts"
        )]
        let whole = |x: f64| x as u64;
        Ok((
            row.get(0)?,
            Summary {
                endpoint: Digest::of(b""),
                provider: row.get(1)?,
                model: row.get(2)?,
                url: row.get(3)?,
                epoch: row.get(4)?,
                returned: Vec::new(),
                answers: row.get(5)?,
                refused: row.get(6)?,
                faults: row.get(7)?,
                interrupted: row.get(8)?,
                input_tokens: whole(row.get(9)?),
                output_tokens: whole(row.get(10)?),
                first: row.get(11)?,
                last: row.get(12)?,
            },
        ))
    };
    let rows = statement.query_map([], read).map_err(failed)?;
    let mut all = Vec::new();
    for row in rows {
        let (endpoint, mut summary) = row.map_err(failed)?;
        summary.endpoint = endpoint
            .parse()
            .map_err(|_| damaged(root, "a row has no endpoint"))?;
        let mut names = connection
            .prepare_cached(
                "SELECT DISTINCT model_returned FROM exchange WHERE endpoint = ?1 AND epoch = ?2 \
                 AND model_returned IS NOT NULL ORDER BY 1",
            )
            .map_err(failed)?;
        let names = names
            .query_map(params![endpoint, summary.epoch], |row| row.get(0))
            .map_err(failed)?;
        summary.returned = names.collect::<Result<_, _>>().map_err(failed)?;
        all.push(summary);
    }
    Ok(all)
}
