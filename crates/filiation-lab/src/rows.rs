use rand_chacha::ChaCha8Rng;

use crate::text::shuffle;

/// Documents laid end to end for ever, in a new order each time round, and cut into windows.
///
/// A window begins with the beginning of a document; the document at its end is cut, and the next
/// window begins with the next one.
#[derive(Debug)]
pub(crate) struct Windows {
    documents: Vec<Vec<u32>>,
    next: usize,
    length: usize,
    window: Vec<u32>,
    rng: ChaCha8Rng,
}

impl Windows {
    /// Windows of `length` tokens. `documents` is not empty, and none of them is.
    pub(crate) const fn new(documents: Vec<Vec<u32>>, length: usize, rng: ChaCha8Rng) -> Self {
        Self {
            next: documents.len(),
            documents,
            length,
            window: Vec::new(),
            rng,
        }
    }

    /// The next window.
    pub(crate) fn draw(&mut self) -> &[u32] {
        self.window.clear();
        while self.window.len() < self.length {
            if self.next == self.documents.len() {
                shuffle(&mut self.documents, &mut self.rng);
                self.next = 0;
            }
            let document = &self.documents[self.next];
            let room = self.length - self.window.len();
            self.window.extend(document.iter().take(room));
            self.next += 1;
        }
        &self.window
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{Stream, stream};

    #[test]
    fn windows_are_full_and_use_every_document_before_any_twice() {
        let documents: Vec<Vec<u32>> = (0..10).map(|i| vec![0, i + 10, 1]).collect();
        let mut windows = Windows::new(documents, 6, stream(1, Stream::Order));
        let mut seen: Vec<u32> = (0..5).flat_map(|_| windows.draw().to_vec()).collect();
        assert_eq!(seen.len(), 30);
        seen.retain(|id| *id >= 10);
        seen.sort_unstable();
        assert_eq!(seen, (10..20).collect::<Vec<u32>>());
    }

    #[test]
    fn a_long_document_is_cut() {
        let mut windows = Windows::new(vec![vec![7; 9]], 4, stream(1, Stream::Order));
        assert_eq!(windows.draw(), vec![7; 4]);
    }
}
