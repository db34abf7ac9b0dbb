//! Every setting of the stanza, once: its type, default and meaning.
//!
//! The tables below are the only place a setting is declared. The stanza's keys, the gateway's
//! flags and environment variables, `--help` and docs/settings.md are all read from them.

#[macro_use]
mod group;
mod heartbeat;
mod limits;
mod token;

use std::num::NonZeroU32;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::{Map, Value as Json};

use crate::choice::{Expose, Namespaces, OnError, Placement, Rollout, TokenPlace};
use crate::field::{
    CloseCode, Field, HeaderName, HttpUrl, Interval, Leeway, MessageType, OriginPattern, UrlPath,
};
use crate::node::Node;
use crate::resources::Resources;
use crate::secret::SecretRef;

pub use crate::secret::Secret;
use group::is_switch;
pub use group::{Declaration, Group};
pub use heartbeat::{Contradiction, Heartbeat};
pub use limits::{CONNECTIONS, Limits};
pub use token::KeySet;

group! {
    /// Directly under `websocket`: which requests become WebSockets.
    Routes {
        /// The path that upgrades to a WebSocket.
        "path" path: UrlPath = UrlPath::new("/ws").expect("a path");
        /// The app's path that is asked before each upgrade, as nginx `auth_request` does.
        /// 2xx lets the client in; any other answer goes back to it unchanged. Unset: everyone is let in.
        "auth" auth: Option<UrlPath> = None;
        /// Origins that browsers may connect from. Empty: the request's own host and port (`Host`,
        /// or `X-Forwarded-Host` of a trusted proxy). A client that sends no `Origin` header is no
        /// browser and is not held back.
        "origins" origins: Vec<OriginPattern> = Vec::new();
        /// Messages whose `event`, `type` or first array element is `type` are posted to that
        /// `url` as well; with `*` or `#` at its end it is how they begin.
        "types" types: Vec<MessageType> = Vec::new();
    }
}

group! {
    /// `callback`: how the app is called.
    Callback {
        /// How long the app may take to answer one callback. Later counts as a failure: it is
        /// logged and counted, and the connection goes on.
        "timeout" timeout: Duration = Duration::from_secs(30);
        /// How long an event that provably did not arrive is sent again, with back-off;
        /// then the client is closed with 1013.
        "retryFor" retry_for: Duration = Duration::from_secs(10);
        /// What a client gets when the app answers one of its events with an error: `ignore`
        /// (nothing), `tell` (`{"type":"error","payload":{"status":…}}`) or `close` (1009 for a
        /// 413, else 1011). An open that is answered 401 or 403 ends the connection in any case.
        "onError" on_error: OnError = OnError::Ignore;
        /// How long new clients wait after a gateway was killed, while the app gets the close
        /// callbacks of the lost connections. The remaining ones are sent beside new clients.
        "recoverFor" recover_for: Duration = Duration::from_secs(10);
        /// How long a connection to the app is kept unused, at most. It is less if the app says so
        /// by `Keep-Alive: timeout`, or was seen to close connections sooner. 0: none is kept.
        "keepAlive" keep_alive: Duration = Duration::from_millis(1500);
        /// How many callbacks may be under way at once, over all connections.
        "concurrency" concurrency: NonZeroU32 = at_least_one(1000);
        /// How many subrequests to the auth hook may be under way at once, beside the callbacks.
        /// Four times as many may wait; further upgrades get 503.
        "authConcurrency" auth_concurrency: NonZeroU32 = at_least_one(64);
        /// How many messages of one connection may wait for the app. Then no more than 64 KiB are
        /// read from that client, so that pings and a close among them are processed.
        "queue" queue: NonZeroU32 = at_least_one(16);
    }
}

group! {
    /// `identity`: who a client is.
    Identity {
        /// Request headers that name the user, first that is present. Only from trusted proxies;
        /// dropped from anyone else's request, however they are spelled.
        "headers" headers: Vec<HeaderName> = vec![HeaderName::from_static("x-bfl-user")];
        /// Proxies whose identity headers count, as each of them overwrites what clients send.
        /// Unset: 127.0.0.1 and ::1, and of these only requests without a proxy's headers. Once it
        /// is set, loopback counts only if it is listed. An empty list: none.
        "trustedProxies" trusted_proxies: Option<Vec<IpNet>> = None;
        /// A trusted proxy may begin a connection with a PROXY protocol header (version 1 or 2), as
        /// AWS' NLB and HAProxy do. The address in it is then the peer, for limits and for trust.
        "proxyProtocol" proxy_protocol: bool = false;
        /// The name in `wss://name:password@host` is the user once the auth hook has accepted it.
        /// Use it only with a hook that checks the password.
        "basic" basic: bool = false;
        /// What decides a client's namespace: `client` (`?namespace=`, which is no selector on its
        /// own) or `hook` (the auth hook, a token's claim `namespace`, or the open callback's
        /// answer).
        "namespaces" namespaces: Namespaces = Namespaces::Client;
    }
}

