//! The header of a GGUF file, read from untrusted bytes.
//!
//! candle's own reader keeps every array element as an enum and divides by the alignment that the
//! file states; this one bounds the counts first. The blocks themselves are decoded by candle.

use std::collections::BTreeMap;

use candle_core::quantized::GgmlDType;

use crate::error::GgufProblem;

const MAX_DIMENSIONS: u32 = 4;
const MAX_KEYS: u64 = 1 << 16;
const MAX_DEPTH: usize = 2;
/// Array elements of all metadata together: the largest vocabularies need about a million.
const MAX_ELEMENTS: u64 = 1 << 24;

/// One metadata value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Int(i128),
    Float(f64),
    Bool(bool),
    Text(String),
    List(Vec<Self>),
}

/// One tensor: type, shape (rows first) and where its blocks lie in the file.
#[derive(Debug, Clone)]
pub(crate) struct TensorInfo {
    pub(crate) dtype: GgmlDType,
    pub(crate) shape: Vec<usize>,
    pub(crate) start: usize,
    pub(crate) bytes: usize,
}

/// A validated header: every tensor lies inside the file.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) metadata: BTreeMap<String, Value>,
    pub(crate) tensors: BTreeMap<String, TensorInfo>,
}

impl Header {
    /// Reads and validates the header of `file`, the whole file.
    pub(crate) fn read(file: &[u8], max_tensors: usize) -> Result<Self, GgufProblem> {
        let mut cursor = Cursor {
            file,
            at: 0,
            elements: 0,
        };
        let magic = file.get(..8).unwrap_or(file);
        if !(magic.starts_with(b"GGUF") && matches!(magic[4..], [2 | 3, 0, 0, 0])) {
            return Err(GgufProblem::Magic {
                found: magic.to_vec(),
            });
        }
        cursor.at = 8;
        let tensor_count = cursor.count("tensors", max_tensors as u64)?;
        let key_count = cursor.count("metadata keys", MAX_KEYS)?;
        let mut metadata = BTreeMap::new();
        for _ in 0..key_count {
            let key = cursor.text()?;
            let kind = cursor.u32("a metadata value")?;
            let value = cursor.value(kind, 0)?;
            if metadata.insert(key.clone(), value).is_some() {
                return Err(GgufProblem::Duplicate {
                    what: "metadata key",
                    name: key,
                });
            }
        }
        let mut raw = BTreeMap::new();
        for _ in 0..tensor_count {
            let (name, tensor) = cursor.tensor()?;
            if raw.insert(name.clone(), tensor).is_some() {
                return Err(GgufProblem::Duplicate {
                    what: "tensor",
                    name,
                });
            }
        }
        let data = cursor.aligned(&metadata)?;
        let tensors = raw
            .into_iter()
            .map(|(name, tensor)| Ok((name, tensor.place(data, file.len() as u64)?)))
            .collect::<Result<_, GgufProblem>>()?;
        Ok(Self { metadata, tensors })
    }
}

struct RawTensor {
    dtype: GgmlDType,
    shape: Vec<usize>,
    bytes: u64,
    offset: u64,
}

impl RawTensor {
    fn place(self, data: u64, end: u64) -> Result<TensorInfo, GgufProblem> {
        let start = data.saturating_add(self.offset);
        if start.saturating_add(self.bytes) > end {
            return Err(GgufProblem::Truncated {
                what: "a tensor",
                offset: start,
                needed: self.bytes,
                end,
            });
        }
        Ok(TensorInfo {
            dtype: self.dtype,
            shape: self.shape,
            start: start as usize,
            bytes: self.bytes as usize,
        })
    }
}

