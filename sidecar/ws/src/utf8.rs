//! UTF-8 that arrives in pieces, refused at the first byte that cannot be right.

/// Checks `bytes` from `checked` on. The new `checked` is the border of the last whole
/// character; what lies behind it may still become one.
pub(super) fn advance(bytes: &[u8], checked: usize) -> Result<usize, Invalid> {
    match std::str::from_utf8(&bytes[checked..]) {
        Ok(rest) => Ok(checked + rest.len()),
        Err(error) if error.error_len().is_none() => Ok(checked + error.valid_up_to()),
        Err(_) => Err(Invalid),
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Invalid;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_character_is_not_yet_wrong() {
        let euro = "a€".as_bytes();
        assert_eq!(advance(&euro[..3], 0), Ok(1));
        assert_eq!(advance(euro, 1), Ok(4));
        assert_eq!(advance(b"a\xff", 0), Err(Invalid));
    }
}
