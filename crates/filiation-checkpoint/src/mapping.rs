use std::fs::File;
use std::io;
use std::ops::Range;

use memmap2::Mmap;

/// Bytes of a part that is let go of once it has been read.
const PART: usize = 1 << 24;

/// What the system may have mapped around a page that was asked for.
#[cfg(unix)]
const AROUND: usize = 1 << 16;

/// A file mapped into memory, read-only.
#[derive(Debug)]
pub struct Mapping(Mmap);

impl Mapping {
    /// Maps the whole of `file`.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(file: &File) -> io::Result<Self> {
        #[expect(
            unsafe_code,
            reason = "a map is sound only while nobody shortens the file; weights do not fit in memory \
                      twice, and a writer that races us ends the process, never the evidence: digests \
                      are taken over the same map"
        )]
        // SAFETY: opened read-only, never written through; see the reason above for other processes.
        unsafe { Mmap::map(file) }.map(Self)
    }

    /// The bytes of the file.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Lets go of the memory that `range` takes. It stays readable: the system reads the file again
    /// where it is asked for once more. Without effect where the system cannot do so.
    pub fn release(&self, range: Range<usize>) {
        if range.start >= range.end || range.end > self.0.len() {
            return;
        }
        #[cfg(unix)]
        #[expect(
            unsafe_code,
            reason = "pages of a read-only map of a file hold nothing but the file: dropped, they are \
                      read from it again"
        )]
        // SAFETY: as the reason says. A refusal leaves the pages where they are.
        let _ = unsafe {
            let start = range.start.saturating_sub(AROUND);
            let end = self.0.len().min(range.end + AROUND);
            let drop = memmap2::UncheckedAdvice::DontNeed;
            self.0.unchecked_advise_range(drop, start, end - start)
        };
    }

    /// The bytes part by part; each is let go of when the next is asked for.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let len = self.0.len();
        (0..=len.div_ceil(PART)).filter_map(move |i| {
            let start = i * PART;
            self.release(start.saturating_sub(PART)..start.min(len));
            (start < len).then(|| &self.0[start..len.min(start + PART)])
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_was_let_go_of_reads_the_same() {
        let mut file = tempfile::tempfile().expect("a file");
        let bytes: Vec<u8> = (0..PART + 70_000).map(|i| (i % 251) as u8).collect();
        file.write_all(&bytes).expect("room on the disk");
        let map = Mapping::new(&file).expect("maps");
        assert!(map.bytes() == bytes);
        map.release(0..bytes.len());
        map.release(5000..5001);
        map.release(bytes.len()..bytes.len() + 9);
        assert!(map.bytes() == bytes);
        let parts: Vec<&[u8]> = map.parts().collect();
        assert_eq!(parts.len(), 2);
        assert!(parts.concat() == bytes);
    }
}
