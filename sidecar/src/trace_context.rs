//! W3C Trace Context: what the client's request says of its trace goes on to the app in each
//! callback, as it came. The gateway records no spans, so it names itself nowhere, and a client
//! that is not traced stays so.

use http::{HeaderMap, HeaderValue};

const PARENT: &str = "traceparent";
const STATE: &str = "tracestate";
/// `00-<trace>-<span>-<flags>`
const PARENT_LENGTH: usize = 55;
/// What everybody has to pass on (§3.3.1.5); more is left out, as a part of it would be wrong.
const STATE_LENGTH: usize = 512;

/// Adds the headers of the client's trace as lines of a request, if it has one.
pub(crate) fn append(lines: &mut Vec<u8>, headers: &HeaderMap) {
    let mut all = headers.get_all(PARENT).iter();
    let (Some(parent), None) = (all.next(), all.next()) else {
        return;
    };
    let Some(parent) = parent.to_str().ok().and_then(valid) else {
        return;
    };
    for part in ["Traceparent: 00", parent, "\r\n"] {
        lines.extend_from_slice(part.as_bytes());
    }
    if let Some(state) = state(headers) {
        for part in ["Tracestate: ", &state, "\r\n"] {
            lines.extend_from_slice(part.as_bytes());
        }
    }
}

/// All but the version, which is ours: of a later one only what this one has is understood (§3.2.4).
fn valid(parent: &str) -> Option<&str> {
    let known = parent.get(..PARENT_LENGTH)?;
    let rest = &parent[PARENT_LENGTH..];
    let [version, trace, span, flags] = known.split('-').collect::<Vec<_>>()[..] else {
        return None;
    };
    let hex = |field: &str, length| {
        field.len() == length
            && field
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_something = |field: &str| field.bytes().any(|byte| byte != b'0');
    let ends = match version {
        "00" => rest.is_empty(),
        "ff" => false,
        _ => rest.is_empty() || rest.starts_with('-'),
    };
    let is_valid = ends
        && hex(version, 2)
        && (hex(trace, 32) && is_something(trace))
        && (hex(span, 16) && is_something(span))
        && hex(flags, 2);
    is_valid.then(|| &known[2..])
}

/// Several lines are one list.
fn state(headers: &HeaderMap) -> Option<String> {
    let all = headers.get_all(STATE).iter().map(HeaderValue::to_str);
    let all: Vec<&str> = all.collect::<Result<_, _>>().ok()?;
    let joined = all.join(",");
    (!joined.is_empty() && joined.len() <= STATE_LENGTH).then_some(joined)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName};

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

    fn lines(sent: &[(&'static str, &str)]) -> String {
        let headers = sent.iter().map(|(name, value)| {
            let name = HeaderName::from_static(name);
            (name, value.parse().expect("a value"))
        });
        let headers: HeaderMap = headers.collect();
        let mut lines = Vec::new();
        super::append(&mut lines, &headers);
        String::from_utf8(lines).expect("text")
    }

    #[test]
    fn a_trace_goes_on_as_it_came() {
        let sent = [
            ("traceparent", PARENT),
            ("tracestate", "a=1"),
            ("tracestate", "b@v=2"),
        ];
        let expected = format!("Traceparent: {PARENT}\r\nTracestate: a=1,b@v=2\r\n");
        assert_eq!(lines(&sent), expected);
        // A later version may have more fields.
        let later = format!("01{}-more", &PARENT[2..]);
        let expected = format!("Traceparent: {PARENT}\r\n");
        assert_eq!(lines(&[("traceparent", &later)]), expected);
    }

    #[test]
    fn what_is_no_trace_is_none() {
        let odd = [
            String::new(),
            PARENT.to_uppercase(),
            PARENT[..54].to_owned(),
            format!("{PARENT}-01"),
            format!("ff{}", &PARENT[2..]),
            format!("01{}x", &PARENT[2..]),
            PARENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            PARENT.replace("00f067aa0ba902b7", &"0".repeat(16)),
            PARENT.replace("-00f0", "00f0-"),
        ];
        for parent in odd {
            assert_eq!(lines(&[("traceparent", &parent)]), "", "{parent}");
        }
        assert_eq!(
            lines(&[("traceparent", PARENT), ("traceparent", PARENT)]),
            ""
        );
        assert_eq!(lines(&[("tracestate", "a=1")]), "");
    }

    #[test]
    fn a_state_that_is_too_long_is_left_out() {
        let state = format!("a={}", "x".repeat(511));
        let sent = [("traceparent", PARENT), ("tracestate", &*state)];
        assert_eq!(lines(&sent), format!("Traceparent: {PARENT}\r\n"));
    }
}
