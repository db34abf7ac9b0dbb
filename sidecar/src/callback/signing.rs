//! `callback.signing`: callbacks carry a signature as Standard Webhooks 1.0.0 describes it, so
//! that the app can tell them from a stranger's POST.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::SendError;
use super::event::Outgoing;
use crate::secret_file::Current;

/// The key's own part of the work is done once: a message costs no more than its hash.
#[derive(Clone)]
pub struct SigningKey(Hmac<Sha256>);

/// Signs with the key that the file holds now.
#[derive(Clone, Debug)]
pub struct Signer(Current<SigningKey>);

/// As the specification writes secrets.
const PREFIX: &str = "whsec_";
/// 192 to 512 bits.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

// === impl SigningKey ===

impl SigningKey {
    /// A key a line; the first signs. All are checked, so that a slip is told when a key is added
    /// and not when it is to sign.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut first = None;
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() {
                let key = bytes(line).map_err(|why| format!("line {}: {why}", index + 1))?;
                first.get_or_insert(key);
            }
        }
        let key = first.ok_or("it is empty; expected a key a line, such as whsec_<base64>")?;
        Self::new(&key)
    }

    fn new(key: &[u8]) -> Result<Self, String> {
        let key = Hmac::new_from_slice(key).map_err(|error| error.to_string())?;
        Ok(Self(key))
    }

    /// `v1,<base64>`, over `<id>.<timestamp>.<body>`.
    fn push_signature(&self, id: &str, timestamp: u64, body: &[u8], to: &mut String) {
        let mut mac = self.0.clone();
        for part in [id.as_bytes(), b".", timestamp.to_string().as_bytes(), b"."] {
            mac.update(part);
        }
        mac.update(body);
        to.push_str("v1,");
        STANDARD.encode_string(mac.finalize().into_bytes(), to);
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

/// The bytes of one line's key.
fn bytes(line: &str) -> Result<Vec<u8>, String> {
    if line.starts_with("whsk_") || line.starts_with("whpk_") {
        return Err("it is an ed25519 key; expected a shared one, whsec_<base64>".to_owned());
    }
    let Some(encoded) = line.strip_prefix(PREFIX) else {
        return if line.len() < *KEY_BYTES.start() {
            let found = line.len();
            Err(format!(
                "{found} bytes; expected whsec_<base64>, or a text of at least 24 bytes"
            ))
        } else {
            Ok(line.as_bytes().to_vec())
        };
    };
    let key = STANDARD
        .decode(encoded)
        .map_err(|_| "expected base64 behind whsec_".to_owned())?;
    if KEY_BYTES.contains(&key.len()) {
        Ok(key)
    } else {
        let found = key.len();
        Err(format!("{found} bytes behind whsec_; expected 24 to 64"))
    }
}

// === impl Signer ===

impl Signer {
    pub(crate) fn new(key: Current<SigningKey>) -> Self {
        Self(key)
    }

    /// Whether there is a key. Once there is, it stays: a file that goes bad changes nothing.
    pub fn is_ready(&self) -> bool {
        self.0.borrow().is_some()
    }

    pub async fn ready(&self) {
        // Fails only when the file is watched no longer, which is when the process ends.
        let _ = self.0.clone().wait_for(Option::is_some).await;
    }

    /// The headers of one attempt. The id stays the same when an event is sent again, the time is
    /// the attempt's.
    pub(super) fn headers(&self, event: &Outgoing) -> Result<String, SendError> {
        let key = self.0.borrow();
        let no_key = || SendError::NotTaken("there is no key to sign it with".to_owned());
        let key = key.as_ref().ok_or_else(no_key)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let timestamp = now.unwrap_or_default().as_secs();
        let id = event.id();
        let mut headers = String::with_capacity(176);
        // Writing to a string does not fail.
        let _ = write!(
            headers,
            "webhook-id: {id}\r\nwebhook-timestamp: {timestamp}\r\nwebhook-signature: "
        );
        key.push_signature(id, timestamp, &event.body, &mut headers);
        headers.push_str("\r\n");
        Ok(headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector that the specification's own libraries are tested with.
    #[test]
    fn the_specifications_vector() {
        let key = SigningKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let mut signature = String::new();
        key.push_signature(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
            &mut signature,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_file_has_a_key_a_line_and_the_first_signs() {
        let signature = |text: &str| {
            let mut signature = String::new();
            let key = SigningKey::parse(text).unwrap();
            key.push_signature("a", 1, b"b", &mut signature);
            signature
        };
        let (first, second) = (
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "a text of twenty-four or more bytes",
        );
        let alone = signature(first);
        assert_eq!(signature(&format!("\n{first}\r\n{second}\n\n")), alone);
        assert_eq!(signature(&format!("  {first}  ")), alone);
        assert_ne!(signature(&format!("{second}\n{first}\n")), alone);
    }

    #[test]
    fn what_is_no_key_is_told_without_showing_it() {
        for (wrong, why) in [
            ("", "it is empty"),
            ("\n \n", "it is empty"),
            ("hush", "line 1: 4 bytes"),
            (
                "a text of twenty-four or more bytes\nhush",
                "line 2: 4 bytes",
            ),
            ("whsec_hush!", "line 1: expected base64"),
            ("whsec_aHVzaA==", "line 1: 4 bytes behind whsec_"),
            (
                "whsk_aHVzaGh1c2hodXNoaHVzaGh1c2hodXNo",
                "line 1: it is an ed25519 key",
            ),
        ] {
            let error = SigningKey::parse(wrong).unwrap_err();
            assert!(error.starts_with(why), "{wrong}: {error}");
            assert!(!error.contains("hush"), "{error}");
        }
    }
}
