//! One certificate authority, and the set of them over a rotation (pure but for randomness).

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::ByteString;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use time::OffsetDateTime;

/// Clocks differ between machines.
const SKEW: Duration = Duration::from_mins(5);
/// A CA's successor joins the bundle after this part of its life, and signs after that.
const ANNOUNCE: f64 = 0.6;
const PROMOTE: f64 = 0.75;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
    #[error("cannot use the certificate made")]
    Use(#[from] rustls::Error),
    #[error("the Secret's {0} is missing or not readable")]
    Stored(&'static str),
}

#[derive(Clone, PartialEq, Eq)]
pub struct Authority {
    name: String,
    certificate: String,
    key: String,
    born: i64,
    expires: i64,
}

/// What the Secret holds.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorities {
    pub signing: Authority,
    /// In the bundle already, not signing yet.
    pub next: Option<Authority>,
    /// In the bundle still: leaf certificates of it may be in use.
    pub previous: Option<Authority>,
}

impl Authority {
    pub fn generate(lifetime: Duration, now: OffsetDateTime) -> Result<Self, Error> {
        let key = KeyPair::generate()?;
        let mut authority = Self {
            // The time makes it unique, so that a verifier never confuses two of ours.
            name: format!("ws-operator {}", now.unix_timestamp_nanos()),
            certificate: String::new(),
            key: key.serialize_pem(),
            born: now.unix_timestamp(),
            expires: (now + lifetime).unix_timestamp(),
        };
        authority.certificate = authority.params()?.self_signed(&key)?.pem();
        Ok(authority)
    }

    /// The same parameters as when it was made: an issuer is known by name and key.
    fn params(&self) -> Result<CertificateParams, Error> {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, self.name.clone());
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = moment(self.born)? - SKEW;
        params.not_after = moment(self.expires)?;
        Ok(params)
    }

    /// A server certificate that lives for `lifetime`, but never longer than the CA: chain and
    /// key, and when it expires.
    pub fn sign(
        &self,
        names: &[String],
        lifetime: Duration,
        now: OffsetDateTime,
    ) -> Result<Signed, Error> {
        let (certificate, key, expires) = self.issue(names, lifetime, now)?;
        let private = PrivatePkcs8KeyDer::from(key.serialize_der());
        let signing = rustls::crypto::ring::sign::any_supported_type(&private.into())?;
        Ok(Signed {
            key: rustls::sign::CertifiedKey::new(vec![certificate.der().clone()], signing),
            expires,
        })
    }

    fn issue(
        &self,
        names: &[String],
        lifetime: Duration,
        now: OffsetDateTime,
    ) -> Result<(rcgen::Certificate, KeyPair, OffsetDateTime), Error> {
        let issuer = Issuer::new(self.params()?, KeyPair::from_pem(&self.key)?);
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        if let Some(first) = names.first() {
            // The common name holds 64 characters at most, and nobody reads it.
            let short: String = first.chars().take(64).collect();
            params.distinguished_name.push(DnType::CommonName, short);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = now - SKEW;
        params.not_after = (now + lifetime).min(moment(self.expires)?);
        let expires = params.not_after;
        Ok((params.signed_by(&key, &issuer)?, key, expires))
    }

    /// The same as files, certificate and key.
    #[cfg(test)]
    pub(super) fn sign_pem(
        &self,
        names: &[String],
        lifetime: Duration,
        now: OffsetDateTime,
    ) -> Result<(String, String), Error> {
        let (certificate, key, _) = self.issue(names, lifetime, now)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }

    /// How much of its life is over, from 0 to 1.
    fn age(&self, now: OffsetDateTime) -> f64 {
        let whole = (self.expires - self.born).max(1);
        let lived = now.unix_timestamp() - self.born;
        #[expect(clippy::cast_precision_loss, reason = "seconds of a life are few")]
        let age = lived as f64 / whole as f64;
        age
    }

    pub fn is_expired(&self, now: OffsetDateTime) -> bool {
        now.unix_timestamp() >= self.expires
    }

    pub fn expires(&self) -> i64 {
        self.expires
    }

    pub fn lifetime(&self) -> Duration {
        Duration::from_secs(u64::try_from(self.expires - self.born).unwrap_or(0))
    }

    fn store(&self, data: &mut BTreeMap<String, ByteString>, role: &str) {
        let mut put = |part: &str, text: &str| {
            data.insert(
                format!("{role}.{part}"),
                ByteString(text.as_bytes().to_vec()),
            );
        };
        put("name", &self.name);
        put("crt", &self.certificate);
        put("key", &self.key);
        put("born", &self.born.to_string());
        put("expires", &self.expires.to_string());
    }

    fn load(data: &BTreeMap<String, ByteString>, role: &'static str) -> Option<Self> {
        let text = |part: &str| {
            let bytes = &data.get(&format!("{role}.{part}"))?.0;
            String::from_utf8(bytes.clone()).ok()
        };
        Some(Self {
            name: text("name")?,
            certificate: text("crt")?,
            key: text("key")?,
            born: text("born")?.parse().ok()?,
            expires: text("expires")?.parse().ok()?,
        })
    }
}

