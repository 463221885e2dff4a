//! Marks, as facts of formats. Whose they are is not written here: it is measured.

/// A short text that belongs to a format.
#[derive(Debug)]
pub(super) struct Mark {
    /// What reports call it.
    pub(super) name: &'static str,
    /// The text as it stands in an answer.
    pub(super) text: &'static str,
}

const fn mark(name: &'static str, text: &'static str) -> Mark {
    Mark { name, text }
}

/// By kind: thoughts, tool calls, turns, citations, what a model says of itself, layout, and the
/// conventions of reference works.
pub(super) const MARKS: [Mark; 56] = [
    mark("think-tag", "<think>\n"),
    mark("think-end", "</think>\n\n"),
    mark("thinking-tag", "<thinking>\n"),
    mark("thought-tag", "<thought>\n"),
    mark("reasoning-tag", "<reasoning>\n"),
    mark("reflection-tag", "<reflection>\n"),
    mark("scratchpad-tag", "<scratchpad>\n"),
    mark("answer-tag", "<answer>\n"),
    mark("boxed", "\\boxed{"),
    mark("final-answer", "**Final Answer**\n"),
    mark("begin-of-thought", "<|begin_of_thought|>\n"),
    mark("channel-analysis", "<|channel|>analysis<|message|>"),
    mark("okay-so", "Okay, so "),
    mark("alright", "Alright, "),
    mark("wait", "Wait, "),
    mark("hmm", "Hmm, "),
    mark("step-by-step", "Let's think step by step"),
    mark("tool-call-tag", "<tool_call>\n{\"name\": \""),
    mark("tool-calls-list", "[TOOL_CALLS] [{\"name\": \""),
    mark("function-calls-tag", "<function_calls>\n<invoke name=\""),
    mark("function-equals", "<function="),
    mark("python-tag", "<|python_tag|>"),
    mark("action-line", "Action: "),
    mark("observation-line", "Observation: "),
    mark("json-arguments", "\"arguments\": {"),
    mark("human-turn", "\n\nHuman: "),
    mark("assistant-turn", "\n\nAssistant: "),
    mark("user-turn", "\nUSER: "),
    mark("im-start", "<|im_start|>user\n"),
    mark("inst", "[INST] "),
    mark("start-of-turn", "<start_of_turn>user\n"),
    mark("header-id", "<|start_header_id|>user<|end_header_id|>\n\n"),
    mark("instruction-head", "### Instruction:\n"),
    mark("response-head", "### Response:\n"),
    mark("bracket-citation", "[1]"),
    mark("lens-citation", "【1†source】"),
    mark("cite-tag", "<cite index=\""),
    mark("co-tag", "<co: 0>"),
    mark("footnote", "[^1]"),
    mark("cutoff-update", "As of my last knowledge update"),
    mark("cutoff-training", "my training data only goes up to"),
    mark("cutoff-knowledge", "My knowledge cutoff is"),
    mark("as-an-ai", "As an AI language model, "),
    mark("sorry", "I'm sorry, but I can't "),
    mark("certainly", "Certainly! "),
    mark("sure", "Sure! Here"),
    mark("great-question", "Great question! "),
    mark("hope-this-helps", "I hope this helps!"),
    mark("artifact-tag", "<artifact "),
    mark("header-two", "\n## "),
    mark("bold-bullet", "\n- **"),
    mark("rule", "\n---\n"),
    mark("double-hyphen", " -- "),
    mark("semicolon-or", "; or "),
    mark("as-example", "; as, "),
    mark("quoted-example", "; \""),
];
