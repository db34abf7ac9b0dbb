//! Any answer of an app to a callback or the auth hook, in pieces cut by the first byte: no
//! panic; the same answer as in one piece; never more of a body than has come.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_gateway::fuzzing::answer;

fuzz_target!(|data: &[u8]| {
    let Some((&cut, stream)) = data.split_first() else { return };
    for everything in [false, true] {
        let whole = answer(stream, usize::MAX, everything);
        let pieces = answer(stream, usize::from(cut).max(1), everything);
        // Bytes behind the answer are seen where they come along with it, and by the pool else.
        let told = |outcome| match outcome {
            Ok(Some((status, body, _))) => Ok(Some((status, body))),
            Ok(None) => Ok(None),
            Err(why) => Err(why),
        };
        if let Ok(Some((_, Some(body), _))) = &whole {
            assert!(body.len() <= stream.len());
        }
        assert_eq!(told(whole), told(pieces));
    }
});
