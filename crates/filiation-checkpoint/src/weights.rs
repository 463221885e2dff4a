//! All weights of a folder: mapped files and the tensors in them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use rayon::prelude::*;

use crate::dtype::BLOCK;
use crate::error::shown;
use crate::folder::{Folder, MappedFile};
use crate::packed::{Packed, PackedView, Scales};
use crate::{CheckpointError, Dtype, Limits, header, index};

pub(crate) const SINGLE: &str = "model.safetensors";
pub(crate) const INDEX: &str = "model.safetensors.index.json";

/// A tensor in place: `data` is the mapped file itself, row-major, little-endian, aligned to its
/// elements.
#[derive(Debug, Clone, Copy)]
pub struct TensorView<'a> {
    /// Type of the elements.
    pub dtype: Dtype,
    /// Dimensions, outermost first.
    pub shape: &'a [usize],
    /// The elements' bytes.
    pub data: &'a [u8],
    /// What FP8 elements are multiplied by, where that stands beside them.
    pub scale: Option<Scale<'a>>,
    /// Where the matrix is stored as packed codes: what they stand for. `data` is then empty and
    /// `dtype` that of the words.
    pub packed: Option<PackedView<'a>>,
}

/// Factors of the elements of a matrix, one a block.
#[derive(Debug, Clone, Copy)]
pub struct Scale<'a> {
    factors: &'a Factors,
    /// Row of the matrix that the view begins with.
    first: usize,
}

/// Factors of a matrix, row-major over its blocks.
#[derive(Debug)]
pub(crate) struct Factors {
    pub(crate) values: Vec<f32>,
    /// Rows and columns of a block.
    pub(crate) block: [usize; 2],
}

impl Scale<'_> {
    fn apply(&self, columns: usize, values: &mut [f32]) {
        let [rows, width] = self.factors.block;
        let of_row = columns.div_ceil(width);
        for (row, values) in values.chunks_mut(columns.max(1)).enumerate() {
            let factors = &self.factors.values[(self.first + row) / rows * of_row..][..of_row];
            for (values, factor) in values.chunks_mut(width).zip(factors) {
                values.iter_mut().for_each(|x| *x *= factor);
            }
        }
    }
}

