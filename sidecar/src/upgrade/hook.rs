//! The auth hook: before each upgrade the app is asked, as nginx `auth_request`, Traefik
//! `forwardAuth` and Envoy `ext_authz` do (Midway: `onWebSocketUpgrade`).

use std::net::IpAddr;
use std::sync::LazyLock;

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use stanza::field::UrlPath;
use tracing::warn;

use super::Refused;
use crate::callback::client::{AppClient, Fetched, NoAnswer};
use crate::gateway::Gateway;
use crate::metrics::RefusalReason;
use crate::throttle::Throttle;
use crate::{hop_by_hop, latin1};

/// What a 2xx says beside "yes".
#[derive(Debug, Default)]
pub struct HookAnswer {
    pub user: Option<String>,
    pub namespace: Option<String>,
    pub protocol: Option<HeaderValue>,
    /// `Set-Cookie`, for the answer to the upgrade.
    pub cookies: Vec<HeaderValue>,
}

/// Strangers cause it by knocking.
static FAILED: LazyLock<Throttle> = LazyLock::new(Throttle::default);
/// A handler that returns `false`, as Midway's `onWebSocketUpgrade`, says 200 over HTTP.
static SAID_FALSE: LazyLock<Throttle> = LazyLock::new(Throttle::default);

pub(super) async fn ask<B>(
    gateway: &Gateway<AppClient>,
    path: &UrlPath,
    request: &Request<B>,
    of: IpAddr,
) -> Result<HookAnswer, Refused> {
    let unavailable = |message| super::try_again(RefusalReason::AuthUnavailable, message);
    let Some(app) = &gateway.app else {
        return Err(unavailable(
            "there is no app to ask (WS_PORT and WS_URL are not set)",
        ));
    };
    let question = question(path, request, of);
    let answer = app
        .delivery
        .transport()
        .fetch(&question, of)
        .await
        .map_err(|error| match error {
            NoAnswer::Busy => super::try_again(
                RefusalReason::AuthBusy,
                "too many are being asked about (callback.authConcurrency)",
            ),
            NoAnswer::Failed(error) => {
                if let Some(left_out) = FAILED.pass() {
                    warn!(%error, left_out, "auth hook failed");
                }
                unavailable("the app could not be asked whether to let you in")
            }
        })?;
    if answer.status.is_success() {
        if answer.body.trim_ascii() == b"false" {
            if let Some(left_out) = SAID_FALSE.pass() {
                warn!(
                    path = path.as_str(),
                    status = answer.status.as_u16(),
                    left_out,
                    "the auth hook answered `false` with a status that lets in; refused: answer 403 to say no"
                );
            }
            let message = "the app does not let you in";
            return Err(Refused::new(
                RefusalReason::AuthDenied,
                StatusCode::FORBIDDEN,
                message,
            ));
        }
        return Ok(read(&answer.headers));
    }
    Err(Refused {
        label: RefusalReason::AuthDenied,
        reply: Box::new(relay(answer)),
    })
}

/// `GET <auth>?<the client's query>` with the client's headers, `X-Original-URI` and `X-Real-IP`.
fn question<B>(path: &UrlPath, request: &Request<B>, of: IpAddr) -> Vec<u8> {
    let separator = match (request.uri().query(), path.as_str().contains('?')) {
        (None, _) => "",
        (Some(_), false) => "?",
        (Some(_), true) => "&",
    };
    let query = request.uri().query().unwrap_or_default();
    let mut question = format!("GET {path}{separator}{query} HTTP/1.1\r\n").into_bytes();
    let mut push = |name: &str, value: &[u8]| {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            question.extend_from_slice(part);
        }
    };
    for (name, value) in request.headers() {
        let stays = HOP_BY_HOP.contains(name) || hop_by_hop::is_always(name);
        if !stays && name != ORIGINAL_URI && name != REAL_IP {
            push(name.as_str(), value.as_bytes());
        }
    }
    let original = request.uri().path_and_query();
    push(
        ORIGINAL_URI,
        original.map_or("/", |path| path.as_str()).as_bytes(),
    );
    push(REAL_IP, of.to_string().as_bytes());
    question.extend_from_slice(b"\r\n");
    question
}

const ORIGINAL_URI: &str = "x-original-uri";
const REAL_IP: &str = "x-real-ip";

/// RFC 9110 §7.6.1, and what belongs to the client's own handshake. `Sec-WebSocket-Protocol`
/// stays: the app may choose by it.
const HOP_BY_HOP: [header::HeaderName; 9] = [
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
        Some(latin1::text(value.as_bytes()).into_owned()).filter(|text| !text.is_empty())
    };
    HookAnswer {
        user: text("x-bfl-user"),
        namespace: text("x-ws-namespace"),
        protocol: headers.get(header::SEC_WEBSOCKET_PROTOCOL).cloned(),
        cookies: headers
            .get_all(header::SET_COOKIE)
            .iter()
            .cloned()
            .collect(),
    }
}

/// The app's refusal as it is: a 401 with its challenge, a 302 to a log-in page.
fn relay(answer: Fetched) -> crate::reply::Reply {
    let mut reply = Response::new(Full::new(answer.body));
    *reply.headers_mut() = answer.headers;
    hop_by_hop::remove(reply.headers_mut(), hop_by_hop::is_end_to_end);
    for name in HOP_BY_HOP {
        reply.headers_mut().remove(name);
    }
    // 101 would be the gateway's to say.
    *reply.status_mut() = match answer.status {
        StatusCode::SWITCHING_PROTOCOLS => StatusCode::BAD_GATEWAY,
        status => status,
    };
    reply
}
