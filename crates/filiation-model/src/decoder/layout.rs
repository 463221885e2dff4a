//! How the tokens of a pass lie: what several rows begin with lies there once.

use std::ops::Range;

/// Tokens below which what rows share is not kept apart.
const LEAST_SHARED: usize = 4;

/// Consecutive packed tokens that follow those of another span, or begin a sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    /// Packed tokens.
    pub(super) tokens: Range<usize>,
    /// Position of the first token in its sequence.
    pub(super) position: usize,
    /// The span that comes before.
    pub(super) parent: Option<usize>,
    /// The one row that it belongs to, where it is not shared.
    pub(super) row: Option<usize>,
}

/// Spans that one worker takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) spans: Range<usize>,
    pub(super) tokens: Range<usize>,
}

/// The packed tokens of all rows, as a forest of spans. Every row ends in a span of its own.
#[derive(Debug, Default)]
pub(super) struct Layout {
    pub(super) ids: Vec<u32>,
    pub(super) positions: Vec<usize>,
    pub(super) spans: Vec<Span>,
    pub(super) chunks: Vec<Chunk>,
    /// The last span of each row; none for an empty row.
    pub(super) ends: Vec<Option<usize>>,
}

/// Tokens `from..to` of a row, which rows after it may begin with too.
#[derive(Clone, Copy)]
struct Node {
    source: usize,
    from: usize,
    to: usize,
    parent: Option<usize>,
    row: Option<usize>,
}

/// Tokens that two rows both begin with, their last ones left out.
pub(crate) fn shared(a: &[u32], b: &[u32]) -> usize {
    let most = a.len().min(b.len()).saturating_sub(1);
    let equal = a.iter().zip(b).take(most).take_while(|(a, b)| a == b);
    match equal.count() {
        few if few < LEAST_SHARED => 0,
        count => count,
    }
}

impl Layout {
    /// Packs `rows`, of which row i follows `past[i]` cached tokens, in chunks that `sizes` gives
    /// for a number of tokens.
    pub(super) fn new(rows: &[&[u32]], past: &[usize], size: impl Fn(usize) -> usize) -> Self {
        let (nodes, ends) = forest(rows, past);
        let total = nodes.iter().map(|node| node.to - node.from).sum();
        let mut layout = Self {
            ids: Vec::with_capacity(total),
            positions: Vec::with_capacity(total),
            ..Self::default()
        };
        let size = size(total).max(1);
        let mut last: Vec<Option<usize>> = vec![None; nodes.len()];
        let (mut path, mut spans) = (Vec::new(), 0..0);
        for end in &ends {
            let mut at = *end;
            while let Some(node) = at
                && last[node].is_none()
            {
                path.push(node);
                at = nodes[node].parent;
            }
            while let Some(at) = path.pop() {
                let node = &nodes[at];
                let mut parent = node.parent.and_then(|parent| last[parent]);
                let mut from = node.from;
                while from < node.to {
                    let start = layout.ids.len();
                    let room = size - start % size;
                    let to = node.to.min(from + room);
                    layout.ids.extend_from_slice(&rows[node.source][from..to]);
                    let position = past[node.source] + from;
                    layout.positions.extend(position..position + to - from);
                    layout.spans.push(Span {
                        tokens: start..layout.ids.len(),
                        position,
                        parent,
                        row: node.row,
                    });
                    parent = Some(layout.spans.len() - 1);
                    spans.end = layout.spans.len();
                    if to - from == room || layout.ids.len() == total {
                        layout.chunks.push(Chunk {
                            tokens: layout.spans[spans.start].tokens.start..layout.ids.len(),
                            spans: spans.clone(),
                        });
                        spans = spans.end..spans.end;
                    }
                    from = to;
                }
                last[at] = parent;
            }
        }
        layout.ends = ends.iter().map(|end| last[(*end)?]).collect();
        layout
    }

    /// The spans of the sequence that ends with `span`, the first first.
    pub(super) fn path(&self, span: usize) -> Vec<usize> {
        let mut path: Vec<usize> =
            std::iter::successors(Some(span), |at| self.spans[*at].parent).collect();
        path.reverse();
        path
    }

    /// The chunk that holds `span`.
    pub(super) fn chunk_of(&self, span: usize) -> usize {
        self.chunks.partition_point(|chunk| chunk.spans.end <= span)
    }
}

