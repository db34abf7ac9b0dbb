//! Text in headers: UTF-8, or else Latin-1 (RFC 9110 §5.5), so that two names stay two.

use std::borrow::Cow;

pub(crate) fn text(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_apart() {
        assert_eq!(text("Jörg 张三".as_bytes()), "Jörg 张三");
        assert_eq!(text(b"J\xF6rg"), "Jörg");
        assert_ne!(text(b"J\xF6rg"), text(b"J\xE4rg"));
    }
}