group! {
    /// `identity.jwt`: a token that names the user, checked by the gateway itself.
    Jwt {
        /// The shared secret of HS256, HS384 and HS512 tokens: 32 bytes or more (RFC 7518 §3.2).
        "secret" secret: Option<Secret> = None;
        /// The JSON Web Key Set (RFC 7517) of public keys that verify RS, PS, ES and EdDSA tokens.
        "jwks" jwks: Option<KeySet> = None;
        /// A file that holds such a key set; read again when it changes.
        "jwksFile" jwks_file: Option<String> = None;
        /// Where such a key set is fetched from. The last one that was good counts until there is a
        /// newer one; until the first is there, clients with a token get 503.
        "jwksUrl" jwks_url: Option<HttpUrl> = None;
        /// Certificates (PEM) of the authorities that `jwksUrl` is verified with. Unset: the
        /// system's.
        "jwksCa" jwks_ca: Option<String> = None;
        /// How often `jwksUrl` is fetched.
        "jwksInterval" jwks_interval: Interval = Interval(Duration::from_mins(5));
        /// How long one fetch may take.
        "jwksTimeout" jwks_timeout: Interval = Interval(Duration::from_secs(5));
        /// A token that names an unknown key has the set fetched at once, but no sooner than this
        /// long after the previous fetch.
        "jwksCooldown" jwks_cooldown: Interval = Interval(Duration::from_secs(30));
        /// Where a token may be, in the order in which they are checked: `header` (`Authorization:
        /// Bearer`), `cookie`, `query`, `subprotocol`.
        "from" from: Vec<TokenPlace> = vec![TokenPlace::Header, TokenPlace::Cookie];
        /// The cookie that carries the token.
        "cookie" cookie: String = "ID_TOKEN".to_owned();
        /// The query parameter that carries the token, where `from` has `query`.
        "query" query: String = "access_token".to_owned();
        /// The claim that names the user: a string, or a number as it is written.
        "claim" claim: String = "preferred_username".to_owned();
        /// The issuer (`iss`) that a token must have. Unset: any.
        "issuer" issuer: Option<String> = None;
        /// The audience (`aud`) that a token must have. Unset: any.
        "audience" audience: Option<String> = None;
        /// How far clocks may differ: added to a token's end (`exp`), subtracted from its start
        /// (`nbf`). The connection ends with its token, 4401.
        "leeway" leeway: Leeway = Leeway(Duration::from_mins(1));
        /// Refuse upgrades without a valid token (401).
        "required" required: bool = false;
    }
}

const fn at_least_one(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).expect("not 0")
}

group! {
    /// `health`: what load balancers ask on the clients' port.
    Health {
        /// The path on the clients' port that answers 200 while new clients are accepted, and 503
        /// before that and from shutdown on. Unset: `/healthz`, and none with `expose: entrance`,
        /// where all paths are the app's.
        "path" path: Option<UrlPath> = None;
    }
}

group! {
    /// `drain`: how clients are sent away when the gateway is to end.
    Drain {
        /// How long closing all clients and sending all close callbacks may take in all.
        "timeout" timeout: Duration = Duration::from_secs(20);
        /// Clients are closed one by one over this time, so that they do not reconnect at once.
        "spread" spread: Duration = Duration::from_secs(1);
        /// The close code: 1001 (going away) or 1012 (service restart).
        "code" code: CloseCode = CloseCode(1001);
    }
}

group! {
    /// What the operator alone reads.
    Operator {
        /// The entrance whose pods get the gateway, by name. Unset: the first.
        "entrance" entrance: Option<String> = None;
        /// How clients reach the gateway: `entrance`, `service` or `none`. Unset: `service`, on Olares `entrance`.
        "expose" expose: Option<Expose> = None;
        /// Where the gateway stands in the pod: `container` or `native` (an init container that always restarts).
        "sidecar" sidecar: Placement = Placement::Container;
        /// Whether a changed stanza restarts the app's pods: `auto` or `notify`.
        "rollout" rollout: Rollout = Rollout::Auto;
        /// The gateway container's requests and limits, as Kubernetes writes them.
        "resources" resources: Option<Resources> = None;
    }
}

group! {
    /// What the operator reads under `drain`.
    OperatorDrain {
        /// Give app containers that have no preStop hook a short sleep, so that close callbacks find the app alive.
        "holdApp" hold_app: bool = false;
    }
}

group! {
    /// What the operator reads under `callback.signing`.
    OperatorSigning {
        /// The Secret of the app's namespace that holds the keys, one a line; callbacks are then
        /// signed with the first (docs/signing.md). Unset: not signed.
        "secretFrom" secret_from: Option<SecretRef> = None;
    }
}

