//! The head of a safetensors file: bytes to entries, through one gate.
//!
//! A file is eight bytes of header length (little-endian), the header in JSON, and data. The header
//! maps tensor names to `{"dtype", "shape", "data_offsets"}`, offsets from the start of the data.

mod json;

use std::ops::Range;
use std::path::Path;

use self::json::{RawEntry, parse};
use crate::error::shown;
use crate::{CheckpointError, Dtype, Limits};

/// A tensor that passed every check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    /// Bytes in the file.
    pub(crate) range: Range<usize>,
}

/// Reads and checks the header of `bytes`, a whole file. Entries come in the order of the data.
pub(crate) fn read(
    file: &Path,
    bytes: &[u8],
    limits: &Limits,
) -> Result<Vec<Entry>, CheckpointError> {
    let length = bytes.len() as u64;
    let truncated = |expected| CheckpointError::Truncated {
        file: file.to_owned(),
        found: length,
        expected,
    };
    let Some((head, _)) = bytes.split_first_chunk::<8>() else {
        return Err(truncated(8));
    };
    let header = u64::from_le_bytes(*head);
    if header > limits.header_bytes {
        return Err(CheckpointError::OverLimit {
            file: file.to_owned(),
            what: "the header length at byte 0",
            found: header,
            limit: limits.header_bytes,
        });
    }
    let start = 8 + header;
    // Both are below 2^63: the cast and the slice hold once this passes.
    if start > length {
        return Err(truncated(start));
    }
    let json = &bytes[8..start as usize];
    let mut raw = parse(json, limits).map_err(|cause| CheckpointError::Json {
        file: file.to_owned(),
        offset: 8,
        cause,
    })?;
    raw.sort_by(|a, b| (a.begin, a.end, &a.name).cmp(&(b.begin, b.end, &b.name)));
    Gate {
        file,
        start,
        data: length - start,
    }
    .admit(raw)
}

struct Gate<'a> {
    file: &'a Path,
    start: u64,
    data: u64,
}

impl Gate<'_> {
    fn admit(&self, raw: Vec<RawEntry>) -> Result<Vec<Entry>, CheckpointError> {
        let mut entries = Vec::with_capacity(raw.len());
        let mut reached = 0;
        for raw in raw {
            let dtype = Dtype::from_name(&raw.dtype).ok_or_else(|| self.unknown(&raw))?;
            self.check_extent(&raw, dtype)?;
            self.check_place(&raw, dtype, reached)?;
            reached = raw.end;
            entries.push(Entry {
                dtype,
                // Within the file, so within the address space it is mapped into; a dimension
                // beyond that can only stand beside a zero.
                shape: raw.shape.iter().map(|&n| n as usize).collect(),
                range: (self.start + raw.begin) as usize..(self.start + raw.end) as usize,
                name: raw.name,
            });
        }
        if reached != self.data {
            return Err(CheckpointError::TrailingBytes {
                file: self.file.to_owned(),
                found: self.start + self.data,
                expected: self.start + reached,
            });
        }
        Ok(entries)
    }

    fn unknown(&self, raw: &RawEntry) -> CheckpointError {
        CheckpointError::UnknownDtype {
            file: self.file.to_owned(),
            tensor: shown(&raw.name),
            found: shown(&raw.dtype),
        }
    }

    /// Offsets within the data, and as many bytes as dtype and shape need.
    fn check_extent(&self, raw: &RawEntry, dtype: Dtype) -> Result<(), CheckpointError> {
        let RawEntry { begin, end, .. } = *raw;
        // A product with a zero in it must not hide what overflows.
        let bytes = raw
            .shape
            .iter()
            .try_fold(dtype.size() as u64, |n, &d| n.checked_mul(d.max(1)))
            .filter(|&n| n <= i64::MAX as u64)
            .map(|n| if raw.shape.contains(&0) { 0 } else { n });
        let Some(bytes) = bytes else {
            return Err(CheckpointError::ShapeOverflow {
                file: self.file.to_owned(),
                tensor: shown(&raw.name),
                shape: raw.shape.clone(),
            });
        };
        if begin > end || end > self.data {
            return Err(self.outside(raw));
        }
        if end - begin != bytes {
            return Err(CheckpointError::SizeMismatch {
                file: self.file.to_owned(),
                tensor: shown(&raw.name),
                found: end - begin,
                expected: bytes,
            });
        }
        Ok(())
    }

    fn outside(&self, raw: &RawEntry) -> CheckpointError {
        CheckpointError::OutsideFile {
            file: self.file.to_owned(),
            tensor: shown(&raw.name),
            begin: raw.begin,
            end: raw.end,
            data: self.data,
        }
    }

    /// No overlap, no gap, readable in place.
    fn check_place(
        &self,
        raw: &RawEntry,
        dtype: Dtype,
        reached: u64,
    ) -> Result<(), CheckpointError> {
        let (file, tensor) = (self.file.to_owned(), shown(&raw.name));
        if raw.begin < reached {
            return Err(CheckpointError::Overlap {
                file,
                tensor,
                found: raw.begin,
                expected: reached,
            });
        }
        if raw.begin > reached {
            return Err(CheckpointError::Gap {
                file,
                tensor,
                found: raw.begin,
                expected: reached,
            });
        }
        let (offset, align) = (self.start + raw.begin, dtype.size() as u64);
        if !offset.is_multiple_of(align) {
            return Err(CheckpointError::Misaligned {
                file,
                tensor,
                offset,
                align,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
