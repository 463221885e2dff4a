use std::ops::Range;
use std::sync::Mutex;

use rayon::prelude::*;

use crate::adapter::backward::Slopes;
use crate::adapter::base::Base;
use crate::adapter::forward::Trace;
use crate::adapter::head::{Goal, Headed, score};
use crate::adapter::lora::Adapter;
use crate::text::shuffle;
use crate::trainer::Learner;
use rand_chacha::ChaCha8Rng;

/// Rows that go through the decoder together. A batch is cut by this alone, so that any number of
/// threads gives the same bytes.
const PIECE: usize = 4;

/// A sequence to learn from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// Tokens, the prompt's first.
    pub(crate) ids: Vec<u32>,
    /// Index of the first that counts in the loss, at least 1 and below their number.
    pub(crate) from: usize,
    /// Whether the teacher's distribution takes the next token's place.
    pub(crate) guided: bool,
}

impl Row {
    /// Tokens that are read.
    fn read(&self) -> &[u32] {
        &self.ids[..self.ids.len() - 1]
    }

    const fn counted(&self) -> usize {
        self.ids.len() - self.from
    }
}

/// An adapter that learns from rows, in a new order each time round.
pub(crate) struct Pupil<'a> {
    pub(crate) base: &'a Base,
    pub(crate) teacher: Option<&'a Base>,
    pub(crate) adapter: Adapter,
    rows: Vec<Row>,
    order: Vec<usize>,
    next: usize,
    rng: ChaCha8Rng,
    /// Rows of an update.
    batch: usize,
    gradients: Vec<Vec<f32>>,
    rooms: Mutex<Vec<Room>>,
    longest: usize,
}

/// Buffers of one thread.
struct Room {
    trace: Trace,
    slopes: Slopes,
    taught: Option<Trace>,
    states: Vec<f32>,
    to_states: Vec<f32>,
    theirs: Vec<f32>,
}

impl<'a> Pupil<'a> {
    /// A pupil that takes `batch` of `rows` an update. There is at least one row; none is longer
    /// than the bases were opened for.
    pub(crate) fn new(
        base: &'a Base,
        teacher: Option<&'a Base>,
        adapter: Adapter,
        rows: Vec<Row>,
        batch: usize,
        rng: ChaCha8Rng,
    ) -> Self {
        let longest = rows.iter().map(|row| row.read().len()).max().unwrap_or(0);
        let gradients = vec![vec![f32::NAN; adapter.values.len()]; batch.div_ceil(PIECE)];
        Self {
            base,
            teacher,
            adapter,
            next: rows.len(),
            order: (0..rows.len()).collect(),
            rows,
            rng,
            batch,
            gradients,
            rooms: Mutex::new(Vec::new()),
            longest,
        }
    }

    /// Loss and gradients of some rows.
    pub(super) fn run(&mut self, rows: &[usize]) -> f64 {
        let rows: Vec<&Row> = rows.iter().map(|row| &self.rows[*row]).collect();
        let counted: usize = rows.iter().map(|row| row.counted()).sum();
        let weight = 1.0 / counted as f32;
        let (base, teacher, adapter) = (self.base, self.teacher, &self.adapter);
        let (rooms, tokens) = (&self.rooms, PIECE.min(self.batch) * self.longest);
        let longest = self.longest;
        let new = || Room {
            trace: Trace::new(base, Some(adapter), tokens, longest),
            slopes: Slopes::new(base, tokens),
            taught: teacher.map(|teacher| Trace::new(teacher, None, tokens, longest)),
            states: Vec::new(),
            to_states: Vec::new(),
            theirs: Vec::new(),
        };
        let pieces = rows.par_chunks(PIECE).zip(&mut self.gradients);
        let losses: Vec<f64> = pieces
            .map(|(rows, gradient)| {
                let kept = rooms.lock().unwrap_or_else(|e| e.into_inner()).pop();
                let mut room = kept.unwrap_or_else(new);
                let loss = room.run(base, teacher, adapter, rows, weight, gradient);
                rooms.lock().unwrap_or_else(|e| e.into_inner()).push(room);
                loss
            })
            .collect();
        losses.iter().sum()
    }
}

impl Learner for Pupil<'_> {
    fn learn(&mut self) -> f64 {
        let mut batch = Vec::with_capacity(self.batch);
        while batch.len() < self.batch {
            if self.next == self.rows.len() {
                shuffle(&mut self.order, &mut self.rng);
                self.next = 0;
            }
            batch.push(self.order[self.next]);
            self.next += 1;
        }
        self.run(&batch)
    }

    fn parts(&mut self) -> (&mut [f32], &mut [Vec<f32>]) {
        (&mut self.adapter.values, &mut self.gradients)
    }
}

impl Room {
    /// The share of some rows in the loss; `gradient` ← theirs.
    fn run(
        &mut self,
        base: &Base,
        teacher: Option<&Base>,
        adapter: &Adapter,
        rows: &[&Row],
        weight: f32,
        gradient: &mut [f32],
    ) -> f64 {
        let mut ids = Vec::new();
        let mut spans: Vec<Range<usize>> = Vec::new();
        for row in rows {
            spans.push(ids.len()..ids.len() + row.read().len());
            ids.extend_from_slice(row.read());
        }
        base.forward(Some(adapter), &ids, &spans, &mut self.trace);
        let d = base.config().width;
        let to_hidden = &mut self.slopes.normed[..ids.len() * d];
        to_hidden.fill(0.0);
        let mut loss = 0.0;
        for guided in [false, true] {
            let chosen: Vec<(usize, u32)> = (rows.iter().zip(&spans))
                .filter(|(row, _)| row.guided == guided)
                .flat_map(|(row, span)| {
                    (row.from..row.ids.len()).map(|at| (span.start + at - 1, row.ids[at]))
                })
                .collect();
            if chosen.is_empty() {
                continue;
            }
            let tokens: Vec<u32> = chosen.iter().map(|(_, token)| *token).collect();
            pick(&self.trace.hidden, d, &chosen, &mut self.states);
            self.to_states.resize(self.states.len(), 0.0);
            let own = Headed {
                hidden: &self.states,
                head: base.head(),
                width: d,
            };
            let goal = match (teacher, &mut self.taught) {
                (Some(teacher), Some(trace)) if guided => {
                    teacher.forward(None, &ids, &spans, trace);
                    let width = teacher.config().width;
                    pick(&trace.hidden, width, &chosen, &mut self.theirs);
                    Goal::Distribution(Headed {
                        hidden: &self.theirs,
                        head: teacher.head(),
                        width,
                    })
                }
                _ => Goal::Tokens(&tokens),
            };
            loss += score(own, &goal, weight, &mut self.to_states);
            for ((at, _), from) in chosen.iter().zip(self.to_states.chunks_exact(d)) {
                to_hidden[at * d..][..d].copy_from_slice(from);
            }
        }
        base.backward(adapter, &spans, &mut self.trace, &mut self.slopes, gradient);
        loss
    }
}

/// `states` ← the rows of `hidden` that are chosen.
fn pick(hidden: &[f32], width: usize, chosen: &[(usize, u32)], states: &mut Vec<f32>) {
    states.clear();
    for (at, _) in chosen {
        states.extend_from_slice(&hidden[at * width..][..width]);
    }
}