group! {
    /// What the operator reads under `admin.token`.
    OperatorAdminToken {
        /// The Secret of the app's namespace that holds the admin API's tokens, one a line; each opens
        /// it, on port 40012 for other pods too. Unset: the app's own pod needs none, others get nothing.
        "secretFrom" secret_from: Option<SecretRef> = None;
    }
}

// === the groups together ===

/// What the gateway reads of the stanza.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gateway {
    pub routes: Routes,
    pub heartbeat: Heartbeat,
    pub callback: Callback,
    pub identity: Identity,
    pub jwt: Jwt,
    pub limits: Limits,
    pub health: Health,
    pub drain: Drain,
}

/// A setting with the place it has in the stanza.
pub struct Setting {
    /// The whole key: `heartbeat.serverPing`.
    pub key: String,
    pub about: &'static str,
    pub allowed: &'static str,
    pub default: Json,
    pub switch: bool,
    pub hidden: bool,
    pub reader: Reader,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    Gateway,
    Operator,
}

/// Calls `$visit!(prefix, group)` for each of the gateway's groups.
macro_rules! each_group {
    ($settings:expr, $visit:ident) => {
        $visit!("", $settings.routes);
        $visit!("heartbeat", $settings.heartbeat);
        $visit!("callback", $settings.callback);
        $visit!("identity", $settings.identity);
        $visit!("identity.jwt", $settings.jwt);
        $visit!("limits", $settings.limits);
        $visit!("health", $settings.health);
        $visit!("drain", $settings.drain);
    };
}

impl Gateway {
    /// Sets `heartbeat.timeout` and the like. `None`: the gateway has no such setting.
    pub fn set(&mut self, key: &str, node: &Node) -> Option<Result<(), String>> {
        let (prefix, name) = key.rsplit_once('.').unwrap_or(("", key));
        macro_rules! set {
            ($prefix:literal, $group:expr) => {
                if prefix == $prefix {
                    return $group.set(name, node);
                }
            };
        }
        each_group!(self, set);
        None
    }

    /// The settings that differ from the defaults, nested as in the stanza: what the operator
    /// hands to the gateway, and what the injection hash covers.
    pub fn changed(&self) -> Map<String, Json> {
        let mut changed = Map::new();
        macro_rules! collect {
            ($prefix:literal, $group:expr) => {
                collect(&mut changed, $prefix, &$group);
            };
        }
        each_group!(self, collect);
        changed
    }
}

/// Every setting there is beside `url` and `port`.
pub fn catalogue() -> Vec<Setting> {
    let mut all = Vec::new();
    let gateway = Gateway::default();
    macro_rules! list {
        ($prefix:literal, $group:expr) => {
            list(&mut all, $prefix, &$group, Reader::Gateway);
        };
    }
    each_group!(gateway, list);
    list(&mut all, "", &Operator::default(), Reader::Operator);
    list(
        &mut all,
        "drain",
        &OperatorDrain::default(),
        Reader::Operator,
    );
    list(
        &mut all,
        "callback.signing",
        &OperatorSigning::default(),
        Reader::Operator,
    );
    list(
        &mut all,
        "admin.token",
        &OperatorAdminToken::default(),
        Reader::Operator,
    );
    all
}

fn list<G: Group>(all: &mut Vec<Setting>, prefix: &str, group: &G, reader: Reader) {
    all.extend(G::DECLARATIONS.iter().map(|declaration| Setting {
        key: join(prefix, declaration.key),
        about: declaration.about.trim(),
        allowed: declaration.allowed,
        default: group.value(declaration.key),
        switch: declaration.switch,
        hidden: declaration.hidden,
        reader,
    }));
}

fn collect<G: Group>(changed: &mut Map<String, Json>, prefix: &str, group: &G) {
    let default = G::default();
    for declaration in G::DECLARATIONS {
        let value = group.value(declaration.key);
        if value != default.value(declaration.key) {
            insert(changed, prefix, declaration.key, value);
        }
    }
}

/// A field's name in its place: `options` and `websocket` are `options.websocket`.
pub fn join(prefix: &str, key: &str) -> String {
    if prefix.is_empty() {
        key.to_owned()
    } else {
        format!("{prefix}.{key}")
    }
}

fn insert(map: &mut Map<String, Json>, prefix: &str, key: &str, value: Json) {
    let mut inner = map;
    for part in prefix.split('.').filter(|part| !part.is_empty()) {
        let entry = inner
            .entry(part)
            .or_insert_with(|| Json::Object(Map::new()));
        let Json::Object(next) = entry else { return };
        inner = next;
    }
    inner.insert(key.to_owned(), value);
}
