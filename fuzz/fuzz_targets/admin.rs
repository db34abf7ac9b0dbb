//! Any body of an admin call or of an answer that acts: no panic; no key at all is refused, and a
//! body that names an empty list means nobody.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stanza::choice::Namespaces;
use ws_gateway::admin::body::Fields;
use ws_gateway::admin::selection::{self, Otherwise};
use ws_gateway::callback::answer;

fuzz_target!(|body: &[u8]| {
    for namespaces in [Namespaces::Client, Namespaces::Hook] {
        let _ = answer::parse(body, namespaces);
        let Ok(fields) = Fields::parse(body) else { return };
        let _ = fields.message();
        let _ = fields.close_reason();
        let refused = selection::selector(&fields, Otherwise::Refused, namespaces);
        let everybody = selection::selector(&fields, Otherwise::Everybody, namespaces);
        if let Ok(selector) = refused {
            assert_eq!(everybody, Ok(selector));
        }
    }
});
