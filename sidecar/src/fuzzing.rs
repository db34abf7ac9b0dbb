//! What fuzz targets reach of parsers that are nobody else's business.

use crate::admin::guard::AdminTokens;
use crate::callback::signing::SigningKey;

pub use crate::callback::client::fuzzing::answer;
pub use crate::proxy::fuzzing::{CALLBACK, is_callback, passes_unseen};
pub use crate::server::fuzzing::{Outcome, body, head, proxy_header};

/// Whether the files' readers take this text.
pub fn secrets(text: &str) -> [Result<(), String>; 2] {
    [
        SigningKey::parse(text).map(drop),
        AdminTokens::parse(text).map(drop),
    ]
}
