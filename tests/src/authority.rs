//! A certificate authority of the tests' own, as people have one.

use anyhow::{Context, Result};
use base64::Engine;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use serde_json::Value as Json;

use crate::command::kubectl;

/// Base64, as Kubernetes shows bytes.
pub fn decode(text: &str) -> Result<String> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(text)?;
    Ok(String::from_utf8(bytes)?)
}

pub fn encode(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(text)
}

pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self { issuer })
    }

    /// `ca.crt`.
    pub fn certificate(&self) -> String {
        self.issuer.pem()
    }

    /// `tls.crt` and `tls.key` of a server until the end of that year.
    pub fn sign(&self, name: &str, year: i32) -> Result<(String, String)> {
        let mut params = CertificateParams::new([name.to_owned()])?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_after = rcgen::date_time_ymd(year, 12, 31);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }
}

/// The caBundle of each webhook of a MutatingWebhookConfiguration as PEM.
pub fn bundles(configuration: &str) -> Result<Vec<String>> {
    let webhooks = webhooks(configuration)?;
    let bundle = |webhook: &Json| webhook["clientConfig"]["caBundle"].as_str().map(decode);
    webhooks
        .iter()
        .map(|webhook| bundle(webhook).unwrap_or_else(|| Ok(String::new())))
        .collect()
}

/// The webhooks of a MutatingWebhookConfiguration.
pub fn webhooks(configuration: &str) -> Result<Vec<Json>> {
    let place = ["get", "mutatingwebhookconfiguration", configuration];
    let text = kubectl(place.into_iter().chain(["-o", "json"]))?;
    let mut object: Json = serde_json::from_str(&text).context(text)?;
    let webhooks = object["webhooks"].take();
    Ok(webhooks.as_array().cloned().unwrap_or_default())
}
