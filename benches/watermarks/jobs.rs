//! The figures: a scheme, a peer, and texts.

use std::path::Path;

use anyhow::Result;
use filiation_watermark::{Dedup, KeyFile, Scheme};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

/// One test beside one peer.
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    /// Name in benches/peer_watermarks.py.
    peer: &'static str,
    /// What the peer needs of FOLDER/engines.
    engine: &'static str,
    key: &'static str,
    vocabulary: u32,
    width: usize,
    pub(crate) dedup: Dedup,
    pub(crate) texts: usize,
    pub(crate) length: usize,
    pub(crate) wanted: f64,
    pub(crate) tolerance: f64,
}

const SYNTHID: &str = "scheme = \"synthid@transformers\"\nwidth = 4\nkeys = [654, 400, 836, 123, 340, 443, \
    597, 160, 57, 29, 590, 639, 13, 715, 468, 990, 966, 226, 324, 585, 118, 504, 421, 521, 129, 669, 732, \
    225, 90, 960]\n";
const KEY: u64 = 0x0123_4567_89ab_cdef;

const fn kgw(
    name: &'static str,
    key: &'static str,
    vocabulary: u32,
    width: usize,
    length: usize,
) -> Figure {
    Figure {
        name,
        peer: "transformers",
        engine: "",
        key,
        vocabulary,
        width,
        dedup: Dedup::WindowToken,
        texts: 1,
        length,
        wanted: 50.0,
        tolerance: 0.0,
    }
}

const fn synthid(name: &'static str, peer: &'static str) -> Figure {
    Figure {
        name,
        peer,
        engine: "",
        key: SYNTHID,
        vocabulary: 152_000,
        width: 4,
        dedup: Dedup::Window,
        texts: 64,
        // As many contexts as the peer remembers.
        length: 1024,
        wanted: 20.0,
        tolerance: 0.0,
    }
}

const fn serving(
    name: &'static str,
    peer: &'static str,
    engine: &'static str,
    key: &'static str,
) -> Figure {
    Figure {
        name,
        peer,
        engine,
        key,
        vocabulary: 152_000,
        width: 4,
        dedup: Dedup::Window,
        texts: 16,
        length: 4000,
        wanted: 10.0,
        tolerance: 1e-9,
    }
}

const LEFT: &str =
    "scheme = \"kgw@transformers\"\nkey = 15485863\ngamma = 0.25\ndevice = \"cpu\"\n";
const SELF: &str = "scheme = \"kgw@transformers\"\nkey = 15485863\ngamma = 0.25\ndevice = \"cpu\"\n\
    seeding = \"selfhash\"\n";

/// All there are.
pub(crate) const FIGURES: [Figure; 10] = [
    kgw("kgw_lefthash_32k_vs_transformers", LEFT, 32_000, 1, 8000),
    kgw("kgw_selfhash_32k_vs_transformers", SELF, 32_000, 4, 8000),
    kgw("kgw_lefthash_152k_vs_transformers", LEFT, 152_000, 1, 2000),
    kgw("kgw_selfhash_152k_vs_transformers", SELF, 152_000, 4, 2000),
    synthid("synthid_vs_transformers", "synthid@transformers"),
    synthid("synthid_vs_synthid_text", "synthid@package"),
    serving(
        "sglang_vs_sglang",
        "sglang",
        "sglang",
        "scheme = \"gumbel@sglang\"\nkey = \"0x0123456789abcdef\"\nwidth = 4\n",
    ),
    serving(
        "sglang_dual_vs_sglang",
        "sglang",
        "sglang",
        "scheme = \"gumbel@sglang\"\nkeys = [\"0x0123456789abcdef\", \"0xfedcba9876543210\"]\nalpha = 0.5\n\
         width = 4\n",
    ),
    serving(
        "vllm_vs_vllm",
        "vllm",
        "vllm",
        "scheme = \"gumbel@vllm\"\nkey = \"0x0123456789abcdef\"\nwidth = 4\n",
    ),
    serving(
        "vllm_dual_vs_vllm",
        "vllm",
        "vllm",
        "scheme = \"gumbel@vllm\"\nkey = \"0x0123456789abcdef\"\nwidth = 4\nalpha = 0.1\n",
    ),
];

impl Figure {
    pub(crate) fn scheme(&self) -> Result<Box<dyn Scheme>> {
        let mut file = KeyFile::parse(self.key)?;
        if self.peer == "transformers" {
            file.vocabulary = Some(self.vocabulary);
            file.width = Some(self.width);
        }
        Ok(file.scheme()?)
    }

    /// Whether its peer was set up.
    pub(crate) fn there(&self, folder: &Path) -> bool {
        self.engine.is_empty() || folder.join("engines").join(self.engine).exists()
    }

    /// What both sides work off: `texts` texts of `length` tokens by Zipf's law.
    pub(crate) fn job(&self, texts: usize, length: usize, threads: usize) -> Value {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let ln = f64::from(self.vocabulary).ln();
        let mut token = || (rng.random_range(0.0..1.0) * ln).exp() as u32 - 1;
        let texts: Vec<Vec<u32>> = (0..texts)
            .map(|_| (0..length).map(|_| token()).collect())
            .collect();
        let mut job = json!({
            "detector": self.peer,
            "threads": threads,
            "vocabulary": self.vocabulary,
            "width": self.width,
            "gamma": 0.25,
            "texts": texts,
        });
        match self.peer {
            "transformers" => {
                let seeding = if self.key == SELF {
                    "selfhash"
                } else {
                    "lefthash"
                };
                job["key"] = json!(15_485_863);
                job["seeding"] = json!(seeding);
            }
            "sglang" => {
                job["key"] = json!("0123456789abcdef");
                if self.key.contains("alpha") {
                    job["key_b"] = json!("fedcba9876543210");
                }
            }
            "vllm" => {
                job["key"] = json!(KEY);
                if self.key.contains("alpha") {
                    job["alpha"] = json!(0.1);
                }
            }
            _ => job["keys"] = keys(self.key),
        }
        job
    }
}

// The list of keys of a key file, as numbers.
fn keys(file: &str) -> Value {
    let list = file
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    let numbers = list.map_or("", |(list, _)| list).split(',');
    numbers
        .filter_map(|n| n.trim().parse::<u64>().ok())
        .collect()
}