/// A leaf certificate with its key.
pub struct Signed {
    pub key: rustls::sign::CertifiedKey,
    pub expires: OffsetDateTime,
}

// === impl Authorities ===

impl Authorities {
    pub fn new(lifetime: Duration, now: OffsetDateTime) -> Result<Self, Error> {
        Ok(Self {
            signing: Authority::generate(lifetime, now)?,
            next: None,
            previous: None,
        })
    }

    /// The set as it should be at `now`; the same set when nothing is due.
    pub fn tended(&self, lifetime: Duration, now: OffsetDateTime) -> Result<Self, Error> {
        if self.signing.is_expired(now) {
            // The operator was away for too long: nobody holds a leaf of it any more.
            return Self::new(lifetime, now);
        }
        let mut tended = self.clone();
        if tended.signing.age(now) >= ANNOUNCE && tended.next.is_none() {
            tended.next = Some(Authority::generate(lifetime, now)?);
        }
        if let (true, Some(next)) = (self.signing.age(now) >= PROMOTE, self.next.clone()) {
            tended.previous = Some(std::mem::replace(&mut tended.signing, next));
            tended.next = None;
        }
        if tended
            .previous
            .as_ref()
            .is_some_and(|authority| authority.is_expired(now))
        {
            tended.previous = None;
        }
        Ok(tended)
    }

    /// Every certificate that a leaf in use may chain to, as PEM.
    pub fn bundle(&self) -> String {
        [
            Some(&self.signing),
            self.next.as_ref(),
            self.previous.as_ref(),
        ]
        .into_iter()
        .flatten()
        .map(|authority| authority.certificate.as_str())
        .collect()
    }

    /// Beside what else is there.
    pub fn put(&self, data: &mut BTreeMap<String, ByteString>) {
        let all = [
            ("signing", Some(&self.signing)),
            ("next", self.next.as_ref()),
            ("previous", self.previous.as_ref()),
        ];
        for (role, authority) in all {
            let of_role = |key: &str| key.split('.').next() == Some(role);
            data.retain(|key, _| !of_role(key));
            if let Some(authority) = authority {
                authority.store(data, role);
            }
        }
    }

    pub fn from_data(data: &BTreeMap<String, ByteString>) -> Result<Self, Error> {
        Ok(Self {
            signing: Authority::load(data, "signing").ok_or(Error::Stored("signing"))?,
            next: Authority::load(data, "next"),
            previous: Authority::load(data, "previous"),
        })
    }
}

fn moment(seconds: i64) -> Result<OffsetDateTime, Error> {
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| Error::Stored("expires"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_secs(1000);

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_800_000_000 + seconds).unwrap()
    }

    #[test]
    fn the_bundle_always_covers_what_signs_before_and_after() {
        let mut set = Authorities::new(LIFE, at(0)).unwrap();
        for second in (0..5000).step_by(50) {
            let before = set.clone();
            set = set.tended(LIFE, at(second)).unwrap();
            assert!(
                before.bundle().contains(&set.signing.certificate),
                "announced before it signs, at {second}"
            );
            if !before.signing.is_expired(at(second)) {
                assert!(
                    set.bundle().contains(&before.signing.certificate),
                    "kept after, at {second}"
                );
            }
            assert!(!set.signing.is_expired(at(second)));
        }
    }

    #[test]
    fn nothing_is_due_in_between() {
        let set = Authorities::new(LIFE, at(0)).unwrap();
        assert!(set.tended(LIFE, at(599)).unwrap() == set);
        let announced = set.tended(LIFE, at(600)).unwrap();
        assert!(announced.signing == set.signing && announced.next.is_some());
        assert!(announced.tended(LIFE, at(749)).unwrap() == announced);
        let promoted = announced.tended(LIFE, at(750)).unwrap();
        assert!(Some(&promoted.signing) == announced.next.as_ref());
        assert!(promoted.previous.as_ref() == Some(&set.signing));
    }

    #[test]
    fn after_a_long_absence_all_is_new() {
        let set = Authorities::new(LIFE, at(0)).unwrap();
        let new = set.tended(LIFE, at(1000)).unwrap();
        assert!(new.signing != set.signing && new.previous.is_none());
    }

    #[test]
    fn the_secret_gives_back_what_was_put_in() {
        let set = Authorities::new(LIFE, at(0))
            .unwrap()
            .tended(LIFE, at(600))
            .unwrap();
        let mut data = BTreeMap::from([("path".to_owned(), ByteString(vec![1]))]);
        assert!(Authorities::from_data(&data).is_err());
        set.put(&mut data);
        assert!(Authorities::from_data(&data).unwrap() == set);
        let promoted = set.tended(LIFE, at(750)).unwrap();
        promoted.put(&mut data);
        assert!(Authorities::from_data(&data).unwrap() == promoted);
        assert!(data.contains_key("path"), "what is others' stays");
    }

    #[test]
    fn a_leaf_never_outlives_its_authority() {
        let set = Authorities::new(LIFE, at(0)).unwrap();
        let signed = set
            .signing
            .sign(&["x.y.svc".to_owned()], LIFE * 2, at(500))
            .unwrap();
        assert_eq!(signed.expires, at(1000));
    }
}
