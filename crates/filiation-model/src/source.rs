use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use filiation_checkpoint::{Checkpoint, Dtype, TensorView};
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use half::{bf16, f16};

use crate::LoadError;

/// Where a decoder finds its weights.
pub trait WeightSource {
    /// Shape and elements of a tensor, row-major.
    ///
    /// # Errors
    /// [`LoadError::MissingTensor`] where there is none of this name.
    fn tensor(&self, name: &str) -> Result<(Vec<usize>, WeightData), LoadError>;

    /// Whether there is a tensor of this name.
    fn contains(&self, name: &str) -> bool;

    /// Rows `rows` of a matrix, which must have them.
    ///
    /// # Errors
    /// As [`Self::tensor`].
    fn rows(&self, name: &str, rows: Range<usize>) -> Result<WeightData, LoadError> {
        let (shape, data) = self.tensor(name)?;
        Ok(data.slice(rows, shape.first().copied().unwrap_or(1)))
    }

    /// The memory that a tensor takes.
    ///
    /// # Errors
    /// As [`Self::tensor`].
    fn footprint(&self, name: &str) -> Result<Footprint, LoadError> {
        let (_, data) = self.tensor(name)?;
        let bytes = data.elements().bytes(0..data.elements().len()).len() as u64;
        Ok(Footprint {
            ready: bytes,
            transient: bytes,
        })
    }
}

/// Bytes of memory that a tensor takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// When it is ready to compute with.
    pub ready: u64,
    /// Beside that, while it is made ready.
    pub transient: u64,
}

/// Bytes that outlive the source they came from, such as those of a mapped file. The same bytes on
/// every call.
pub trait SharedBytes: Send + Sync {
    /// The bytes: little-endian elements, row-major.
    fn bytes(&self) -> &[u8];

    /// Says that the bytes will not be read soon: memory that can be filled again may go.
    fn release(&self) {}
}

/// The elements of a tensor, as they are stored. Cheap to clone.
#[derive(Clone)]
pub enum WeightData {
    /// Owned f32.
    Owned(Arc<Vec<f32>>),
    /// f32 in place, aligned to 4 bytes.
    F32(Arc<dyn SharedBytes>),
    /// bfloat16 in place, aligned to 2 bytes.
    BF16(Arc<dyn SharedBytes>),
    /// float16 in place, aligned to 2 bytes.
    F16(Arc<dyn SharedBytes>),
}

/// The elements, borrowed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Elements<'a> {
    F32(&'a [f32]),
    BF16(&'a [bf16]),
    F16(&'a [f16]),
}

impl<'a> Elements<'a> {
    /// The bytes of the elements in `range`.
    pub(crate) fn bytes(&self, range: Range<usize>) -> &'a [u8] {
        match self {
            Self::F32(x) => bytemuck::cast_slice(&x[range]),
            Self::BF16(x) => bytemuck::cast_slice(x[range].reinterpret_cast()),
            Self::F16(x) => bytemuck::cast_slice(x[range].reinterpret_cast()),
        }
    }

    pub(crate) const fn len(&self) -> usize {
        match self {
            Self::F32(x) => x.len(),
            Self::BF16(x) => x.len(),
            Self::F16(x) => x.len(),
        }
    }

    /// The elements from `start` on, widened until `out` is full.
    pub(crate) fn widen(&self, start: usize, out: &mut [f32]) {
        let range = start..start + out.len();
        match self {
            Self::F32(x) => out.copy_from_slice(&x[range]),
            Self::BF16(x) => {
                for (out, x) in out.iter_mut().zip(&x[range]) {
                    *out = f32::from_bits(u32::from(x.to_bits()) << 16);
                }
            }
            Self::F16(x) => x[range].convert_to_f32_slice(out),
        }
    }

    /// As [`Self::widen`], every `stride`-th element.
    pub(crate) fn widen_strided(&self, start: usize, stride: usize, out: &mut [f32]) {
        if stride == 1 {
            return self.widen(start, out);
        }
        for (j, out) in out.iter_mut().enumerate() {
            let at = start + j * stride;
            *out = match self {
                Self::F32(x) => x[at],
                Self::BF16(x) => x[at].to_f32(),
                Self::F16(x) => x[at].to_f32(),
            };
        }
    }
}

impl WeightData {
    pub(crate) fn elements(&self) -> Elements<'_> {
        match self {
            Self::Owned(values) => Elements::F32(values),
            Self::F32(shared) => Elements::F32(bytemuck::cast_slice(shared.bytes())),
            Self::BF16(shared) => Elements::BF16(bits(shared).reinterpret_cast()),
            Self::F16(shared) => Elements::F16(bits(shared).reinterpret_cast()),
        }
    }

    /// Some rows of `all` that are equally long.
    pub(crate) fn slice(&self, rows: Range<usize>, all: usize) -> Self {
        let part = |shared: &Arc<dyn SharedBytes>| -> Arc<dyn SharedBytes> {
            let row = shared.bytes().len() / all.max(1);
            Arc::new(Part {
                whole: Arc::clone(shared),
                range: rows.start * row..rows.end * row,
            })
        };
        match self {
            Self::Owned(values) => {
                let row = values.len() / all.max(1);
                Self::Owned(Arc::new(values[rows.start * row..rows.end * row].to_vec()))
            }
            Self::F32(shared) => Self::F32(part(shared)),
            Self::BF16(shared) => Self::BF16(part(shared)),
            Self::F16(shared) => Self::F16(part(shared)),
        }
    }

    /// Says that the elements will not be read soon.
    pub(crate) fn release(&self) {
        match self {
            Self::Owned(_) => {}
            Self::F32(shared) | Self::BF16(shared) | Self::F16(shared) => shared.release(),
        }
    }

    /// A copy in f32; exact.
    pub fn to_f32(&self) -> Vec<f32> {
        let elements = self.elements();
        let mut out = vec![0.0; elements.len()];
        elements.widen(0, &mut out);
        out
    }
}

