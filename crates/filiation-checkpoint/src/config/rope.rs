use serde_json::{Map, Value};

use super::ConfigError;
use super::keys::Keys;

/// A rotary embedding of the first `dims` dimensions of a head, paired as (j, j + dims/2).
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Base θ.
    pub theta: f64,
    /// Rotated dimensions, even.
    pub dims: usize,
    /// Change of the frequencies.
    pub scaling: RopeScaling,
}

/// How the frequencies θ^(−2j/dims) are changed for long contexts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// All divided by `factor`.
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// Llama 3: long wavelengths divided, short ones kept, a linear blend between.
    Llama3 {
        /// The divisor of the long wavelengths.
        factor: f64,
        /// Wavelengths above `original / low` are divided.
        low: f64,
        /// Wavelengths below `original / high` are kept.
        high: f64,
        /// Context length before scaling.
        original: f64,
    },
}

impl Rope {
    /// The `dims / 2` angular frequencies, radians per position, computed in f32 where transformers
    /// does, so that the angles agree to the last bits at long contexts.
    pub fn frequencies(&self) -> Vec<f32> {
        (0..self.dims / 2)
            .map(|j| {
                let exponent = (2 * j) as f32 / self.dims as f32;
                self.scale(1.0 / (self.theta as f32).powf(exponent))
            })
            .collect()
    }

    fn scale(&self, frequency: f32) -> f32 {
        match self.scaling {
            RopeScaling::None => frequency,
            RopeScaling::Linear { factor } => frequency / factor as f32,
            RopeScaling::Llama3 {
                factor,
                low,
                high,
                original,
            } => {
                let wavelength = std::f64::consts::TAU / f64::from(frequency);
                if wavelength < original / high {
                    frequency
                } else if wavelength > original / low {
                    frequency / factor as f32
                } else {
                    let blend = (original / wavelength - low) / (high - low);
                    let f = f64::from(frequency);
                    ((1.0 - blend) * f / factor + blend * f) as f32
                }
            }
        }
    }
}

/// The rotary keys of one file, read once: a dictionary a layer type, or one for all.
pub(super) struct RopeKeys<'a> {
    flat: Option<(&'static str, &'a Map<String, Value>)>,
    full: Option<&'a Map<String, Value>>,
    sliding: Option<&'a Map<String, Value>>,
    theta: Option<f64>,
    fraction: Option<f64>,
}

impl<'a> RopeKeys<'a> {
    /// `theta_key` and `fraction_key` are the names that the family used in transformers 4.
    pub(super) fn read(
        keys: &mut Keys<'a>,
        theta_key: &'static str,
        fraction_key: &'static str,
    ) -> Result<Self, ConfigError> {
        let parameters = keys.object("rope_parameters")?;
        let scaling = keys.object("rope_scaling")?;
        if let (Some(new), Some(old)) = (parameters, scaling)
            && new != old
        {
            return Err(keys.wrong(
                "rope_scaling",
                &Value::Object(old.clone()),
                "nothing, or the same as `rope_parameters`".into(),
            ));
        }
        let entry = |name: &str| {
            parameters
                .and_then(|p| p.get(name))
                .and_then(Value::as_object)
        };
        let (full, sliding) = (entry("full_attention"), entry("sliding_attention"));
        let flat = if full.is_some() || sliding.is_some() {
            None
        } else {
            parameters
                .map(|map| ("rope_parameters.", map))
                .or(scaling.map(|map| ("rope_scaling.", map)))
        };
        if full.is_some() || sliding.is_some() {
            only_layer_types(parameters)?;
        }
        let mut theta = keys.number(theta_key)?;
        if theta_key != "rope_theta" {
            let other = keys.number("rope_theta")?;
            theta = agree(keys, "rope_theta", theta, other)?;
        }
        let mut fraction = keys.number(fraction_key)?;
        if fraction_key != "partial_rotary_factor" {
            let other = keys.number("partial_rotary_factor")?;
            fraction = agree(keys, "partial_rotary_factor", fraction, other)?;
        }
        Ok(Self {
            flat,
            full,
            sliding,
            theta,
            fraction,
        })
    }

    /// Whether there is one dictionary a layer type.
    pub(super) const fn per_layer_type(&self) -> bool {
        self.full.is_some() || self.sliding.is_some()
    }

