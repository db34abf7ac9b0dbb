//! Any key set, any token, any query and subprotocols that may carry one: no panic; nobody is
//! named without a right signature; nothing is left of what carried a token, and nothing else
//! is lost.
#![no_main]

use std::sync::LazyLock;

use http::header::SEC_WEBSOCKET_PROTOCOL;
use libfuzzer_sys::fuzz_target;
use stanza::choice::TokenPlace;
use stanza::settings::Jwt;
use ws_gateway::upgrade::jwt::carried::{SUBPROTOCOL, take};
use ws_gateway::upgrade::jwt::check;
use ws_gateway::upgrade::jwt::keys::Keys;

/// RFC 8037 appendix A.2, and RFC 7517 appendix A.1.
const SET: &[u8] = br#"{"keys": [
  {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
  {"kty": "EC", "crv": "P-256", "kid": "1", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
   "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}"#;

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys::parse(SET).unwrap());

fuzz_target!(|input: &[u8]| {
    let settings = Jwt {
        from: vec![
            TokenPlace::Subprotocol,
            TokenPlace::Query,
            TokenPlace::Cookie,
            TokenPlace::Header,
        ],
        ..Jwt::default()
    };
    if let Ok(keys) = Keys::parse(input) {
        assert!(check(input, &keys, &settings).is_err());
    }
    assert!(check(input, &KEYS, &settings).is_err());
    let (query, offered) = input.split_at(input.len() / 2);
    let Ok(query) = std::str::from_utf8(query) else { return };
    let request = http::Request::builder()
        .uri(format!("/ws?{query}"))
        .header(SEC_WEBSOCKET_PROTOCOL, offered)
        .header("cookie", offered)
        .header("authorization", offered)
        .body(());
    let Ok(mut request) = request else { return };
    let others = |query: &str| -> Vec<(String, String)> {
        let pairs = form_urlencoded::parse(query.as_bytes()).into_owned();
        pairs.filter(|(name, _)| *name != settings.query).collect()
    };
    let before = others(request.uri().query().unwrap_or_default());
    if let Some(token) = take(&mut request, &settings) {
        assert!(check(&token, &KEYS, &settings).is_err());
    }
    let left = request.uri().query().unwrap_or_default();
    assert_eq!(request.uri().path(), "/ws");
    assert_eq!(others(left), before);
    assert!(form_urlencoded::parse(left.as_bytes()).all(|(name, _)| name != settings.query));
    for value in request.headers().get_all(SEC_WEBSOCKET_PROTOCOL) {
        let mut names = value.as_bytes().split(|byte| *byte == b',');
        assert!(!names.any(|name| name.trim_ascii().starts_with(SUBPROTOCOL.as_bytes())));
    }
});
