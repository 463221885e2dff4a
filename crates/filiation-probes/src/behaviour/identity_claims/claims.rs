//! Whom a text claims to be, or to be made by.
//!
//! Two readings, joined. Known names (of models and vendors, in several scripts) count wherever they
//! stand, unless a denial precedes them in the clause ("I am not ChatGPT"). And whatever stands after
//! "I am", "my name is", "made by" and their like counts too where it looks like a name (a capital,
//! where the script has them; the last word of its clause): a model of a
//! vendor that the table lacks, or an invented name, is a claim as good. A name that stands in the
//! prompt is an echo and no claim. A claim is a word; the teacher's own answers say whose word it is.

use std::collections::BTreeSet;

/// Spelling in small letters, and the word it is counted as. A model and its vendor are two words:
/// who says which, and how often, is part of the distribution.
const KNOWN: [(&str, &str); 58] = [
    ("chatgpt", "chatgpt"),
    ("chat gpt", "chatgpt"),
    ("gpt-", "gpt"),
    ("gpt4", "gpt"),
    ("gpt3", "gpt"),
    ("openai", "openai"),
    ("open ai", "openai"),
    ("claude", "claude"),
    ("клод", "claude"),
    ("克劳德", "claude"),
    ("anthropic", "anthropic"),
    ("gemini", "gemini"),
    ("gemma", "gemma"),
    ("bard", "bard"),
    ("palm", "palm"),
    ("deepmind", "deepmind"),
    ("google", "google"),
    ("谷歌", "google"),
    ("グーグル", "google"),
    ("гугл", "google"),
    ("llama", "llama"),
    ("meta ai", "meta"),
    ("mistral", "mistral"),
    ("mixtral", "mistral"),
    ("le chat", "le chat"),
    ("deepseek", "deepseek"),
    ("深度求索", "deepseek"),
    ("qwen", "qwen"),
    ("通义", "qwen"),
    ("tongyi", "qwen"),
    ("alibaba", "alibaba"),
    ("阿里", "alibaba"),
    ("kimi", "kimi"),
    ("moonshot", "moonshot"),
    ("月之暗面", "moonshot"),
    ("chatglm", "glm"),
    ("智谱", "zhipu"),
    ("zhipu", "zhipu"),
    ("ernie", "ernie"),
    ("文心", "ernie"),
    ("baidu", "baidu"),
    ("百度", "baidu"),
    ("doubao", "doubao"),
    ("豆包", "doubao"),
    ("bytedance", "bytedance"),
    ("字节跳动", "bytedance"),
    ("minimax", "minimax"),
    ("grok", "grok"),
    ("xai", "xai"),
    ("copilot", "copilot"),
    ("microsoft", "microsoft"),
    ("微软", "microsoft"),
    ("cohere", "cohere"),
    ("smollm", "smollm"),
    ("hugging face", "hugging face"),
    ("huggingface", "hugging face"),
    ("granite", "granite"),
    ("yandexgpt", "yandexgpt"),
];

/// After these the next words are whom it claims to be, if they look like a name.
const LEADS: &str = "i am|i'm|my name is|call me|known as|made by|created by|developed by|trained by|\
    built by|ich bin|ich heiße|mein name ist|entwickelt von|je suis|je m'appelle|\
    mon nom est|créé par|développé par|soy|me llamo|mi nombre es|creado por|\
    desarrollado por|entrenado por|sono|mi chiamo|sviluppato da|creato da|eu sou|sou o|\
    sou a|meu nome é|criado por|desenvolvido por|desenvolvida por|меня зовут|создан|\
    разработан|разработанный|我是|我叫|私は|저는";

/// Words that look like names after a lead and are none.
const NO_NAMES: &str = "a|an|the|ai|ein|eine|un|une|una|uno|um|uma|assistant|artificial|language|model|\
    large|ki|ia|ии|here|sorry|sure|not|just|yes|no|hello|glad|happy|as|and|i|in|team|\
    human|your|dr|mr|one";

const DENIALS: &str = "not|n't|never|nicht|kein|keine|pas|ni|no soy|no fui|non|não|nao|не|нет|不是|并非|\
    ではありません|아니|ليس";

/// Bytes before a name in which a denial denies it.
const REACH: usize = 32;

/// The claims of a text, each once, in order.
pub(super) fn of(text: &str, prompt: &str) -> Vec<String> {
    let capitals = not_small(text);
    let (text, prompt) = (plain(text), plain(prompt));
    let mut found = known(&text);
    found.extend(led(&text).into_iter().filter(|w| capitals.contains(w)));
    let in_prompt = known(&prompt);
    found.retain(|claim| !in_prompt.contains(claim) && !prompt.contains(claim.as_str()));
    found.into_iter().collect()
}

/// Whether the text claims a known name that the prompt holds.
pub(super) fn echoes(text: &str, prompt: &str) -> bool {
    let put = known(&plain(prompt));
    known(&plain(text)).intersection(&put).next().is_some()
}