struct Cursor<'a> {
    file: &'a [u8],
    at: usize,
    elements: u64,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, what: &'static str, bytes: u64) -> Result<&'a [u8], GgufProblem> {
        let end = self.file.len();
        let slice = usize::try_from(bytes)
            .ok()
            .and_then(|n| self.at.checked_add(n))
            .and_then(|stop| self.file.get(self.at..stop));
        let Some(slice) = slice else {
            return Err(GgufProblem::Truncated {
                what,
                offset: self.at as u64,
                needed: bytes,
                end: end as u64,
            });
        };
        self.at += slice.len();
        Ok(slice)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], GgufProblem> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(what, N as u64)?);
        Ok(bytes)
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, GgufProblem> {
        self.array(what).map(u32::from_le_bytes)
    }

    fn u64(&mut self, what: &'static str) -> Result<u64, GgufProblem> {
        self.array(what).map(u64::from_le_bytes)
    }

    fn count(&mut self, what: &'static str, limit: u64) -> Result<u64, GgufProblem> {
        let found = self.u64(what)?;
        if found > limit {
            return Err(GgufProblem::TooMany { what, found, limit });
        }
        Ok(found)
    }

    fn text(&mut self) -> Result<String, GgufProblem> {
        let length = self.u64("a string")?;
        let bytes = self.take("a string", length)?;
        // Some writers keep C's final zero, and some vocabularies hold pieces that are not UTF-8.
        Ok(String::from_utf8_lossy(bytes)
            .trim_end_matches('\0')
            .to_owned())
    }

    fn value(&mut self, kind: u32, depth: usize) -> Result<Value, GgufProblem> {
        let what = "a metadata value";
        Ok(match kind {
            0 => Value::Int(u8::from_le_bytes(self.array(what)?).into()),
            1 => Value::Int(i8::from_le_bytes(self.array(what)?).into()),
            2 => Value::Int(u16::from_le_bytes(self.array(what)?).into()),
            3 => Value::Int(i16::from_le_bytes(self.array(what)?).into()),
            4 => Value::Int(self.u32(what)?.into()),
            5 => Value::Int(i32::from_le_bytes(self.array(what)?).into()),
            6 => Value::Float(f32::from_le_bytes(self.array(what)?).into()),
            7 => Value::Bool(self.array::<1>(what)?[0] != 0),
            8 => Value::Text(self.text()?),
            9 if depth < MAX_DEPTH => {
                let kind = self.u32(what)?;
                let count = self.u64("an array")?;
                self.elements = self.elements.saturating_add(count);
                if self.elements > MAX_ELEMENTS {
                    return Err(GgufProblem::TooMany {
                        what: "array elements",
                        found: self.elements,
                        limit: MAX_ELEMENTS,
                    });
                }
                let items = (0..count).map(|_| self.value(kind, depth + 1));
                Value::List(items.collect::<Result<_, _>>()?)
            }
            10 => Value::Int(self.u64(what)?.into()),
            11 => Value::Int(i64::from_le_bytes(self.array(what)?).into()),
            12 => Value::Float(f64::from_le_bytes(self.array(what)?)),
            found => {
                return Err(GgufProblem::Value {
                    what: "type of a metadata value".into(),
                    found: found.to_string(),
                    expected: "0 to 12, arrays at most two deep",
                });
            }
        })
    }

    fn tensor(&mut self) -> Result<(String, RawTensor), GgufProblem> {
        let name = self.text()?;
        let rank = self.u32("a tensor's rank")?;
        if rank > MAX_DIMENSIONS {
            return Err(GgufProblem::TooMany {
                what: "dimensions of a tensor",
                found: rank.into(),
                limit: MAX_DIMENSIONS.into(),
            });
        }
        let mut shape = Vec::new();
        let mut elements = 1_u64;
        for _ in 0..rank {
            let size = self.u64("a tensor's shape")?;
            elements = elements.saturating_mul(size);
            shape.push(size as usize);
        }
        shape.reverse();
        let dtype = dtype(self.u32("a tensor's type")?, &name)?;
        let offset = self.u64("a tensor's offset")?;
        let (block, size) = (dtype.block_size() as u64, dtype.type_size() as u64);
        if shape
            .last()
            .is_none_or(|&n| !(n as u64).is_multiple_of(block))
        {
            return Err(GgufProblem::Value {
                what: format!("last dimension of tensor `{name}`"),
                found: format!("{:?}", shape.last()),
                expected: "a multiple of the block size",
            });
        }
        let tensor = RawTensor {
            dtype,
            shape,
            bytes: (elements / block).saturating_mul(size),
            offset,
        };
        Ok((name, tensor))
    }

    fn aligned(&self, metadata: &BTreeMap<String, Value>) -> Result<u64, GgufProblem> {
        let alignment = match metadata.get("general.alignment") {
            None => 32,
            Some(Value::Int(n)) if (1..=1 << 20).contains(n) => *n as u64,
            Some(other) => {
                return Err(GgufProblem::Value {
                    what: "metadata `general.alignment`".into(),
                    found: format!("{other:?}"),
                    expected: "1 to 2^20",
                });
            }
        };
        Ok((self.at as u64).next_multiple_of(alignment))
    }
}

