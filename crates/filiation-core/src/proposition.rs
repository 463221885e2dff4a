use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What may be true of suspect S and teacher T. "Distilled" is never weighed against nothing.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Proposition {
    /// Hd: S was trained on T's outputs or logits.
    Distilled,
    /// Ha: S is a fine-tune of a base it shares with others; T's outputs were not used.
    SharedBase,
    /// Hb: S was trained independently on similar public data.
    Independent,
    /// Hc: S was distilled from a sibling of T.
    Sibling,
}

impl Proposition {
    /// The three alternatives that Hd is weighed against, in the order of reports.
    pub const ALTERNATIVES: [Self; 3] = [Self::SharedBase, Self::Independent, Self::Sibling];

    /// Two letters: `Hd`, `Ha`, `Hb`, `Hc`.
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Distilled => "Hd",
            Self::SharedBase => "Ha",
            Self::Independent => "Hb",
            Self::Sibling => "Hc",
        }
    }

    /// The proposition as a sentence about `suspect` and `teacher`.
    pub fn sentence(self, suspect: &str, teacher: &str) -> String {
        match self {
            Self::Distilled => {
                format!("`{suspect}` was trained on outputs or logits of `{teacher}`")
            }
            Self::SharedBase => format!(
                "`{suspect}` is a fine-tune of a base it shares with others; outputs of \
                 `{teacher}` were not used"
            ),
            Self::Independent => {
                format!("`{suspect}` was trained independently, on similar public data")
            }
            Self::Sibling => {
                format!("`{suspect}` was distilled from a sibling of `{teacher}`")
            }
        }
    }
}
