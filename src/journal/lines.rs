//! Lines of a file with their places, one in memory at a time.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// Longest line read. A first record holds its whole plan: 10,000 steps are about 10 MiB.
pub(super) const LINE_MAX: usize = 64 * 1024 * 1024;
const BUFFER: usize = 128 * 1024;

/// Reads lines from a file, or from bytes in tests.
#[derive(Debug)]
pub(super) struct Lines<R> {
    input: R,
    line: Vec<u8>,
    /// Where the next line begins
    offset: u64,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// A line without its newline, and whether it is the last thing in the file
    Line {
        bytes: &'a [u8],
        last: bool,
    },
    /// The file ends without a newline; these bytes come after the last one
    Tail {
        length: u64,
    },
    /// No newline within the longest line allowed
    TooLong,
    End,
}

impl Lines<BufReader<File>> {
    /// Opens a file.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self::new(BufReader::with_capacity(BUFFER, File::open(path)?)))
    }

    /// Goes back to where line `offset` begins, to see what was appended since.
    pub(super) fn seek(&mut self, offset: u64) -> io::Result<()> {
        self.input.seek(SeekFrom::Start(offset))?;
        self.offset = offset;
        Ok(())
    }
}

impl<R: BufRead> Lines<R> {
    /// Returns the lines of a reader that stands at its start.
    pub(super) const fn new(input: R) -> Self {
        Self { input, line: Vec::new(), offset: 0 }
    }

    /// Returns where the next line begins, in bytes from the start of the file.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads the next line. The offset moves past whole lines only.
    pub(super) fn next(&mut self) -> io::Result<Next<'_>> {
        self.line.clear();
        let limit = LINE_MAX as u64 + 1;
        let read = (&mut self.input).take(limit).read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Ok(Next::End);
        }
        if self.line.last() != Some(&b'\n') {
            if read > LINE_MAX {
                return Ok(Next::TooLong);
            }
            return Ok(Next::Tail { length: read as u64 });
        }
        let last = self.input.fill_buf()?.is_empty();
        self.offset += read as u64;
        Ok(Next::Line { bytes: &self.line[..read - 1], last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_know_their_places() {
        let mut lines = Lines::new(&b"one\n\ntwo\nrest"[..]);
        assert_eq!(lines.next().expect("read"), Next::Line { bytes: b"one", last: false });
        assert_eq!(lines.offset(), 4);
        assert_eq!(lines.next().expect("read"), Next::Line { bytes: b"", last: false });
        assert_eq!(lines.next().expect("read"), Next::Line { bytes: b"two", last: false });
        assert_eq!(lines.next().expect("read"), Next::Tail { length: 4 });
        assert_eq!(lines.offset(), 9);

        let mut lines = Lines::new(&b"one\n"[..]);
        assert_eq!(lines.next().expect("read"), Next::Line { bytes: b"one", last: true });
        assert_eq!(lines.next().expect("read"), Next::End);
        assert_eq!(Lines::new(&b""[..]).next().expect("read"), Next::End);
    }

    #[test]
    fn an_endless_line_is_given_up() {
        let mut lines = Lines::new(BufReader::new(io::repeat(b'x')));
        assert_eq!(lines.next().expect("read"), Next::TooLong);
    }
}
