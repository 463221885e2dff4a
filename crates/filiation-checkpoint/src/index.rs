//! The shard index: which tensor lies in which file.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::error::shown;
use crate::folder::MappedFile;
use crate::{CheckpointError, Limits};

/// Tensor name to shard name; shard names are plain file names.
pub(crate) type WeightMap = BTreeMap<String, String>;

/// Reads `model.safetensors.index.json`.
pub(crate) fn read(file: &MappedFile, limits: &Limits) -> Result<WeightMap, CheckpointError> {
    let mut source = serde_json::Deserializer::from_slice(file.bytes());
    let map = IndexSeed(limits)
        .deserialize(&mut source)
        .and_then(|map| source.end().map(|()| map))
        .map_err(|cause| CheckpointError::Json {
            file: file.path.clone(),
            offset: 0,
            cause,
        })?;
    match map.values().find(|shard| !is_plain(shard)) {
        Some(shard) => Err(CheckpointError::ShardName {
            file: file.path.clone(),
            shard: shown(shard),
        }),
        None => Ok(map),
    }
}

/// Whether `name` can only be a file right in the folder, on any system.
fn is_plain(name: &str) -> bool {
    name.len() <= 255
        && name.ends_with(".safetensors")
        && !name.starts_with('.')
        && !name.contains(|c: char| matches!(c, '/' | '\\' | ':') || c.is_control())
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    WeightMap,
    #[serde(other)]
    Other,
}

struct IndexSeed<'a>(&'a Limits);

impl<'de> DeserializeSeed<'de> for IndexSeed<'_> {
    type Value = WeightMap;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Self::Value, D::Error> {
        source.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for IndexSeed<'_> {
    type Value = WeightMap;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `weight_map`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(field) = map.next_key()? {
            match field {
                Field::WeightMap if found.is_some() => {
                    return Err(A::Error::duplicate_field("weight_map"));
                }
                Field::WeightMap => found = Some(map.next_value_seed(MapSeed(self.0))?),
                Field::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        found.ok_or_else(|| A::Error::missing_field("weight_map"))
    }
}

struct MapSeed<'a>(&'a Limits);

impl<'de> DeserializeSeed<'de> for MapSeed<'_> {
    type Value = WeightMap;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Self::Value, D::Error> {
        source.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MapSeed<'_> {
    type Value = WeightMap;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensor names to shard names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = WeightMap::new();
        while let Some((tensor, shard)) = map.next_entry::<String, String>()? {
            if found.len() == self.0.tensors {
                return Err(A::Error::custom(format_args!(
                    "more than {} tensors",
                    self.0.tensors
                )));
            }
            if found.contains_key(&tensor) {
                return Err(A::Error::custom(format_args!(
                    "tensor `{}` stands twice",
                    shown(&tensor)
                )));
            }
            found.insert(tensor, shard);
        }
        Ok(found)
    }
}
