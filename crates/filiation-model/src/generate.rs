//! Completions, many rows at a time over one cache.

use filiation_core::{Completion, Finish, Mark, Sampling};

use crate::LoadError;
use crate::decoder::{Cache, Decoder, shared};
use crate::rows::{Outcome, check, failed, fits, pick, short};
use crate::sample::Sampler;
use crate::text::Text;

/// Most rows that one decoding step takes.
const ROWS: usize = 64;

/// A completion that is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) prompt: Vec<u32>,
    pub(crate) max_tokens: usize,
    pub(crate) sampling: Sampling,
}

struct Row {
    /// Place among all that are wanted.
    at: usize,
    sampler: Sampler,
    left: usize,
    /// Tokens that its cache will hold.
    room: usize,
    drawn: Drawn,
}

/// Tokens and why they end, or where the logits were not finite.
#[derive(Debug)]
struct Drawn {
    tokens: Vec<u32>,
    finish: Finish,
    not_finite: Option<usize>,
}

/// Completions of `wanted`, which end at the ids `ends`, with the mark where there is one.
pub(crate) fn completions(
    decoder: &Decoder,
    text: &Text,
    ends: &[u32],
    mark: Option<&dyn Mark>,
    wanted: &[Wanted],
) -> Vec<Outcome<Completion>> {
    let mut results: Vec<Option<Outcome<Completion>>> = wanted
        .iter()
        .map(|w| {
            let whole = w.prompt.len().saturating_add(w.max_tokens);
            let fits = fits(decoder, whole.min(decoder.config().positions));
            check(decoder, &w.prompt).and(fits).err().map(Err)
        })
        .collect();
    let sound = (0..wanted.len()).filter(|&i| results[i].is_none());
    let mut draw = Draw::new(decoder, ends, mark, wanted, sound.collect());
    // From within the pool, so that each of many small shares of work begins at once.
    let failure = rayon::scope(|_| draw.run()).err().map(failed);
    for (i, drawn) in draw.drawn.into_iter().enumerate() {
        if results[i].is_none() {
            results[i] = Some(match (drawn, &failure) {
                (Some(drawn), _) => completion(text, &wanted[i], drawn),
                (None, Some(error)) => Err(error.clone()),
                (None, None) => Err(short()),
            });
        }
    }
    results.into_iter().flatten().collect()
}

fn completion(text: &Text, wanted: &Wanted, drawn: Drawn) -> Outcome<Completion> {
    if let Some(after) = drawn.not_finite {
        return Err(filiation_core::ModelError::NotFinite {
            position: (wanted.prompt.len() + after) as u64,
        });
    }
    let mut decoded = text.decode(&drawn.tokens)?;
    if drawn.finish == Finish::Length {
        // A character that the last token leaves unfinished is not part of the text.
        decoded.truncate(decoded.trim_end_matches('\u{fffd}').len());
    }
    Ok(Completion {
        text: decoded,
        tokens: drawn.tokens,
        finish: drawn.finish,
    })
}

/// Rows on their way. A row that ends makes room for one that waits, and what a row draws depends
/// on its prompt and its seed alone.
struct Draw<'a> {
    decoder: &'a Decoder,
    ends: &'a [u32],
    mark: Option<&'a dyn Mark>,
    wanted: &'a [Wanted],
    /// Sorted by prompt, the next one last.
    waiting: Vec<usize>,
    rows: Vec<Row>,
    cache: Cache,
    drawn: Vec<Option<Drawn>>,
}

impl<'a> Draw<'a> {
    fn new(
        decoder: &'a Decoder,
        ends: &'a [u32],
        mark: Option<&'a dyn Mark>,
        wanted: &'a [Wanted],
        mut waiting: Vec<usize>,
    ) -> Self {
        waiting.sort_by(|&a, &b| wanted[b].prompt.cmp(&wanted[a].prompt).then(b.cmp(&a)));
        Self {
            decoder,
            ends,
            mark,
            wanted,
            waiting,
            rows: Vec::new(),
            cache: decoder.cache(0),
            drawn: wanted.iter().map(|_| None).collect(),
        }
    }

    fn run(&mut self) -> Result<(), LoadError> {
        loop {
            let new = self.admit();
            if self.rows.is_empty() {
                return Ok(());
            }
            self.step(new)?;
        }
    }

