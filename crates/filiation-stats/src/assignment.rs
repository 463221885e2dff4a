//! Linear assignment on dense costs: each row gets its own column at the least total cost.
//!
//! Shortest augmenting paths with dual prices after Jonker and Volgenant (Computing 38, 1987),
//! in the rectangular form of Crouse (IEEE TAES 52, 2016): rows ≤ columns, and columns that stay
//! free keep price 0. The prices come back too, since they prove that the assignment is optimal.

/// A column of no row, and a row of no column.
const FREE: usize = usize::MAX;

/// An optimal assignment with its dual prices.
///
/// For every row `i` and column `j`: `cost[i][j] ≥ row_prices[i] + column_prices[j]`, with
/// equality where `i` is assigned `j`; prices of unassigned columns (rows, when there are more
/// rows) are 0 and no column (row) price is positive. Together this certifies optimality.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// Column of each row; `None` for rows left over when there are more rows than columns.
    pub columns: Vec<Option<usize>>,
    /// Sum of the assigned costs.
    pub total: f64,
    /// Dual price of each row.
    pub row_prices: Vec<f64>,
    /// Dual price of each column.
    pub column_prices: Vec<f64>,
}

/// The assignment of least total cost. `cost` is `rows` × `columns`, row-major, `f32` or `f64`;
/// sums are `f64`. All of the smaller side is assigned. Ties resolve the same way each time.
///
/// Costs O(s² · l) at worst for sides s ≤ l, and far less on matrices with clear matches.
///
/// `None` unless `cost.len() == rows · columns` and every cost is finite.
pub fn assign<T: Copy + Into<f64>>(cost: &[T], rows: usize, columns: usize) -> Option<Assignment> {
    if rows.checked_mul(columns)? != cost.len() {
        return None;
    }
    if !cost.iter().all(|&c| c.into().is_finite()) {
        return None;
    }
    if rows <= columns {
        return Some(Solver::new(cost, rows, columns).solve());
    }
    let transposed: Vec<T> = (0..columns)
        .flat_map(|j| (0..rows).map(move |i| cost[i * columns + j]))
        .collect();
    Some(flip(&Solver::new(&transposed, columns, rows).solve(), rows))
}

/// The assignment of the transposed problem, as one of the problem itself with `rows` rows.
fn flip(of: &Assignment, rows: usize) -> Assignment {
    let mut columns = vec![None; rows];
    for (column, row) in of.columns.iter().enumerate() {
        if let Some(row) = *row {
            columns[row] = Some(column);
        }
    }
    Assignment {
        columns,
        total: of.total,
        row_prices: of.column_prices.clone(),
        column_prices: of.row_prices.clone(),
    }
}

/// State for rows ≤ columns.
struct Solver<'a, T> {
    cost: &'a [T],
    rows: usize,
    columns: usize,
    u: Vec<f64>,
    v: Vec<f64>,
    column_of: Vec<usize>,
    row_of: Vec<usize>,
}

impl<'a, T: Copy + Into<f64>> Solver<'a, T> {
    fn new(cost: &'a [T], rows: usize, columns: usize) -> Self {
        Self {
            cost,
            rows,
            columns,
            u: vec![0.0; rows],
            v: vec![0.0; columns],
            column_of: vec![FREE; rows],
            row_of: vec![FREE; columns],
        }
    }

