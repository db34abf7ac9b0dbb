//! Any body of an admin call or of an answer that acts: no panic; a selector is never empty.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_gateway::admin::body::Fields;
use ws_gateway::callback::answer;
use ws_gateway::selector::Selector;

fuzz_target!(|body: &[u8]| {
    let _ = answer::parse(body);
    let Ok(fields) = Fields::parse(body) else { return };
    let _ = fields.message();
    let _ = fields.close_reason();
    if let Ok(criteria) = fields.send_criteria() {
        let names_nobody = !criteria.all
            && criteria.conns.is_none()
            && criteria.users.is_none()
            && criteria.tokens.is_none()
            && criteria.namespace.is_none();
        assert_eq!(Selector::new(criteria).is_none(), names_nobody);
    }
});
