//! A PROXY protocol header: no panic, no more bytes than there are, whole at one length only, and nobody it names is
//! the pod itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_gateway::fuzzing::proxy_header;

fuzz_target!(|data: &[u8]| {
    let Some((length, client)) = proxy_header(data) else { return };
    assert!(length <= data.len() && length <= 4096);
    assert!(!client.ip().to_canonical().is_loopback());
    for part in 0..length {
        assert_eq!(proxy_header(&data[..part]), None);
    }
    assert_eq!(proxy_header(&data[..length]), Some((length, client)));
});