fn dtype(code: u32, name: &str) -> Result<GgmlDType, GgufProblem> {
    Ok(match code {
        0 => GgmlDType::F32,
        1 => GgmlDType::F16,
        2 => GgmlDType::Q4_0,
        3 => GgmlDType::Q4_1,
        6 => GgmlDType::Q5_0,
        7 => GgmlDType::Q5_1,
        8 => GgmlDType::Q8_0,
        10 => GgmlDType::Q2K,
        11 => GgmlDType::Q3K,
        12 => GgmlDType::Q4K,
        13 => GgmlDType::Q5K,
        14 => GgmlDType::Q6K,
        15 => GgmlDType::Q8K,
        30 => GgmlDType::BF16,
        found => {
            return Err(GgufProblem::Value {
                what: format!("type of tensor `{name}`"),
                found: found.to_string(),
                expected: "f32, f16, bf16, q4_0, q4_1, q5_0, q5_1, q8_0 or a k-quant",
            });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(s: &str) -> Vec<u8> {
        [&(s.len() as u64).to_le_bytes()[..], s.as_bytes()].concat()
    }

    /// One f32 tensor `w` of `shape` (file order) at `offset`, with four values of data.
    fn file(shape: &[u64], offset: u64, alignment: u32) -> Vec<u8> {
        let mut out = b"GGUF\x03\0\0\0".to_vec();
        out.extend(1_u64.to_le_bytes());
        out.extend(1_u64.to_le_bytes());
        out.extend(text("general.alignment"));
        out.extend(4_u32.to_le_bytes());
        out.extend(alignment.to_le_bytes());
        out.extend(text("w"));
        out.extend((shape.len() as u32).to_le_bytes());
        shape.iter().for_each(|n| out.extend(n.to_le_bytes()));
        out.extend(0_u32.to_le_bytes());
        out.extend(offset.to_le_bytes());
        let data = out.len().next_multiple_of(alignment.max(1) as usize);
        out.resize(data + 16, 0);
        out
    }

    #[test]
    fn a_sound_file_is_read() {
        let header = Header::read(&file(&[2, 2], 0, 8), 10).expect("a sound file");
        let tensor = &header.tensors["w"];
        assert_eq!((&tensor.shape[..], tensor.bytes), (&[2, 2][..], 16));
        assert_eq!(header.metadata["general.alignment"], Value::Int(8));
    }

    #[test]
    fn every_truncation_is_an_error() {
        let whole = file(&[2, 2], 0, 8);
        for end in 0..whole.len() {
            assert!(Header::read(&whole[..end], 10).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn lies_are_errors() {
        let truncated = |r| matches!(r, Err(GgufProblem::Truncated { .. }));
        assert!(truncated(Header::read(
            &file(&[1 << 40, 1 << 40], 0, 8),
            10
        )));
        assert!(truncated(Header::read(&file(&[2, 2], u64::MAX, 8), 10)));
        assert!(truncated(Header::read(&file(&[2, 2], 4, 8), 10)));
        assert!(matches!(
            Header::read(&file(&[2, 2], 0, 0), 10),
            Err(GgufProblem::Value { .. })
        ));
        assert!(matches!(
            Header::read(&file(&[2, 2], 0, 8), 0),
            Err(GgufProblem::TooMany { .. })
        ));
        assert!(matches!(
            Header::read(b"PK\x03\x04 not a model", 10),
            Err(GgufProblem::Magic { .. })
        ));
    }
}