    /// Takes in rows that wait, as many as there is room for; from where on the rows are new.
    fn admit(&mut self) -> usize {
        let new = self.rows.len();
        let mut held: usize = self.rows.iter().map(|row| row.room).sum();
        let (mut tokens, mut before): (usize, &[u32]) = (0, &[]);
        let budget = *self.decoder.budget();
        while let Some(&at) = self.waiting.last()
            && self.rows.len() < ROWS
        {
            let wanted = &self.wanted[at];
            // The last token is drawn but never read, so it needs no position of its own.
            let positions = self.decoder.config().positions;
            let left = wanted.max_tokens.min(positions + 1 - wanted.prompt.len());
            let room = wanted.prompt.len() + left;
            tokens += wanted.prompt.len() - shared(before, &wanted.prompt);
            let fits = held + room <= budget.cached && tokens <= budget.tokens;
            if !fits && !self.rows.is_empty() {
                break;
            }
            self.waiting.pop();
            if left == 0 {
                self.drawn[at] = Some(Drawn::default());
                continue;
            }
            (held, before) = (held + room, &wanted.prompt);
            let begun = |mark: &dyn Mark| mark.begin(&wanted.prompt, wanted.sampling.seed);
            self.rows.push(Row {
                at,
                sampler: Sampler::new(wanted.sampling).marked(self.mark.map(begun)),
                left,
                room,
                drawn: Drawn::default(),
            });
        }
        let rooms: Vec<usize> = self.rows[new..].iter().map(|row| row.room).collect();
        self.cache.append(self.decoder.cache_with_room(&rooms));
        new
    }

    /// One token for every row. Those from `new` on begin: rows of one prompt run it once.
    fn step(&mut self, new: usize) -> Result<(), LoadError> {
        let mut inputs: Vec<&[u32]> = Vec::with_capacity(self.rows.len());
        let mut reads = Vec::with_capacity(self.rows.len());
        let mut sources: Vec<usize> = Vec::with_capacity(self.rows.len());
        for (i, row) in self.rows.iter().enumerate() {
            let prompt = &self.wanted[row.at].prompt;
            let input = match row.drawn.tokens.last() {
                Some(token) => std::slice::from_ref(token),
                None => &prompt[..],
            };
            let twin = i > new && self.wanted[self.rows[i - 1].at].prompt == *prompt;
            let source = if twin { sources[i - 1] } else { i };
            sources.push(source);
            inputs.push(if twin { &[] } else { input });
            reads.push(inputs[i].len().saturating_sub(1)..inputs[i].len());
        }
        let states = self
            .decoder
            .states(&inputs, Some(&mut self.cache), &reads, &[])?;
        let mut places = Vec::with_capacity(sources.len());
        let mut run = 0;
        for (i, &source) in sources.iter().enumerate() {
            if source == i {
                run += 1;
            } else {
                self.cache.fork(source, i);
            }
            places.push(run - 1);
        }
        let states = pick(&states.states, &places)?;
        let ends = self.ends;
        let rows = self.rows.iter_mut().collect();
        let going = self
            .decoder
            .read_logits(&states, rows, |row: &mut Row, logits| {
                row.draw(logits, ends)
            })?;
        self.cache.retain(&going);
        let rows = std::mem::take(&mut self.rows);
        for (row, going) in rows.into_iter().zip(going) {
            if going {
                self.rows.push(row);
            } else {
                self.drawn[row.at] = Some(row.drawn);
            }
        }
        Ok(())
    }
}

impl Default for Drawn {
    fn default() -> Self {
        Self {
            tokens: Vec::new(),
            finish: Finish::Length,
            not_finite: None,
        }
    }
}

impl Row {
    /// Draws one token; whether the row goes on.
    fn draw(&mut self, logits: &[f32], ends: &[u32]) -> bool {
        let drawn = &mut self.drawn;
        match self.sampler.next(logits) {
            None => {
                drawn.not_finite = Some(drawn.tokens.len());
                false
            }
            Some(token) if ends.contains(&token) => {
                drawn.finish = Finish::Stop;
                false
            }
            Some(token) => {
                drawn.tokens.push(token);
                self.left -= 1;
                self.left > 0
            }
        }
    }
}
