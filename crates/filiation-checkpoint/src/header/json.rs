//! The JSON of a safetensors header, read without trusting it: keys that stand twice, endless names,
//! counts and ranks are refused while they are read, before they are stored.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::Limits;
use crate::error::shown;

/// Longest name of a tensor, in bytes.
const NAME_BYTES: usize = 1024;

/// A tensor as the header words it.
#[derive(Debug)]
pub(super) struct RawEntry {
    pub(super) name: String,
    pub(super) dtype: String,
    pub(super) shape: Vec<u64>,
    pub(super) begin: u64,
    pub(super) end: u64,
}

/// The tensors of header `json`, in its order.
pub(super) fn parse(json: &[u8], limits: &Limits) -> Result<Vec<RawEntry>, serde_json::Error> {
    let mut source = serde_json::Deserializer::from_slice(json);
    let entries = HeaderSeed(limits).deserialize(&mut source)?;
    source.end()?;
    Ok(entries)
}

struct HeaderSeed<'a>(&'a Limits);

impl<'de> DeserializeSeed<'de> for HeaderSeed<'_> {
    type Value = Vec<RawEntry>;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Self::Value, D::Error> {
        source.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for HeaderSeed<'_> {
    type Value = Vec<RawEntry>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut seen = BTreeSet::new();
        let mut entries = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if name.len() > NAME_BYTES {
                return Err(A::Error::custom(format_args!(
                    "a name of {} bytes, expected at most {NAME_BYTES}",
                    name.len()
                )));
            }
            if !seen.insert(name.clone()) {
                return Err(A::Error::custom(format_args!(
                    "`{}` stands twice",
                    shown(&name)
                )));
            }
            if name == "__metadata__" {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            if entries.len() == self.0.tensors {
                return Err(A::Error::custom(format_args!(
                    "more than {} tensors",
                    self.0.tensors
                )));
            }
            let entry = map.next_value_seed(EntrySeed(name, self.0))?;
            entries.push(entry);
        }
        Ok(entries)
    }
}

struct EntrySeed<'a>(String, &'a Limits);

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    Dtype,
    Shape,
    DataOffsets,
}

impl<'de> DeserializeSeed<'de> for EntrySeed<'_> {
    type Value = RawEntry;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Self::Value, D::Error> {
        source.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EntrySeed<'_> {
    type Value = RawEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "dtype, shape and data_offsets of tensor `{}`",
            shown(&self.0)
        )
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut dtype, mut shape, mut offsets) = (None, None, None);
        while let Some(field) = map.next_key()? {
            let again = match field {
                Field::Dtype => dtype.replace(map.next_value::<String>()?).is_some(),
                Field::Shape => shape
                    .replace(map.next_value_seed(ShapeSeed(&self.0, self.1.rank))?)
                    .is_some(),
                Field::DataOffsets => offsets.replace(map.next_value::<(u64, u64)>()?).is_some(),
            };
            if again {
                return Err(A::Error::custom(format_args!(
                    "a field of tensor `{}` stands twice",
                    shown(&self.0)
                )));
            }
        }
        match (dtype, shape, offsets) {
            (Some(dtype), Some(shape), Some((begin, end))) => Ok(RawEntry {
                name: self.0,
                dtype,
                shape,
                begin,
                end,
            }),
            _ => Err(A::Error::custom(format_args!(
                "tensor `{}` lacks dtype, shape or data_offsets",
                shown(&self.0)
            ))),
        }
    }
}

struct ShapeSeed<'a>(&'a str, usize);

impl<'de> DeserializeSeed<'de> for ShapeSeed<'_> {
    type Value = Vec<u64>;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Self::Value, D::Error> {
        source.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ShapeSeed<'_> {
    type Value = Vec<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the shape of tensor `{}`", shown(self.0))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut shape = Vec::new();
        while let Some(n) = seq.next_element()? {
            if shape.len() == self.1 {
                return Err(A::Error::custom(format_args!(
                    "tensor `{}` has more than {} dimensions",
                    shown(self.0),
                    self.1
                )));
            }
            shape.push(n);
        }
        Ok(shape)
    }
}