    /// The rotation of layers that see everything. `theta` and `fraction` are the family's
    /// defaults.
    pub(super) fn full(
        &self,
        head_dim: usize,
        theta: f64,
        fraction: f64,
        positions: usize,
    ) -> Result<Rope, ConfigError> {
        let defaults = Defaults {
            head_dim,
            theta: self.theta.unwrap_or(theta),
            stated_theta: self.theta,
            fraction: self.fraction.unwrap_or(fraction),
            positions,
        };
        match (self.full, self.flat) {
            (Some(map), _) => one("rope_parameters.full_attention.", map, &defaults),
            (None, Some((prefix, map))) => one(prefix, map, &defaults),
            (None, None) => defaults.plain(),
        }
    }

    /// The rotation of layers with a window, where a family gives them their own: never scaled by
    /// the keys of transformers 4.
    pub(super) fn sliding(&self, head_dim: usize, theta: f64) -> Result<Rope, ConfigError> {
        let defaults = Defaults {
            head_dim,
            theta,
            stated_theta: None,
            fraction: 1.0,
            positions: 1,
        };
        match self.sliding {
            Some(map) => one("rope_parameters.sliding_attention.", map, &defaults),
            None => defaults.plain(),
        }
    }
}

struct Defaults {
    head_dim: usize,
    theta: f64,
    stated_theta: Option<f64>,
    fraction: f64,
    positions: usize,
}

impl Defaults {
    fn plain(&self) -> Result<Rope, ConfigError> {
        build(self.head_dim, self.theta, self.fraction, RopeScaling::None)
    }
}

fn one(prefix: &str, map: &Map<String, Value>, defaults: &Defaults) -> Result<Rope, ConfigError> {
    let mut keys = Keys::new(prefix, map);
    let found = keys.number("rope_theta")?;
    let theta = agree(&keys, "rope_theta", found, defaults.stated_theta)?;
    let fraction = keys
        .number("partial_rotary_factor")?
        .unwrap_or(defaults.fraction);
    let new = keys.text("rope_type")?;
    let old = keys.text("type")?;
    let scaling = match new.or(old).unwrap_or("default") {
        "default" => RopeScaling::None,
        "linear" => RopeScaling::Linear {
            factor: keys.need_number("factor")?,
        },
        "llama3" => llama3(&mut keys, defaults.positions)?,
        other => {
            return Err(keys.wrong(
                "rope_type",
                &Value::from(other),
                "`default`, `linear` or `llama3`".into(),
            ));
        }
    };
    keys.finish()?;
    build(
        defaults.head_dim,
        theta.unwrap_or(defaults.theta),
        fraction,
        scaling,
    )
}

fn llama3(keys: &mut Keys<'_>, positions: usize) -> Result<RopeScaling, ConfigError> {
    let (low, high) = (
        keys.need_number("low_freq_factor")?,
        keys.need_number("high_freq_factor")?,
    );
    if low >= high {
        return Err(keys.wrong(
            "low_freq_factor",
            &Value::from(low),
            format!("less than `high_freq_factor` = {high}"),
        ));
    }
    Ok(RopeScaling::Llama3 {
        factor: keys.need_number("factor")?,
        low,
        high,
        original: keys
            .number("original_max_position_embeddings")?
            .unwrap_or(positions as f64),
    })
}

fn build(
    head_dim: usize,
    theta: f64,
    fraction: f64,
    scaling: RopeScaling,
) -> Result<Rope, ConfigError> {
    let dims = (head_dim as f64 * fraction) as usize;
    if fraction > 1.0 || dims == 0 || !dims.is_multiple_of(2) {
        return Err(ConfigError::Value {
            key: "partial_rotary_factor".into(),
            found: fraction.to_string(),
            expected: format!("an even number of the {head_dim} dimensions of a head"),
        });
    }
    Ok(Rope {
        theta,
        dims,
        scaling,
    })
}

fn agree(
    keys: &Keys<'_>,
    key: &str,
    one: Option<f64>,
    other: Option<f64>,
) -> Result<Option<f64>, ConfigError> {
    match (one, other) {
        (Some(a), Some(b)) if a != b => Err(keys.wrong(
            key,
            &Value::from(a),
            format!("the value that the file states elsewhere, {b}"),
        )),
        (a, b) => Ok(a.or(b)),
    }
}

fn only_layer_types(parameters: Option<&Map<String, Value>>) -> Result<(), ConfigError> {
    let Some(map) = parameters else {
        return Ok(());
    };
    let mut keys = Keys::new("rope_parameters.", map);
    keys.object("full_attention")?;
    keys.object("sliding_attention")?;
    keys.finish()
}