// The words that do not begin with a small letter: "I am ready" names nobody. Runs of ASCII count
// apart, because 我是Qwen is one run of letters.
fn not_small(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_alphanumeric() || c == '-'));
    let runs = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    words
        .chain(runs)
        .map(|word| word.trim_matches('-'))
        .filter(|word| word.starts_with(|c: char| !c.is_lowercase()))
        .map(str::to_lowercase)
        .collect()
}

fn plain(text: &str) -> String {
    let marks = ['*', '_', '`', '#', '"', '“', '”', '«', '»', '「', '」'];
    text.to_lowercase().replace('’', "'").replace(marks, "")
}

fn known(text: &str) -> BTreeSet<String> {
    let stands = |spelling: &str| {
        text.match_indices(spelling).any(|(at, _)| {
            let before = text[..at].chars().next_back();
            let after = text[at + spelling.len()..].chars().next();
            // Words of scripts with spaces must stand alone, but for digits: `qwen2`.
            let letters = spelling.is_ascii();
            let joined = letters
                && (before.is_some_and(|c| c.is_ascii_alphanumeric())
                    || after.is_some_and(|c| c.is_ascii_alphabetic() && !spelling.ends_with('-')));
            !joined && !denied(text, at)
        })
    };
    let hits = KNOWN.iter().filter(|(spelling, _)| stands(spelling));
    hits.map(|(_, word)| (*word).to_owned()).collect()
}

// A denial earlier in the same clause.
fn denied(text: &str, at: usize) -> bool {
    let mut from = at.saturating_sub(REACH);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let clause = text[from..at].rsplit(['.', ',', ';', '!', '?', '\n', '。', '，', '、']);
    let clause = clause.into_iter().next().unwrap_or_default();
    let words = clause.split_whitespace().collect::<Vec<_>>().join(" ");
    let padded = format!(" {words} ");
    DENIALS.split('|').any(|denial| {
        // Whole words, but for an ending and scripts that join words.
        let joined = denial == "n't" || denial.chars().any(|c| c as u32 >= 0x0590);
        let whole = padded.contains(&format!(" {denial} "));
        whole || (joined && clause.contains(denial))
    })
}

fn led(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for lead in LEADS.split('|') {
        for (at, _) in text.match_indices(lead) {
            let before = text[..at].chars().next_back();
            let spaced = lead.chars().all(|c| (c as u32) < 0x2e80);
            if spaced && before.is_some_and(char::is_alphanumeric) {
                continue;
            }
            found.extend(name_after(&text[at + lead.len()..], spaced));
        }
    }
    found
}

// The next word, where it can be a name: one word of 2 to 20 letters that is no word of grammar. In
// scripts without spaces, letters of another script, as in 我是Qwen.
fn name_after(rest: &str, spaced: bool) -> Option<String> {
    let rest = rest.trim_start_matches([' ', ':', ',']);
    let inner = |c: char| c.is_alphanumeric() || c == '-';
    let end = rest.find(|c| !inner(c)).unwrap_or(rest.len());
    let word = rest[..end].trim_matches('-');
    let word = if spaced {
        word
    } else {
        let end = word.find(|c: char| !c.is_ascii()).unwrap_or(word.len());
        &word[..end]
    };
    let letters = word.chars().filter(|c| c.is_alphabetic()).count();
    let ends_clause = rest[end..]
        .trim_start()
        .chars()
        .next()
        .is_none_or(|c| !c.is_alphabetic());
    let a_name = (2..=20).contains(&letters) && !NO_NAMES.split('|').any(|w| w == word);
    // A lone word that ends its clause ("I am Nova."), not an adjective before a noun.
    (a_name && (ends_clause || !spaced)).then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_read_in_several_languages() {
        for (text, want) in [
            ("I am ChatGPT, a model trained by OpenAI.", "chatgpt|openai"),
            ("I'm Claude, made by Anthropic.", "anthropic|claude"),
            ("I am a large language model.", ""),
            ("I am not ChatGPT. I am Nova.", "nova"),
            ("I'm Qwen2, created by Alibaba Cloud.", "alibaba|qwen|qwen2"),
            ("Je suis un assistant.", ""),
            ("Je suis Mistral.", "mistral"),
            ("Ich bin kein Mensch, ich heiße Aleph.", "aleph"),
            ("Меня зовут Алиса.", "алиса"),
            ("我是通义千问，由阿里云开发。", "alibaba|qwen"),
            ("我不是ChatGPT。我是DeepSeek。", "deepseek"),
            ("The bards of old sang.", ""),
            ("I am ready. I'm Ekosami.", "ekosami"),
        ] {
            assert_eq!(of(text, "Who are you?").join("|"), want, "{text}");
        }
    }

    #[test]
    fn an_echo_is_no_claim() {
        let prompt = "My cousin works at Google. Who made you?";
        assert!(of("I was made by Google.", prompt).is_empty());
        assert_eq!(of("OpenAI made me.", prompt), ["openai"]);
        assert!(echoes("I was made by Google.", prompt));
        assert!(!echoes("I was not made by Google.", prompt));
    }
}
