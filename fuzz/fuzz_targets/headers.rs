//! Any request head: no panic; no identity and no admin rights from headers alone.
#![no_main]

use std::net::Ipv4Addr;

use libfuzzer_sys::fuzz_target;
use stanza::field::Origin;
use stanza::settings::Identity;
use ws_gateway::admin::guard;
use ws_gateway::trust;
use ws_gateway::upgrade::{handshake, identify};

fuzz_target!(|head: &[u8]| {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Request::new(&mut headers);
    if !parsed.parse(head).is_ok_and(|status| status.is_complete()) {
        return;
    }
    let mut request = http::Request::builder()
        .method(parsed.method.unwrap_or_default())
        .uri(parsed.path.unwrap_or_default());
    for header in parsed.headers {
        request = request.header(header.name, header.value);
    }
    let Ok(mut request) = request.body(()) else { return };
    for value in request.headers().values().filter_map(|value| value.to_str().ok()) {
        if let Some(origin) = Origin::parse(value) {
            let _ = origin.is_of(value);
        }
    }
    let _ = handshake(&request);
    let settings = Identity::default();
    let stranger = std::net::SocketAddr::from(([10, 0, 0, 1], 5000));
    let trusted = trust::trusts(&settings, stranger, request.headers());
    assert!(!trusted);
    trust::filter(request.headers_mut(), &settings, stranger, trusted);
    let carried = identify::carried(request.headers(), Ipv4Addr::LOCALHOST.into());
    let identity = identify::identity(&request, &settings, &carried, None, None);
    assert!(identity.user.is_empty());
    let _ = identity.token.expose();
    assert!(guard::local(&request, stranger, None).is_err());
    let _ = guard::local(&request, ([127, 0, 0, 1], 5000).into(), None);
});
