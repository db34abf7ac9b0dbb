use std::sync::LazyLock;

use http::Request;
use stanza::field::{AppPort, UrlPath};
use stanza::{CallbackTarget, settings};

use super::Border;

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
