//! Words for others to read, as long as they take them.

/// So many bytes at most, cut between characters, with a mark where something is left out.
pub fn cut(mut text: String, most: usize) -> String {
    const MARK: char = '…';
    if text.len() > most {
        let end = text.floor_char_boundary(most.saturating_sub(MARK.len_utf8()));
        text.truncate(end);
        text.push(MARK);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        let text = cut("é".repeat(100), 100);
        assert!(text.len() <= 100 && text.ends_with('…'));
        assert_eq!(cut("short".to_owned(), 100), "short");
    }
}
