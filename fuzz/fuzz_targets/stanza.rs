//! Any text as an OlaresManifest.yaml: no panic; what is accepted survives the environment.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stanza::{Manifest, env, gateway_options};

fuzz_target!(|text: &str| {
    let Ok(manifest) = Manifest::from_yaml("fuzz", text) else { return };
    let Some(websocket) = manifest.websocket else { return };
    let variables = env::to_env(&websocket);
    if let Some((_, options)) = variables.iter().find(|(name, _)| *name == env::OPTIONS) {
        let options = options.parse().expect("the options are JSON");
        let (again, _) = gateway_options("again", &options).expect("what was written is read");
        assert_eq!(again, websocket.gateway);
    }
});
