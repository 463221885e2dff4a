use std::fs;
use std::path::Path;

use filiation_core::canonical;
use serde_json::json;

use crate::adapter::lora::Rank;
use crate::folder::{LINEAGE, cannot_write, place};
use crate::{LabError, Lineage};

pub(crate) const WEIGHTS: &str = "adapter_model.safetensors";
pub(crate) const CONFIG: &str = "adapter_config.json";

/// Writes an adapter's folder as PEFT reads it.
pub(crate) fn write(
    out: &Path,
    base: &str,
    rank: &Rank,
    weights: &[u8],
    lineage: &Lineage,
) -> Result<(), LabError> {
    let mut targets = rank.targets.clone();
    targets.sort_unstable();
    targets.dedup();
    let config = json!({
        "base_model_name_or_path": base,
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "lora_alpha": rank.alpha,
        "lora_dropout": 0.0,
        "modules_to_save": null,
        "peft_type": "LORA",
        "r": rank.rank,
        "target_modules": targets,
        "task_type": "CAUSAL_LM",
        "use_dora": false,
        "use_rslora": false,
    });
    place(&out.join(&lineage.name), |scratch| {
        for (name, bytes) in [
            (CONFIG, &canonical::to_pretty(&config)[..]),
            (WEIGHTS, weights),
            (LINEAGE, &canonical::to_pretty(lineage)),
        ] {
            let path = scratch.join(name);
            fs::write(&path, bytes).map_err(cannot_write(&path))?;
        }
        Ok(())
    })
}
