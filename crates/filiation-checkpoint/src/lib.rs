//! Reads hostile model folders: safetensors, shards, configurations, tokenizers, templates.
