//! The budget of an answer: how much is read of it before the transfer is ended.
#![forbid(unsafe_code)]

use std::fmt;

/// Counts the bytes of one answer: its status line, headers, body and trailers, and the interim answers and those of proxies
/// that come before it.
#[derive(Debug)]
pub(super) struct Budget {
    bytes: usize,
    bytes_left: usize,
    header_bytes_left: usize,
    header_lines_left: usize,
}

/// The limit that an answer exceeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// So many bytes in all.
    Bytes(usize),
    /// So many bytes of status lines, headers and trailers.
    HeaderBytes(usize),
    /// So many status lines, headers and trailers.
    HeaderLines(usize),
}

impl Budget {
    const HEADER_BYTES: usize = 64 << 10;
    const HEADER_LINES: usize = 100;

    /// Makes a budget of so many bytes in all.
    pub fn new(bytes: usize) -> Self {
        Self { bytes, bytes_left: bytes, header_bytes_left: Self::HEADER_BYTES, header_lines_left: Self::HEADER_LINES }
    }

    /// Counts a status line, a header or a trailer.
    ///
    /// # Errors
    /// If it exceeds a limit.
    pub fn header(&mut self, bytes: usize) -> Result<(), Limit> {
        self.header_lines_left = self.header_lines_left.checked_sub(1).ok_or(Limit::HeaderLines(Self::HEADER_LINES))?;
        self.header_bytes_left =
            self.header_bytes_left.checked_sub(bytes).ok_or(Limit::HeaderBytes(Self::HEADER_BYTES))?;
        self.body(bytes)
    }

    /// Counts a part of the body.
    ///
    /// # Errors
    /// If it exceeds the limit.
    pub fn body(&mut self, bytes: usize) -> Result<(), Limit> {
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or(Limit::Bytes(self.bytes))?;
        Ok(())
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(most) => write!(f, "{most} bytes"),
            Self::HeaderBytes(most) => write!(f, "{most} bytes of headers"),
            Self::HeaderLines(most) => write!(f, "{most} lines of headers"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_body_are_counted_together_and_headers_alone() {
        type Row = (usize, usize, usize, Result<(), Limit>);
        // The limit in all, header lines of a thousand bytes, bytes of the body.
        let rows: [Row; 9] = [
            (1 << 20, 0, 1 << 20, Ok(())),
            (1 << 20, 0, (1 << 20) + 1, Err(Limit::Bytes(1 << 20))),
            (1 << 20, 1, (1 << 20) - 1000, Ok(())),
            (1 << 20, 1, (1 << 20) - 999, Err(Limit::Bytes(1 << 20))),
            (1 << 20, 65, 0, Ok(())),
            (1 << 20, 66, 0, Err(Limit::HeaderBytes(1 << 16))),
            (10_000, 10, 0, Ok(())),
            (10_000, 11, 0, Err(Limit::Bytes(10_000))),
            (usize::MAX, 0, usize::MAX, Ok(())),
        ];
        for (limit, lines, body, expected) in rows {
            let mut budget = Budget::new(limit);
            let headers = (0..lines).try_for_each(|_| budget.header(1000));
            assert_eq!(headers.and_then(|()| budget.body(body)), expected, "{limit} {lines} {body}");
        }
    }

    #[test]
    fn a_hundred_lines_are_the_most() {
        let mut budget = Budget::new(1 << 20);
        assert_eq!((0..100).try_for_each(|_| budget.header(2)), Ok(()));
        assert_eq!(budget.header(2), Err(Limit::HeaderLines(100)));
    }
}
