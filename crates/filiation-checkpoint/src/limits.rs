/// What a model folder may ask of the machine that reads it.
///
/// A suspect is an adversary's file. Each limit stops one way of turning a small file into a large
/// cost, and is checked before the cost is paid. The defaults admit every open-weight release known
/// to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of a safetensors header. Default 32 MiB. Stops a header that claims, or is, most
    /// of a huge file, all of which would be parsed as JSON.
    pub header_bytes: u64,
    /// Most tensors, over all shards. Default 200,000. Stops headers and indices of endless
    /// one-byte tensors.
    pub tensors: usize,
    /// Most dimensions of a tensor. Default 8. Stops a shape of a million ones.
    pub rank: usize,
    /// Most bytes of weights mapped, over all shards. Default 4 TiB. Stops sparse files of
    /// exabytes, which cost their maker nothing.
    pub total_bytes: u64,
    /// Largest vocabulary. Default 2,097,152. Stops a `vocab_size` that makes the head's output
    /// larger than memory.
    pub vocabulary: usize,
    /// Most layers. Default 1,024. Stops a configuration that asks for a billion of them: the list
    /// of expected tensors grows with it.
    pub layers: usize,
    /// Most bytes of a JSON or template file. Default 96 MiB. Stops configurations and tokenizers
    /// that do not fit in memory once parsed.
    pub json_bytes: u64,
    /// Steps a chat template may take, each also paying for 64 bytes of text made. Default
    /// 2,000,000, so at most about 128 MB. Stops templates that loop, and those that double a
    /// string at each turn.
    pub template_fuel: u64,
    /// Most bytes a chat template may write. Default 8 MiB. Stops a template that floods the
    /// tokenizer.
    pub template_output: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 32 << 20,
            tensors: 200_000,
            rank: 8,
            total_bytes: 4 << 40,
            vocabulary: 2 << 20,
            layers: 1024,
            json_bytes: 96 << 20,
            template_fuel: 2_000_000,
            template_output: 8 << 20,
        }
    }
}