    fn row(&self, i: usize) -> &'a [T] {
        &self.cost[i * self.columns..(i + 1) * self.columns]
    }

    fn solve(mut self) -> Assignment {
        let mut free: Vec<usize> = (0..self.rows).collect();
        // Two rounds, as Jonker and Volgenant: later ones no longer pay.
        for _ in 0..2 {
            free = self.reduce(&free);
        }
        let mut search = Search::new(self.columns);
        for row in free {
            self.augment(row, &mut search);
        }
        let total = (0..self.rows)
            .map(|i| self.row(i)[self.column_of[i]].into())
            .sum();
        Assignment {
            columns: self.column_of.into_iter().map(Some).collect(),
            total,
            row_prices: self.u,
            column_prices: self.v,
        }
    }

    /// Augmenting row reduction: each free row takes its cheapest column at the price that makes
    /// its second choice as good, and may push out the row that had it. Returns the rows still
    /// free. Only assigned columns get a price, so columns that stay free keep 0.
    fn reduce(&mut self, free: &[usize]) -> Vec<usize> {
        let mut left = Vec::new();
        // Each row may start one chain of evictions of bounded length; what is left is augmented.
        let mut budget = 4 * self.rows + free.len();
        for &start in free {
            let mut current = Some(start);
            while let Some(i) = current.take() {
                let (first, best, second) = self.two_cheapest(i);
                let price = second - best;
                let evicted = self.row_of[first];
                if evicted != FREE && (price <= 0.0 || budget == 0) {
                    left.push(i);
                    continue;
                }
                budget = budget.saturating_sub(1);
                // With a single column there is no second choice and no price to raise.
                if price.is_finite() {
                    self.v[first] -= price;
                }
                self.u[i] = self.row(i)[first].into() - self.v[first];
                self.column_of[i] = first;
                self.row_of[first] = i;
                if evicted != FREE {
                    self.column_of[evicted] = FREE;
                    current = Some(evicted);
                }
            }
        }
        left
    }

    /// The column of least reduced cost in a row, that cost, and the second least.
    fn two_cheapest(&self, i: usize) -> (usize, f64, f64) {
        let (mut first, mut best, mut second) = (0, f64::INFINITY, f64::INFINITY);
        for (j, (&c, &v)) in self.row(i).iter().zip(&self.v).enumerate() {
            let reduced = c.into() - v;
            if reduced < second {
                if reduced < best {
                    second = best;
                    best = reduced;
                    first = j;
                } else {
                    second = reduced;
                }
            }
        }
        (first, best, second)
    }

    /// Assigns free row `start` along a shortest alternating path (Dijkstra on reduced costs).
    fn augment(&mut self, start: usize, search: &mut Search) {
        search.reset(self.columns);
        // The row's own price cancels along the path; a free row's starts at its cheapest column.
        self.u[start] = self.two_cheapest(start).1;
        let (mut row, mut distance) = (start, 0.0);
        let sink = loop {
            search.relax(row, distance - self.u[row], self.row(row), &self.v);
            let column = search.take_nearest();
            distance = search.distance[column];
            if self.row_of[column] == FREE {
                break column;
            }
            row = self.row_of[column];
        };
        for &column in &search.visited {
            let gain = distance - search.distance[column];
            self.v[column] -= gain;
            if let Some(owner) = Some(self.row_of[column]).filter(|&r| r != FREE) {
                self.u[owner] += gain;
            }
        }
        self.u[start] += distance;
        let mut column = sink;
        loop {
            let row = search.from[column];
            self.row_of[column] = row;
            std::mem::swap(&mut self.column_of[row], &mut column);
            if row == start {
                break;
            }
        }
    }
}

/// Scratch of one Dijkstra search over columns.
struct Search {
    distance: Vec<f64>,
    from: Vec<usize>,
    open: Vec<usize>,
    visited: Vec<usize>,
    nearest: usize,
}

impl Search {
    fn new(columns: usize) -> Self {
        Self {
            distance: vec![f64::INFINITY; columns],
            from: vec![FREE; columns],
            open: Vec::with_capacity(columns),
            visited: Vec::with_capacity(columns),
            nearest: 0,
        }
    }

    fn reset(&mut self, columns: usize) {
        self.distance.fill(f64::INFINITY);
        self.open.clear();
        self.open.extend(0..columns);
        self.visited.clear();
    }

    /// Offers every open column the path over `row`, and notes the nearest open column.
    fn relax<T: Copy + Into<f64>>(&mut self, row: usize, offset: f64, cost: &[T], v: &[f64]) {
        let mut least = f64::INFINITY;
        self.nearest = 0;
        for (position, &j) in self.open.iter().enumerate() {
            let through = offset + cost[j].into() - v[j];
            if through < self.distance[j] {
                self.distance[j] = through;
                self.from[j] = row;
            }
            if self.distance[j] < least {
                least = self.distance[j];
                self.nearest = position;
            }
        }
    }

