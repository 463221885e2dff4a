use std::sync::Arc;

use crate::source::{Elements, SharedBytes, WeightData};

/// A matrix (outputs, inputs) inside a stored tensor: element (o, i) lies at
/// `offset + o·out_stride + i·in_stride`.
#[derive(Debug, Clone)]
pub(super) struct MatrixView {
    pub(super) data: WeightData,
    pub(super) offset: usize,
    pub(super) outputs: usize,
    pub(super) inputs: usize,
    pub(super) out_stride: usize,
    pub(super) in_stride: usize,
}

impl MatrixView {
    /// A whole tensor stored as (outputs, inputs).
    pub(super) const fn rows(data: WeightData, outputs: usize, inputs: usize) -> Self {
        Self {
            data,
            offset: 0,
            outputs,
            inputs,
            out_stride: inputs,
            in_stride: 1,
        }
    }

    /// A whole tensor stored as (inputs, outputs): GPT-2.
    pub(super) const fn columns(data: WeightData, outputs: usize, inputs: usize) -> Self {
        Self {
            data,
            offset: 0,
            outputs,
            inputs,
            out_stride: 1,
            in_stride: outputs,
        }
    }

    /// Outputs `start..start + outputs`.
    pub(super) fn part(&self, start: usize, outputs: usize) -> Self {
        Self {
            offset: self.offset + start * self.out_stride,
            outputs,
            ..self.clone()
        }
    }

    /// A copy of the named outputs, in the order named, elements as they are stored.
    pub(super) fn select(&self, outputs: &[usize]) -> Self {
        let at = outputs.iter().flat_map(|o| {
            let start = self.offset + o * self.out_stride;
            (0..self.inputs).map(move |i| start + i * self.in_stride)
        });
        let data = match self.data.elements() {
            Elements::F32(x) => WeightData::Owned(Arc::new(at.map(|i| x[i]).collect())),
            Elements::BF16(x) => {
                WeightData::BF16(Arc::new(Halves(at.map(|i| x[i].to_bits()).collect())))
            }
            Elements::F16(x) => {
                WeightData::F16(Arc::new(Halves(at.map(|i| x[i].to_bits()).collect())))
            }
        };
        Self::rows(data, outputs.len(), self.inputs)
    }
}

struct Halves(Vec<u16>);

impl SharedBytes for Halves {
    fn bytes(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}
