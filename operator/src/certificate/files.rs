//! Certificates that others make: cert-manager, or whoever brings their own. They are files of a
//! mounted Secret, `tls.crt`, `tls.key` and `ca.crt`, which change in place.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, RootCertStore};
use time::OffsetDateTime;

use super::bundle;
use super::validity::not_after;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is not PEM as expected")]
    Pem { path: PathBuf, source: pem::Error },
    #[error("{path} holds no certificate")]
    Empty { path: PathBuf },
    #[error("tls.key is no private key of tls.crt")]
    Key(#[source] rustls::Error),
    #[error("ca.crt does not vouch for tls.crt as the certificate of {name}")]
    Untrusted { name: String, source: rustls::Error },
}

pub struct Files {
    pub folder: PathBuf,
    /// Somebody else writes `ca.crt` into the webhook configuration.
    pub injected: bool,
}

/// What the files say, found to fit together.
pub struct Found {
    pub key: CertifiedKey,
    pub expires: OffsetDateTime,
    pub authorities: Vec<CertificateDer<'static>>,
}

impl Files {
    /// `name`: what the API server calls the webhook.
    pub fn read(&self, name: &str) -> Result<Found, Error> {
        let (chain, file) = self.certificates("tls.crt")?;
        let (authorities, _) = self.certificates("ca.crt")?;
        let path = self.folder.join("tls.key");
        let key = PrivateKeyDer::from_pem_slice(&read(&path)?)
            .map_err(|source| Error::Pem { path, source })?;
        let expires = chain.first().and_then(|leaf| not_after(leaf));
        let expires = expires.ok_or(Error::Empty { path: file })?;
        verify(&chain, &authorities, name).map_err(|source| Error::Untrusted {
            name: name.to_owned(),
            source,
        })?;
        // A Secret that is replaced between two reads ends here.
        let key =
            CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(Error::Key)?;
        Ok(Found {
            key,
            expires,
            authorities,
        })
    }

    fn certificates(&self, name: &str) -> Result<(Vec<CertificateDer<'static>>, PathBuf), Error> {
        let path = self.folder.join(name);
        let found = bundle::parse(&read(&path)?);
        if found.is_empty() {
            return Err(Error::Empty { path });
        }
        Ok((found, path))
    }
}

fn read(path: &PathBuf) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Read {
        path: path.clone(),
        source,
    })
}

/// As the API server will: better to go on with what is served than to serve what it refuses.
pub fn verify(
    chain: &[CertificateDer<'_>],
    authorities: &[CertificateDer<'static>],
    name: &str,
) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities.iter().cloned());
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let (Some((leaf, others)), Ok(name)) = (chain.split_first(), ServerName::try_from(name)) else {
        return Err(rustls::Error::NoCertificatesPresented);
    };
    match verifier.verify_server_cert(leaf, others, &name, &[], UnixTime::now()) {
        Ok(_) => Ok(()),
        // A certificate that is its own authority: the API server takes it, this library does not.
        Err(rustls::Error::InvalidCertificate(CertificateError::Other(_)))
            if authorities.contains(leaf) =>
        {
            Ok(())
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{CertificateParams, KeyPair};

    use super::super::authority::Authorities;
    use super::*;

    const NAME: &str = "ws-operator.ws-operator.svc";

    struct Made {
        folder: tempfile::TempDir,
        authority: String,
    }

    /// `ca.crt` of `authority`, or of the one that signs.
    fn made(name: &str, authority: Option<&str>) -> Made {
        let now = OffsetDateTime::now_utc();
        let authorities = Authorities::new(Duration::from_hours(2), now).unwrap();
        let names = [name.to_owned()];
        let (certificate, key) = authorities
            .signing
            .sign_pem(&names, Duration::from_hours(1), now)
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let own = authorities.bundle();
        for (file, text) in [
            ("tls.crt", certificate.as_str()),
            ("tls.key", key.as_str()),
            ("ca.crt", authority.unwrap_or(&own)),
        ] {
            std::fs::write(folder.path().join(file), text).unwrap();
        }
        let authority = own;
        Made { folder, authority }
    }

    fn read(made: &Made) -> Result<Found, Error> {
        let files = Files {
            folder: made.folder.path().to_owned(),
            injected: false,
        };
        files.read(NAME)
    }

    #[test]
    fn files_that_fit_are_taken() {
        let found = read(&made(NAME, None)).map_err(|error| error.to_string());
        let found = found.unwrap();
        assert_eq!(found.authorities.len(), 1);
        let left = found.expires - OffsetDateTime::now_utc();
        assert!(left > Duration::from_mins(59), "{left}");
    }

    #[track_caller]
    fn refused(made: &Made, words: &str) {
        let error = read(made).err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some(words));
    }

    #[test]
    fn what_the_api_server_would_refuse_is_refused() {
        let words = format!("ca.crt does not vouch for tls.crt as the certificate of {NAME}");
        refused(&made("other.svc", None), &words);
        let other = made(NAME, None).authority;
        refused(&made(NAME, Some(&other)), &words);
    }

    #[test]
    fn files_of_two_pairs_are_refused() {
        let [first, second] = [made(NAME, None), made(NAME, None)];
        let key = second.folder.path().join("tls.key");
        std::fs::copy(key, first.folder.path().join("tls.key")).unwrap();
        refused(&first, "tls.key is no private key of tls.crt");
        let empty = first.folder.path().join("ca.crt");
        std::fs::write(&empty, "nothing").unwrap();
        refused(&first, &format!("{} holds no certificate", empty.display()));
    }

    #[test]
    fn a_certificate_may_be_its_own_authority() {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([NAME.to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        let made = made(NAME, Some(&certificate));
        let put = |file, text: &str| std::fs::write(made.folder.path().join(file), text).unwrap();
        put("tls.crt", &certificate);
        put("tls.key", &key.serialize_pem());
        assert!(read(&made).is_ok());
    }
}