    fn take_nearest(&mut self) -> usize {
        let column = self.open.swap_remove(self.nearest);
        self.visited.push(column);
        column
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn random(rows: usize, columns: usize, seed: u64) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..rows * columns).map(|_| rng.random::<f32>()).collect()
    }

    /// Least total over every injection of rows into columns, rows ≤ columns.
    fn brute_force(cost: &[f32], rows: usize, columns: usize) -> f64 {
        fn go(cost: &[f32], columns: usize, row: usize, rows: usize, used: u32) -> f64 {
            if row == rows {
                return 0.0;
            }
            (0..columns)
                .filter(|j| used & (1 << j) == 0)
                .map(|j| {
                    f64::from(cost[row * columns + j])
                        + go(cost, columns, row + 1, rows, used | 1 << j)
                })
                .fold(f64::INFINITY, f64::min)
        }
        go(cost, columns, 0, rows, 0)
    }

    /// Primal and dual feasibility and equal objectives: optimal, whatever the algorithm.
    fn assert_certified(cost: &[f32], rows: usize, columns: usize, a: &Assignment) {
        let mut used = vec![false; columns];
        let mut taken = 0;
        for column in a.columns.iter().flatten() {
            assert!(!std::mem::replace(&mut used[*column], true), "column twice");
            taken += 1;
        }
        assert_eq!(taken, rows.min(columns));
        for i in 0..rows {
            for j in 0..columns {
                let slack = f64::from(cost[i * columns + j]) - a.row_prices[i] - a.column_prices[j];
                assert!(slack > -1e-6, "slack {slack} at {i},{j}");
            }
        }
        let larger = if rows <= columns {
            &a.column_prices
        } else {
            &a.row_prices
        };
        assert!(larger.iter().all(|&p| p <= 1e-9));
        let dual: f64 = a.row_prices.iter().chain(&a.column_prices).sum();
        assert!(
            (dual - a.total).abs() < 1e-6 * (1.0 + a.total.abs()),
            "{dual} {}",
            a.total
        );
    }

    #[test]
    fn agrees_with_brute_force() {
        for seed in 0..200 {
            let rows = 1 + seed as usize % 6;
            let columns = rows + seed as usize / 6 % 3;
            let mut cost = random(rows, columns, seed);
            if seed % 3 == 0 {
                // Ties: only five values.
                cost.iter_mut().for_each(|c| *c = (*c * 5.0).floor() - 2.0);
            }
            let got = assign(&cost, rows, columns).expect("finite");
            let best = brute_force(&cost, rows, columns);
            assert!(
                (got.total - best).abs() < 1e-6,
                "seed {seed}: {} {best}",
                got.total
            );
            assert_certified(&cost, rows, columns, &got);
        }
    }

    #[test]
    fn more_rows_than_columns_leaves_rows_over() {
        let cost = random(9, 4, 5);
        let got = assign(&cost, 9, 4).expect("finite");
        assert_eq!(got.columns.iter().flatten().count(), 4);
        assert_certified(&cost, 9, 4, &got);
    }

    #[test]
    fn large_problems_carry_their_certificate() {
        for (rows, columns) in [(400, 400), (200, 700), (700, 200)] {
            let cost = random(rows, columns, 11);
            let got = assign(&cost, rows, columns).expect("finite");
            assert_certified(&cost, rows, columns, &got);
        }
    }

    #[test]
    fn finds_a_planted_permutation() {
        let n = 1536;
        let mut cost = random(n, n, 3);
        for i in 0..n {
            cost[i * n + (i * 5 + 7) % n] = -0.5;
        }
        let got = assign(&cost, n, n).expect("finite");
        assert!((0..n).all(|i| got.columns[i] == Some((i * 5 + 7) % n)));
    }

    /// Cost `((7i + 3)(11j + 5) mod 101) / 101` for 40 × 55 and its transpose; totals from
    /// `scripts/assignment_reference.py` (SciPy's `linear_sum_assignment`).
    #[test]
    fn agrees_with_scipy() {
        let (rows, columns) = (40, 55);
        let value = |i: usize, j: usize| ((7 * i + 3) * (11 * j + 5) % 101) as f64 / 101.0;
        let wide: Vec<f64> = (0..rows * columns)
            .map(|k| value(k / columns, k % columns))
            .collect();
        let tall: Vec<f64> = (0..rows * columns)
            .map(|k| value(k % rows, k / rows))
            .collect();
        for (cost, rows, columns) in [(&wide, rows, columns), (&tall, columns, rows)] {
            let got = assign(cost, rows, columns).expect("finite");
            assert!((got.total - SCIPY_TOTAL).abs() < 1e-12, "{}", got.total);
        }
    }

    const SCIPY_TOTAL: f64 = 1.2376237623762376;

    #[test]
    fn refuses_wrong_shapes_and_nan() {
        assert_eq!(assign(&[1.0f32; 5], 2, 3), None);
        assert_eq!(assign(&[1.0, f32::NAN], 1, 2), None);
        assert_eq!(assign(&[1.0, f32::INFINITY], 1, 2), None);
        assert_eq!(assign(&[0.0f32; 0], usize::MAX, 2), None);
        assert_eq!(assign::<f32>(&[], 0, 0).map(|a| a.columns.len()), Some(0));
    }
}
