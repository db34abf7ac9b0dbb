use super::response::{Reader, Want};

/// An app's answer that arrives in such pieces: status, body, and whether the connection may be
/// used again. `None`: it is not whole; an error: it is none.
pub type Outcome = Result<Option<(u16, Option<Vec<u8>>, bool)>, &'static str>;

/// More than the targets send.
const LIMIT: usize = 16 << 20;

pub fn answer(stream: &[u8], piece: usize, everything: bool) -> Outcome {
    let want = if everything {
        Want::Everything
    } else {
        Want::Actions
    };
    let mut reader = Reader::new(want, LIMIT);
    let mut whole = false;
    for piece in stream.chunks(piece) {
        whole = reader.feed(piece).map_err(|malformed| malformed.0)?;
        if whole {
            break;
        }
    }
    if !whole && !reader.feed_end() {
        return Ok(None);
    }
    let response = reader.finish();
    let body = response.body.map(|body| body.to_vec());
    Ok(Some((response.status.as_u16(), body, response.reusable)))
}