fn bits(shared: &Arc<dyn SharedBytes>) -> &[u16] {
    bytemuck::cast_slice(shared.bytes())
}

impl fmt::Debug for WeightData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Owned(_) => "owned f32",
            Self::F32(_) => "f32",
            Self::BF16(_) => "bf16",
            Self::F16(_) => "f16",
        };
        write!(f, "WeightData({kind}, {} elements)", self.elements().len())
    }
}

/// Some of the bytes.
struct Part {
    whole: Arc<dyn SharedBytes>,
    range: Range<usize>,
}

impl SharedBytes for Part {
    fn bytes(&self) -> &[u8] {
        &self.whole.bytes()[self.range.clone()]
    }

    fn release(&self) {
        self.whole.release();
    }
}

/// One tensor of an open checkpoint, found again by name: the mapping lives as long as this does.
struct InCheckpoint {
    checkpoint: Arc<Checkpoint>,
    name: String,
}

impl SharedBytes for InCheckpoint {
    fn bytes(&self) -> &[u8] {
        // An open checkpoint is immutable and the name was found in it once.
        Checkpoint::tensor(&self.checkpoint, &self.name).map_or(&[], |view| view.data)
    }

    fn release(&self) {
        self.checkpoint.release(&self.name);
    }
}

impl WeightSource for Arc<Checkpoint> {
    fn tensor(&self, name: &str) -> Result<(Vec<usize>, WeightData), LoadError> {
        if !self.contains(name) {
            return Err(LoadError::MissingTensor { name: name.into() });
        }
        let view = Checkpoint::tensor(self, name)?;
        let shared = || -> Arc<dyn SharedBytes> {
            Arc::new(InCheckpoint {
                checkpoint: Self::clone(self),
                name: name.into(),
            })
        };
        let data = match view.dtype {
            Dtype::F32 if in_place(&view) => WeightData::F32(shared()),
            Dtype::BF16 if in_place(&view) => WeightData::BF16(shared()),
            Dtype::F16 if in_place(&view) => WeightData::F16(shared()),
            _ => WeightData::Owned(Arc::new(view.to_f32())),
        };
        Ok((view.shape.to_vec(), data))
    }

    fn contains(&self, name: &str) -> bool {
        Checkpoint::tensor(self, name).is_ok()
    }

    fn rows(&self, name: &str, rows: Range<usize>) -> Result<WeightData, LoadError> {
        let view = Checkpoint::tensor(self, name)?;
        if in_place(&view) {
            let (shape, data) = self.tensor(name)?;
            return Ok(data.slice(rows, shape.first().copied().unwrap_or(1)));
        }
        Ok(WeightData::Owned(Arc::new(view.rows(rows).to_f32())))
    }

    fn footprint(&self, name: &str) -> Result<Footprint, LoadError> {
        if !self.contains(name) {
            return Err(LoadError::MissingTensor { name: name.into() });
        }
        let view = Checkpoint::tensor(self, name)?;
        let stored = view.data.len() as u64;
        if in_place(&view) {
            return Ok(Footprint {
                ready: stored,
                transient: stored,
            });
        }
        let ready = 4 * view.len() as u64;
        Ok(Footprint {
            ready,
            transient: stored + ready,
        })
    }
}

/// Whether the elements can be read where they lie.
fn in_place(view: &TensorView<'_>) -> bool {
    let aligned = (view.data.as_ptr() as usize).is_multiple_of(view.dtype.size());
    aligned && matches!(view.dtype, Dtype::F32 | Dtype::BF16 | Dtype::F16)
}
