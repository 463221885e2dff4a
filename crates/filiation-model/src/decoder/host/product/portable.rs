use super::tile::Tile;

/// With [`COLUMNS`], few enough accumulators for 32 registers of 128 bits.
pub(super) const ROWS: usize = 4;
pub(super) const COLUMNS: usize = 16;

pub(super) fn run(tile: &Tile<'_>, out: &mut [&mut [f32]], at: usize) {
    match out.len() {
        1 => block::<1>(tile, out, at),
        2 => block::<2>(tile, out, at),
        3 => block::<3>(tile, out, at),
        _ => block::<ROWS>(tile, out, at),
    }
}

/// In loops whose bounds the compiler knows.
fn block<const R: usize>(tile: &Tile<'_>, out: &mut [&mut [f32]], at: usize) {
    let count = tile.columns;
    let place = at..at + count;
    let mut sums = [[0.0_f32; COLUMNS]; R];
    if tile.resume {
        for (sums, row) in sums.iter_mut().zip(out.iter()) {
            sums[..count].copy_from_slice(&row[place.clone()]);
        }
    }
    for k in 0..tile.depth {
        let stored = &tile.b[k * tile.b_stride..][..count];
        let mut b = [0.0; COLUMNS];
        match stored.first_chunk::<COLUMNS>() {
            Some(whole) => b = *whole,
            None => b[..count].copy_from_slice(stored),
        }
        for (i, sums) in sums.iter_mut().enumerate() {
            let a = tile.a[i * tile.a_stride + k];
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = a.mul_add(b, *sum);
            }
        }
    }
    for (sums, row) in sums.iter().zip(out) {
        row[place.clone()].copy_from_slice(&sums[..count]);
    }
}
