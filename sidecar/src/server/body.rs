//! How far a request's body goes, so that what comes behind it is looked at before hyper has it
//! (RFC 9112 §6 and §7.1).
//!
//! hyper reads the body and judges it. Where it reads less than this says, the rest is never
//! taken for a request; where it reads more, it waits for what never comes.

#[derive(Debug)]
pub(super) enum Body {
    Rest(u64),
    Chunks(Chunks),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunks {
    Size(u64),
    /// Behind the size, up to the line's end.
    Extension(u64),
    Data(u64),
    /// The line end behind the data.
    DataEnd,
    /// So many bytes of a trailer's line.
    Trailer(usize),
    Over,
}

impl Body {
    pub(super) fn of_length(length: u64) -> Self {
        Self::Rest(length)
    }

    pub(super) fn chunked() -> Self {
        Self::Chunks(Chunks::Size(0))
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Rest(0) | Self::Chunks(Chunks::Over))
    }

    /// How many of these bytes are the body's.
    pub(super) fn take(&mut self, bytes: &[u8]) -> usize {
        match self {
            Self::Rest(rest) => {
                let count = bytes
                    .len()
                    .min(usize::try_from(*rest).unwrap_or(usize::MAX));
                *rest -= count as u64;
                count
            }
            Self::Chunks(chunks) => {
                let mut count = 0;
                while count < bytes.len() && *chunks != Chunks::Over {
                    count += chunks.take(&bytes[count..]);
                }
                count
            }
        }
    }
}

impl Chunks {
    /// How many bytes a step uses of those that there are: one at least.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let byte = bytes[0];
        *self = match *self {
            Self::Size(size) => match (byte as char).to_digit(16) {
                Some(digit) => Self::Size(size.saturating_mul(16).saturating_add(digit.into())),
                None => Self::behind_size(size, byte),
            },
            Self::Extension(size) => Self::behind_size(size, byte),
            Self::Data(size) => {
                let count = bytes.len().min(usize::try_from(size).unwrap_or(usize::MAX));
                let left = size - count as u64;
                *self = if left == 0 {
                    Self::DataEnd
                } else {
                    Self::Data(left)
                };
                return count;
            }
            Self::DataEnd if byte == b'\n' => Self::Size(0),
            Self::DataEnd => Self::DataEnd,
            Self::Trailer(0) if byte == b'\n' => Self::Over,
            Self::Trailer(_) if byte == b'\n' => Self::Trailer(0),
            Self::Trailer(len) if byte == b'\r' => Self::Trailer(len),
            Self::Trailer(len) => Self::Trailer(len.saturating_add(1)),
            Self::Over => return 0,
        };
        1
    }

    fn behind_size(size: u64, byte: u8) -> Self {
        match (byte, size) {
            (b'\n', 0) => Self::Trailer(0),
            (b'\n', size) => Self::Data(size),
            (_, size) => Self::Extension(size),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How much of `bytes` is the body; the same in one piece and byte by byte.
    #[track_caller]
    fn length(mut body: impl FnMut() -> Body, bytes: &[u8]) -> usize {
        let mut whole = body();
        let at_once = whole.take(bytes);
        let mut slow = body();
        let one_by_one: usize = bytes.chunks(1).map(|byte| slow.take(byte)).sum();
        assert_eq!((at_once, whole.is_over()), (one_by_one, slow.is_over()));
        at_once
    }

    #[test]
    fn by_length() {
        assert!(Body::of_length(0).is_over());
        assert_eq!(length(|| Body::of_length(3), b"abcGET /"), 3);
        assert_eq!(length(|| Body::of_length(30), b"abc"), 3);
    }

    #[test]
    fn by_chunks() {
        for body in [
            "0\r\n\r\n",
            "3\r\nabc\r\n0\r\n\r\n",
            "3;x=y\r\nabc\r\n0\r\n\r\n",
            "a\r\n\r\n0\r\n\r\n0\r\n\r\n0\r\n\r\n",
            "2\r\nok\r\n0\r\nX-Sum: 1\r\nX-B: 2\r\n\r\n",
            "1 \r\n\n\r\n0\r\n\r\n",
        ] {
            let stream = format!("{body}GET / HTTP/1.1\r\n\r\n");
            assert_eq!(
                length(Body::chunked, stream.as_bytes()),
                body.len(),
                "{body:?}"
            );
        }
    }
}
