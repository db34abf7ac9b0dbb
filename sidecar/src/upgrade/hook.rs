//! The auth hook: before each upgrade the app is asked, as nginx `auth_request`, Traefik
//! `forwardAuth` and Envoy `ext_authz` do (Midway: `onWebSocketUpgrade`).

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use stanza::field::UrlPath;
use tracing::warn;

use super::Refused;
use crate::callback::client::AppClient;
use crate::gateway::Gateway;

/// What a 2xx says beside "yes".
#[derive(Debug, Default)]
pub struct HookAnswer {
    pub user: Option<String>,
    pub namespace: Option<String>,
    pub protocol: Option<HeaderValue>,
}

pub(super) async fn ask<B>(
    gateway: &Gateway<AppClient>,
    path: &UrlPath,
    request: &Request<B>,
) -> Result<HookAnswer, Refused> {
    let unavailable = |message| super::try_again("auth_unavailable", message);
    let Some(app) = &gateway.app else {
        return Err(unavailable(
            "there is no app to ask (WS_PORT and WS_URL are not set)",
        ));
    };
    let question =
        question(path, request).ok_or_else(|| unavailable("the request cannot be passed on"))?;
    let answer = app
        .delivery
        .transport()
        .fetch(question)
        .await
        .map_err(|error| {
            warn!(%error, "auth hook failed");
            unavailable("the app could not be asked whether to let you in")
        })?;
    if answer.status().is_success() {
        return Ok(read(answer.headers()));
    }
    Err(Refused {
        label: "auth_denied",
        reply: Box::new(relay(answer)),
    })
}

/// `GET <auth>?<the client's query>` with the client's headers and `X-Original-URI`.
fn question<B>(path: &UrlPath, request: &Request<B>) -> Option<Request<Full<Bytes>>> {
    let query = request.uri().query();
    let uri = match (query, path.as_str().contains('?')) {
        (None, _) => path.to_string(),
        (Some(query), false) => format!("{path}?{query}"),
        (Some(query), true) => format!("{path}&{query}"),
    };
    let mut question = Request::new(Full::default());
    *question.uri_mut() = uri.parse().ok()?;
    let original = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    let headers = question.headers_mut();
    *headers = request.headers().clone();
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    headers.insert("x-original-uri", HeaderValue::from_str(original).ok()?);
    Some(question)
}

/// RFC 9110 §7.6.1, and what belongs to the client's own handshake. `Sec-WebSocket-Protocol`
/// stays: the app may choose by it.
const HOP_BY_HOP: [header::HeaderName; 10] = [
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::CONTENT_LENGTH,
    header::PROXY_AUTHORIZATION,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    header::SEC_WEBSOCKET_EXTENSIONS,
];

fn read(headers: &HeaderMap) -> HookAnswer {
    let text = |name: &str| {
        let value = headers.get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned()).filter(|text| !text.is_empty())
    };
    HookAnswer {
        user: text("x-bfl-user"),
        namespace: text("x-ws-namespace"),
        protocol: headers.get(header::SEC_WEBSOCKET_PROTOCOL).cloned(),
    }
}

/// The app's refusal as it is: a 401 with its challenge, a 302 to a log-in page.
fn relay(answer: Response<Bytes>) -> crate::reply::Reply {
    let (mut parts, body) = answer.into_parts();
    for name in HOP_BY_HOP {
        parts.headers.remove(name);
    }
    // 101 would be the gateway's to say, and 1xx are no final answers.
    if parts.status.is_informational() {
        parts.status = StatusCode::BAD_GATEWAY;
    }
    parts.version = http::Version::HTTP_11;
    Response::from_parts(parts, Full::new(body))
}
