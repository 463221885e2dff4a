use std::sync::RwLock;

use filiation_checkpoint::config::Rope;

/// Cosines and sines of a rotary embedding, by position, made as far as positions are asked for.
#[derive(Debug)]
pub(super) struct Rotary {
    frequencies: Vec<f32>,
    table: RwLock<Vec<f32>>,
}

impl Rotary {
    pub(super) fn new(rope: &Rope) -> Self {
        Self {
            frequencies: rope.frequencies(),
            table: RwLock::new(Vec::new()),
        }
    }

    /// Half of the rotated dimensions.
    pub(super) const fn half(&self) -> usize {
        self.frequencies.len()
    }

    /// Calls `with` on the table: row p holds the cosines, then the sines, of position p.
    pub(super) fn with_table<T>(&self, positions: usize, with: impl FnOnce(&[f32]) -> T) -> T {
        let width = 2 * self.half();
        {
            let table = self.table.read().unwrap_or_else(|e| e.into_inner());
            if table.len() >= positions * width {
                return with(&table);
            }
        }
        let mut table = self.table.write().unwrap_or_else(|e| e.into_inner());
        // Doubling, so that generation token by token does not extend it at every step.
        let wanted = positions.next_power_of_two();
        for position in table.len() / width..wanted {
            let angle = |f: &f32| position as f32 * f;
            table.extend(self.frequencies.iter().map(|f| angle(f).cos()));
            table.extend(self.frequencies.iter().map(|f| angle(f).sin()));
        }
        with(&table)
    }
}

#[cfg(test)]
mod tests {
    use filiation_checkpoint::config::RopeScaling;

    use super::*;

    #[test]
    fn the_table_grows_and_keeps_its_rows() {
        let rotary = Rotary::new(&Rope {
            theta: 100.0,
            dims: 4,
            scaling: RopeScaling::None,
        });
        let early = rotary.with_table(3, |t| t[..12].to_vec());
        let late = rotary.with_table(9, |t| t.to_vec());
        assert_eq!(early, late[..12]);
        let expected = [8.0_f32.cos(), 0.8_f32.cos(), 8.0_f32.sin(), 0.8_f32.sin()];
        for (found, expected) in late[32..36].iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }
}