impl TensorView<'_> {
    /// Some of the rows; those past the end are left out. The shape stays that of the whole.
    #[must_use]
    pub fn rows(self, rows: Range<usize>) -> Self {
        if let Some(packed) = self.packed {
            return Self {
                packed: Some(packed.rows(rows)),
                ..self
            };
        }
        let stride = self.shape.iter().skip(1).product::<usize>() * self.dtype.size();
        let end = rows.end.min(self.shape.first().copied().unwrap_or(1));
        let start = rows.start.min(end);
        Self {
            data: &self.data[start * stride..end * stride],
            scale: self.scale.map(|scale| Scale {
                first: scale.first + start,
                ..scale
            }),
            ..self
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.packed
            .map_or(self.data.len() / self.dtype.size(), |packed| packed.len())
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A copy in `f32`, row-major. Exact for floats of 32 bits and less; others, and products with
    /// factors, are rounded to nearest.
    pub fn to_f32(&self) -> Vec<f32> {
        if let Some(packed) = self.packed {
            return packed.to_f32();
        }
        let mut out = vec![0.0; self.len()];
        self.dtype.widen(self.data, &mut out);
        if let Some(scale) = self.scale {
            scale.apply(self.shape.iter().skip(1).product(), &mut out);
        }
        out
    }
}

#[derive(Debug)]
struct Located {
    file: usize,
    dtype: Dtype,
    shape: Vec<usize>,
    range: Range<usize>,
}

#[derive(Debug)]
pub(crate) struct Weights {
    files: Vec<MappedFile>,
    index: Option<MappedFile>,
    tensors: BTreeMap<String, Located>,
    scales: BTreeMap<String, Factors>,
    packed: BTreeMap<String, Packed>,
}

impl Weights {
    /// Opens `model.safetensors`, or else the shards that the index names; `None` where there is
    /// neither.
    pub(crate) fn open(folder: &Folder, limits: &Limits) -> Result<Option<Self>, CheckpointError> {
        if let Some(file) = folder.map(SINGLE)? {
            return Self::admit(vec![file], None, limits).map(Some);
        }
        let Some(index) = folder.map_small(INDEX, limits)? else {
            return Ok(None);
        };
        let map = index::read(&index, limits)?;
        let shards: BTreeSet<_> = map.values().collect();
        let files = shards
            .into_iter()
            .map(|name| {
                folder
                    .map(name)?
                    .ok_or_else(|| CheckpointError::MissingFile {
                        file: folder.path(name),
                        needed_by: format!("`{INDEX}`"),
                    })
            })
            .collect::<Result<_, _>>()?;
        let path = index.path.clone();
        let weights = Self::admit(files, Some(index), limits)?;
        weights.check_index(&path, &map)?;
        Ok(Some(weights))
    }

    fn admit(
        files: Vec<MappedFile>,
        index: Option<MappedFile>,
        limits: &Limits,
    ) -> Result<Self, CheckpointError> {
        let mut total = 0_u64;
        let mut tensors = BTreeMap::new();
        for (at, file) in files.iter().enumerate() {
            total = total.saturating_add(file.bytes().len() as u64);
            let over = |what, found, limit| CheckpointError::OverLimit {
                file: file.path.clone(),
                what,
                found,
                limit,
            };
            if total > limits.total_bytes {
                return Err(over(
                    "the size of the weights in bytes",
                    total,
                    limits.total_bytes,
                ));
            }
            for entry in header::read(&file.path, file.bytes(), limits)? {
                let located = Located {
                    file: at,
                    dtype: entry.dtype,
                    shape: entry.shape,
                    range: entry.range,
                };
                if let Some(first) = tensors.get::<String>(&entry.name) {
                    let first: &Located = first;
                    return Err(CheckpointError::DuplicateTensor {
                        tensor: shown(&entry.name),
                        first: files[first.file].path.clone(),
                        second: file.path.clone(),
                    });
                }
                tensors.insert(entry.name, located);
            }
            if tensors.len() > limits.tensors {
                let found = tensors.len() as u64;
                return Err(over("the number of tensors", found, limits.tensors as u64));
            }
        }
        Ok(Self {
            files,
            index,
            tensors,
            scales: BTreeMap::new(),
            packed: BTreeMap::new(),
        })
    }

    /// Index and shards name the same tensors in the same places.
    fn check_index(&self, file: &Path, map: &index::WeightMap) -> Result<(), CheckpointError> {
        for (tensor, promised) in map {
            let found = self.tensors.get(tensor).map(|t| &self.files[t.file].name);
            if found != Some(promised) {
                return Err(CheckpointError::WrongShard {
                    file: file.to_owned(),
                    tensor: shown(tensor),
                    promised: promised.clone(),
                    found: found.cloned(),
                });
            }
        }
        match self
            .tensors
            .iter()
            .find(|(name, _)| !map.contains_key(*name))
        {
            Some((name, located)) => Err(CheckpointError::UnlistedTensor {
                file: self.files[located.file].path.clone(),
                tensor: shown(name),
            }),
            None => Ok(()),
        }
    }

    /// The weights files, and the index where there is one.
    pub(crate) fn files(&self) -> impl Iterator<Item = &MappedFile> {
        self.files.iter().chain(&self.index)
    }

    /// Sorted.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    pub(crate) fn get(&self, name: &str) -> Option<TensorView<'_>> {
        if let Some(packed) = self.packed.get(name) {
            return self.unpacked(packed);
        }
        let located = self.tensors.get(name)?;
        let scale = self.scales.get(name);
        Some(TensorView {
            scale: scale.map(|factors| Scale { factors, first: 0 }),
            ..self.view(located)
        })
    }

    fn unpacked<'a>(&'a self, packed: &'a Packed) -> Option<TensorView<'a>> {
        let find = |name: &String| Some(self.view(self.tensors.get(name)?));
        let (codes, scales) = (find(&packed.codes)?, find(&packed.scales)?);
        let view = PackedView {
            of: packed,
            codes: codes.data,
            scales: Scales {
                dtype: scales.dtype,
                data: scales.data,
            },
            zeros: packed.zeros.as_ref().and_then(find).map(|z| z.data),
            first: 0,
            count: packed.outputs(),
        };
        Some(TensorView {
            dtype: codes.dtype,
            shape: &packed.shape,
            data: &[],
            scale: None,
            packed: Some(view),
        })
    }

    /// Puts packed matrices in the place of their tensors, which they must fit.
    pub(crate) fn unpack(&mut self, packed: BTreeMap<String, Packed>) {
        self.packed = packed;
    }

    /// Puts factors beside matrices, which they must fit.
    pub(crate) fn scale(&mut self, scales: BTreeMap<String, Factors>) {
        self.scales = scales;
    }

    /// File that holds tensor `name`.
    pub(crate) fn file_of(&self, name: &str) -> Option<&Path> {
        let name = self.packed.get(name).map_or(name, |packed| &packed.codes);
        let located = self.tensors.get(name)?;
        Some(&self.files[located.file].path)
    }

    /// Elements over all tensors, factors left out, packed ones as what they stand for.
    pub(crate) fn elements(&self) -> u64 {
        let parts: BTreeSet<&str> = self.packed.values().flat_map(Packed::parts).collect();
        let plain = self
            .tensors
            .iter()
            .filter(|(n, _)| !parts.contains(n.as_str()));
        let all = plain.map(|(_, t)| self.view(t).len());
        let packed = self.packed.values().map(|p| p.outputs() * p.inputs());
        let factors = self.scales.values().map(|f| f.values.len());
        let all = all.sum::<usize>() + packed.sum::<usize>();
        all.saturating_sub(factors.sum()) as u64
    }

    fn view<'a>(&'a self, located: &'a Located) -> TensorView<'a> {
        TensorView {
            dtype: located.dtype,
            shape: &located.shape,
            data: &self.files[located.file].bytes()[located.range.clone()],
            scale: None,
            packed: None,
        }
    }

    /// Reports the first element, by name and place, that is NaN or infinite.
    pub(crate) fn check_finite(&self) -> Result<(), CheckpointError> {
        let tensors: Vec<_> = self.tensors.iter().collect();
        let hit = tensors.par_iter().find_map_first(|(name, located)| {
            let view = self.view(located);
            let index = self.first_not_finite(located)?;
            Some((name, located, view, index))
        });
        let Some((name, located, view, index)) = hit else {
            return Ok(());
        };
        let size = view.dtype.size();
        let mut value = [0.0];
        view.dtype
            .widen(&view.data[index * size..(index + 1) * size], &mut value);
        Err(CheckpointError::NotFinite {
            file: self.files[located.file].path.clone(),
            tensor: shown(name),
            index: index as u64,
            value: value[0].into(),
        })
    }

    fn first_not_finite(&self, located: &Located) -> Option<usize> {
        let view = self.view(located);
        let size = BLOCK * view.dtype.size();
        view.data
            .par_chunks(size)
            .enumerate()
            .find_map_first(|(i, data)| {
                let found = view.dtype.first_not_finite(data);
                let start = located.range.start + i * size;
                let map = self.files[located.file].map();
                map.release(start..start + data.len());
                Some(i * BLOCK + found?)
            })
    }

    /// Lets go of the memory that tensor `name` takes.
    pub(crate) fn release(&self, name: &str) {
        let parts = self.packed.get(name).into_iter().flat_map(Packed::parts);
        for name in std::iter::once(name).chain(parts) {
            if let Some(located) = self.tensors.get(name) {
                let map = self.files[located.file].map();
                map.release(located.range.clone());
            }
        }
    }
}