/// The rows as a forest, and where each ends. Rows with a past share nothing.
fn forest(rows: &[&[u32]], past: &[usize]) -> (Vec<Node>, Vec<Option<usize>>) {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by(|a, b| rows[*a].cmp(rows[*b]));
    let mut nodes: Vec<Node> = Vec::with_capacity(2 * rows.len());
    let mut ends = vec![None; rows.len()];
    // The nodes of the row before, the first first.
    let mut path: Vec<usize> = Vec::new();
    let mut before: &[u32] = &[];
    for row in order.into_iter().filter(|row| !rows[*row].is_empty()) {
        let mut parent = None;
        let mut from = 0;
        if past[row] == 0 {
            let common = shared(before, rows[row]);
            while let Some(last) = path.pop() {
                let (start, end) = (nodes[last].from, nodes[last].to);
                if start + LEAST_SHARED > common {
                    continue;
                }
                (parent, from) = (Some(last), end.min(common));
                if common < end {
                    // What is shared becomes a node before this one.
                    parent = Some(nodes.len());
                    nodes.push(Node {
                        to: common,
                        row: None,
                        ..nodes[last]
                    });
                    (nodes[last].from, nodes[last].parent) = (common, parent);
                }
                path.extend(parent);
                break;
            }
            before = rows[row];
        }
        ends[row] = Some(nodes.len());
        if past[row] == 0 {
            path.push(nodes.len());
        }
        nodes.push(Node {
            source: row,
            from,
            to: rows[row].len(),
            parent,
            row: Some(row),
        });
    }
    (nodes, ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tokens of each row, read back span by span.
    fn unpacked(layout: &Layout) -> Vec<Vec<u32>> {
        let row = |end: &Option<usize>| {
            let path = end.map_or_else(Vec::new, |end| layout.path(end));
            let spans = path.iter().map(|at| &layout.spans[*at]);
            spans
                .flat_map(|span| &layout.ids[span.tokens.clone()])
                .copied()
                .collect()
        };
        layout.ends.iter().map(row).collect()
    }

    #[test]
    fn a_common_beginning_lies_there_once() {
        let rows: [&[u32]; 5] = [
            &[1, 2, 3, 4, 5, 6, 7],
            &[9],
            &[1, 2, 3, 4, 5, 8],
            &[],
            &[1, 2, 3, 4, 5, 6, 7],
        ];
        let layout = Layout::new(&rows, &[0; 5], |tokens| tokens);
        assert_eq!(unpacked(&layout), rows);
        // Five shared by three rows, one more by the twins; a last one each; the lone row.
        assert_eq!(layout.ids.len(), 5 + 1 + 3 + 1);
        assert_eq!(layout.chunks.len(), 1);
    }

    #[test]
    fn a_chunk_ends_inside_a_row() {
        let long: Vec<u32> = (0..10).collect();
        let rows: [&[u32]; 2] = [&long, &[1, 2]];
        let layout = Layout::new(&rows, &[0; 2], |_| 4);
        assert_eq!(unpacked(&layout), rows);
        let tokens: Vec<_> = layout.chunks.iter().map(|c| c.tokens.clone()).collect();
        assert_eq!(tokens, [0..4, 4..8, 8..12]);
        let positions: Vec<_> = layout.spans.iter().map(|s| s.position).collect();
        assert_eq!(positions, [0, 4, 8, 0]);
        assert_eq!(layout.chunk_of(3), 2);
    }

    #[test]
    fn rows_that_go_on_share_nothing() {
        let rows: [&[u32]; 2] = [&[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5]];
        let layout = Layout::new(&rows, &[7, 2], |tokens| tokens);
        assert_eq!(layout.ids.len(), 10);
        assert_eq!((layout.positions[0], layout.positions[5]), (7, 2));
    }

    #[test]
    fn few_tokens_are_not_worth_a_span() {
        let rows: [&[u32]; 2] = [&[1, 2, 3, 4], &[1, 2, 3, 5]];
        assert_eq!(shared(rows[0], rows[1]), 0);
        assert_eq!(shared(&[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5]), 4);
        assert_eq!(Layout::new(&rows, &[0; 2], |t| t).ids.len(), 8);
    }
}
