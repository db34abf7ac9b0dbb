//! The Secrets that a stanza names, as files in the gateway's container and in no other.
//!
//! The operator never reads them. What is not there keeps no pod from starting (`optional`), as
//! the app is not to go because of its gateway: that one says what it lacks, and takes it when it
//! comes.

use k8s_openapi::api::core::v1::{
    EnvVar, KeyToPath, ProjectedVolumeSource, SecretProjection, Volume, VolumeMount,
    VolumeProjection,
};
use stanza::env;
use stanza::secret::{SecretRef, SecretUse, Secrets};

use crate::names;

/// The files are root's, and the gateway is not: readable for all who have the volume, which is
/// the gateway alone.
const MODE: i32 = 0o444;

/// One volume for all: kubelet replaces its files at once when a Secret changes.
pub(super) fn volume(secrets: &Secrets) -> Option<Volume> {
    if secrets.is_empty() {
        return None;
    }
    Some(Volume {
        name: names::SECRETS_VOLUME.to_owned(),
        projected: Some(ProjectedVolumeSource {
            default_mode: Some(MODE),
            sources: Some(secrets.iter().map(source).collect()),
        }),
        ..Volume::default()
    })
}

pub(super) fn mount(secrets: &Secrets) -> Option<VolumeMount> {
    (!secrets.is_empty()).then(|| VolumeMount {
        name: names::SECRETS_VOLUME.to_owned(),
        mount_path: env::SECRETS_DIR.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    })
}

/// Where the gateway finds them.
pub(super) fn variables(secrets: &Secrets) -> impl Iterator<Item = EnvVar> {
    secrets.iter().map(|(what, _)| EnvVar {
        name: what.variable().to_owned(),
        value: Some(what.path()),
        value_from: None,
    })
}

fn source((what, from): (SecretUse, &SecretRef)) -> VolumeProjection {
    VolumeProjection {
        secret: Some(SecretProjection {
            name: from.name.clone(),
            items: Some(vec![KeyToPath {
                key: from.key.clone(),
                path: what.as_str().to_owned(),
                mode: None,
            }]),
            optional: Some(true),
        }),
        ..VolumeProjection::default()
    }
}
