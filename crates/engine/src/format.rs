//! The formats that weight matrices can be held or written in.

use candle_core::quantized::GgmlDType;

use crate::kernels::Precision;

/// A format for weight matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WeightFormat {
    /// Full precision. Four times the memory of Q8_0 and slower; leaves no rounding to differ in.
    F32,
    /// Half precision, held in four bytes as well; inputs are rounded to half precision too.
    F16,
    /// 8 bits in blocks of 32: next to no loss.
    Q8_0,
    /// 4 bits in blocks of 32: half the memory of Q8_0, and in its answers another model.
    Q4_0,
}

impl WeightFormat {
    /// The name as in file names.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Q8_0 => "q8_0",
            Self::Q4_0 => "q4_0",
        }
    }

    /// The format for one tensor: the embedding and the output matrix, where small errors show most,
    /// keep at least 8 bits.
    pub(crate) fn of_tensor(self, name: &str) -> Self {
        match (self, name) {
            (Self::Q4_0, "token_embd.weight" | "output.weight") => Self::Q8_0,
            _ => self,
        }
    }

    /// Whether rows of this many values can be held so.
    pub(crate) fn fits(self, cols: usize) -> bool {
        cols.is_multiple_of(self.dtype().block_size())
    }

    pub(crate) fn dtype(self) -> GgmlDType {
        match self {
            Self::F32 => GgmlDType::F32,
            Self::F16 => GgmlDType::F16,
            Self::Q8_0 => GgmlDType::Q8_0,
            Self::Q4_0 => GgmlDType::Q4_0,
        }
    }

    pub(crate) fn precision(self) -> Precision {
        match self {
            Self::F32 => Precision::F32,
            Self::F16 => Precision::F16,
            Self::Q8_0 => Precision::Q8,
            Self::Q4_0 => Precision::Q4,
        }
    }

    /// `general.file_type` of files mostly in this format.
    pub(crate) fn file_type(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q8_0 => 7,
        }
    }
}
