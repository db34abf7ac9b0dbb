use std::sync::LazyLock;

use http::Request;
use stanza::field::{AppPort, UrlPath};
use stanza::{CallbackTarget, settings};

use super::{Border, Protocol, sniff};

/// Where the app takes callbacks.
pub const CALLBACK: &str = "/ws/message";

static BORDER: LazyLock<Border> = LazyLock::new(|| {
    let target = AppPort::new(8888).zip(UrlPath::new(CALLBACK));
    let target = target.map(|(port, path)| CallbackTarget { port, path });
    Border::new(&settings::Gateway::default(), target.as_ref())
});

/// Whether a stranger's request is kept from the app.
pub fn is_callback(request: &Request<String>) -> bool {
    BORDER.refuses(request)
}

/// Whether what begins so goes to the app unseen; `None`: that is not known yet.
pub fn passes_unseen(first: &[u8]) -> Option<bool> {
    sniff(first).map(|protocol| protocol != Protocol::Http1)
}
