//! Names that a server gives.

const MOST_PART: usize = 255;
const MOST_PATH: usize = 1024;

/// Whether a name is a plain path below a folder: only such a one is ever joined to one.
#[cfg_attr(
    not(feature = "hub"),
    expect(dead_code, reason = "nothing is listed without the feature")
)]
pub(crate) fn is_plain(name: &str) -> bool {
    let forbidden = |c: char| c.is_control() || "\\:*?\"<>|".contains(c);
    let part = |p: &str| {
        let dots = p == "." || p == "..";
        // Other systems drop dots and spaces at the end of a name.
        !p.is_empty() && !dots && p.len() <= MOST_PART && !p.ends_with(['.', ' '])
    };
    name.len() <= MOST_PATH && !name.chars().any(forbidden) && name.split('/').all(part)
}

/// Whether an audit reads a small file of this name: at the top, and no code and no pickle.
pub(crate) fn is_small(name: &str) -> bool {
    const SMALL: [&str; 9] = [
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "chat_template.jinja",
        "chat_template.json",
        "model.safetensors.index.json",
    ];
    SMALL.contains(&name)
}

/// Whether a file holds weights as transformers names them, shards included.
pub(crate) fn is_safetensors(name: &str) -> bool {
    name == "model.safetensors"
        || name.starts_with("model-") && name.ends_with(".safetensors") && !name.contains('/')
}

/// Whether a file holds a whole model in GGUF.
pub(crate) fn is_gguf(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with(".gguf") && !name.contains('/')
}

/// Whether a file holds weights.
pub(crate) fn is_weights(name: &str) -> bool {
    is_safetensors(name) || is_gguf(name)
}

/// Whether an audit reads a file of this name.
pub(crate) fn is_read(name: &str) -> bool {
    is_small(name) || is_weights(name)
}

#[cfg(all(test, feature = "hub"))]
mod tests {
    use super::*;

    #[test]
    fn plain_names_and_others() {
        for name in [
            "config.json",
            "model-00001-of-00002.safetensors",
            "onnx/model.onnx",
            ".gitattributes",
        ] {
            assert!(is_plain(name), "{name}");
        }
        for name in [
            "", "/a", "../a", "a/../b", "a//b", "a/", "./a", "a\\b", "C:a", "a\0b", "a\nb", "a/b.",
            "a ", "..",
        ] {
            assert!(!is_plain(name), "{name:?}");
        }
        assert!(!is_plain(&"a".repeat(256)) && !is_plain(&"a/".repeat(600)));
    }

    #[test]
    fn what_is_read_is_no_code_and_no_pickle() {
        assert!(is_small("config.json") && is_safetensors("model-00001-of-00003.safetensors"));
        for name in [
            "modeling_x.py",
            "pytorch_model.bin",
            "sub/model.safetensors",
            "consolidated.safetensors",
        ] {
            assert!(!is_small(name) && !is_safetensors(name), "{name}");
        }
        assert!(is_gguf("tiny-Q4_1.gguf") && !is_gguf("sub/a.gguf"));
    }
}
