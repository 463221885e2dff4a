use std::fmt;
use std::str::FromStr;

use candle_core::Device;

use crate::LoadError;

/// Where a model computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The processor.
    #[default]
    Cpu,
    /// The NVIDIA GPU with this index; needs the feature `cuda`.
    Cuda(usize),
    /// The Apple GPU; needs the feature `metal`.
    Metal,
}

impl DeviceChoice {
    /// Starts the device.
    ///
    /// # Errors
    /// [`LoadError::DeviceNotBuilt`] where the feature is off, [`LoadError::DeviceFailed`] where the
    /// driver refuses.
    pub fn start(self) -> Result<Device, LoadError> {
        let (built, feature) = match self {
            Self::Cpu => return Ok(Device::Cpu),
            Self::Cuda(_) => (cfg!(feature = "cuda"), "cuda"),
            Self::Metal => (cfg!(feature = "metal"), "metal"),
        };
        let device = self.to_string();
        if !built {
            return Err(LoadError::DeviceNotBuilt { device, feature });
        }
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda(index) => Device::new_cuda(index),
            Self::Metal => Device::new_metal(0),
        }
        .map_err(|source| LoadError::DeviceFailed { device, source })
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            Self::Metal => f.write_str("metal"),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = LoadError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            "metal" => Ok(Self::Metal),
            _ => text
                .strip_prefix("cuda:")
                .and_then(|index| index.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| LoadError::DeviceName { found: text.into() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for (text, choice) in [
            ("cpu", DeviceChoice::Cpu),
            ("cuda:1", DeviceChoice::Cuda(1)),
            ("metal", DeviceChoice::Metal),
        ] {
            assert_eq!(text.parse::<DeviceChoice>().expect("a device"), choice);
            assert_eq!(choice.to_string(), text);
        }
        assert_eq!(
            "cuda".parse::<DeviceChoice>().expect("a device"),
            DeviceChoice::Cuda(0)
        );
        for text in ["", "gpu", "cuda:", "cuda:-1", "CPU"] {
            assert!(text.parse::<DeviceChoice>().is_err(), "`{text}` was taken");
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_device_left_out_names_the_feature() {
        let error = DeviceChoice::Cuda(0)
            .start()
            .expect_err("cuda is not built");
        assert!(error.to_string().contains("--features cuda"), "{error}");
    }
}
