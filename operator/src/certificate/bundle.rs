//! The certificates that the API server trusts (pure).
//!
//! Several replicas write one bundle, and they learn of a new authority one after the other. So
//! each adds what it misses, and takes away what nobody needs only after the others have had
//! time to say that they do.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use time::OffsetDateTime;

use super::validity::not_after;

/// How long a certificate stays that we do not ask for: all replicas have new files, or another
/// version of the operator has ended, long before.
const LINGERS: Duration = Duration::from_mins(10);

type Certificate = CertificateDer<'static>;

/// One replica's memory of certificates that others want.
#[derive(Default)]
pub struct Bundle {
    foreign: HashMap<Certificate, OffsetDateTime>,
}

impl Bundle {
    /// What should be there. `present` keeps its order, so that replicas agree.
    pub fn merged(
        &mut self,
        own: &[Certificate],
        present: &[Certificate],
        now: OffsetDateTime,
    ) -> Vec<Certificate> {
        self.foreign
            .retain(|known, _| present.contains(known) && !own.contains(known));
        let mut merged: Vec<Certificate> = Vec::new();
        for certificate in present {
            let stays = own.contains(certificate) || {
                let seen = *self.foreign.entry(certificate.clone()).or_insert(now);
                not_after(certificate).is_some_and(|end| end > now) && now < seen + LINGERS
            };
            if stays && !merged.contains(certificate) {
                merged.push(certificate.clone());
            }
        }
        for certificate in own {
            if !merged.contains(certificate) {
                merged.push(certificate.clone());
            }
        }
        merged
    }
}

/// The certificates in a PEM text; what is none is left out.
pub fn parse(pem: &[u8]) -> Vec<Certificate> {
    CertificateDer::pem_slice_iter(pem)
        .filter_map(Result::ok)
        .collect()
}

pub fn to_pem(certificates: &[Certificate]) -> String {
    let mut text = String::new();
    for certificate in certificates {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = STANDARD.encode(certificate);
        for line in encoded.as_bytes().chunks(64) {
            text.extend(line.iter().copied().map(char::from));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

/// The first to expire.
pub fn expires(certificates: &[Certificate]) -> Option<OffsetDateTime> {
    certificates.iter().filter_map(|one| not_after(one)).min()
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::super::authority::Authorities;
    use super::*;

    const LIFE: Duration = Duration::from_hours(1000);

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_800_000_000 + seconds).unwrap()
    }

    fn certificate(life: Duration) -> Certificate {
        let authorities = Authorities::new(life, at(0)).unwrap();
        parse(authorities.bundle().as_bytes()).remove(0)
    }

    #[test]
    fn pem_and_back() {
        let both = [certificate(LIFE), certificate(LIFE)];
        assert_eq!(parse(to_pem(&both).as_bytes()), both);
        assert!(parse(b"no certificate").is_empty());
    }

    #[test]
    fn two_replicas_with_different_files_agree() {
        let [old, new] = [certificate(LIFE), certificate(LIFE)];
        let (mut first, mut second) = (Bundle::default(), Bundle::default());
        // The first has new files already.
        let present = [old.clone()];
        let written = first.merged(from_ref(&new), &present, at(0));
        assert_eq!(written, [old.clone(), new.clone()]);
        for second_look in [5, 60, 500] {
            assert_eq!(
                second.merged(from_ref(&old), &written, at(second_look)),
                written
            );
            assert_eq!(
                first.merged(from_ref(&new), &written, at(second_look)),
                written
            );
        }
        // The second has them too.
        assert_eq!(second.merged(from_ref(&new), &written, at(510)), written);
        assert_eq!(first.merged(from_ref(&new), &written, at(600)), [new]);
    }

    #[test]
    fn what_expired_goes_at_once() {
        let [short, own] = [certificate(Duration::from_secs(10)), certificate(LIFE)];
        let present = [short.clone(), own.clone()];
        let mut bundle = Bundle::default();
        assert_eq!(bundle.merged(from_ref(&own), &present, at(9)), present);
        assert_eq!(bundle.merged(from_ref(&own), &present, at(10)), [own]);
    }
}
