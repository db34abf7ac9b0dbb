//! The revisions of a release, and which of them counts (pure).

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ObjectReference, Secret};
use kube::ResourceExt;
use kube::core::PartialObjectMeta;

use crate::cluster::Facts;

/// What Helm says of a revision in its Secret's labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Revision {
    pub release: String,
    pub version: u32,
    pub status: Status,
    pub secret: String,
    pub uid: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Deployed,
    /// Install, upgrade or rollback is under way.
    Pending,
    Failed,
    Uninstalling,
    /// Superseded, or uninstalled with its history kept.
    Gone,
}

/// The revision that counts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chosen<'a> {
    pub(super) revision: &'a Revision,
    /// Helm is at work: its own new pods get the new settings, and nothing is rolled by us.
    pub(super) held: bool,
}

impl Facts for Revision {
    type Object = PartialObjectMeta<Secret>;

    fn read(object: Self::Object) -> Option<Self> {
        let label = |key| object.labels().get(key);
        Some(Self {
            release: label("name")?.clone(),
            version: label("version")?.parse().ok()?,
            status: match label("status")?.as_str() {
                "deployed" => Status::Deployed,
                "failed" => Status::Failed,
                "uninstalling" => Status::Uninstalling,
                pending if pending.starts_with("pending-") => Status::Pending,
                _ => Status::Gone,
            },
            secret: object.name_any(),
            uid: object.uid().unwrap_or_default(),
        })
    }

    fn same_as(&self, other: &Self) -> bool {
        self == other
    }
}

impl Revision {
    /// Its Secret, for Events.
    pub(super) fn object(&self, namespace: &str) -> ObjectReference {
        ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Secret".to_owned()),
            namespace: Some(namespace.to_owned()),
            name: Some(self.secret.clone()),
            uid: Some(self.uid.clone()),
            ..ObjectReference::default()
        }
    }
}

/// The newest revision while Helm works on it, else the newest that is deployed, else one that
/// failed: its pods may be there all the same. While a release is being uninstalled nothing
/// changes; it is gone when its Secret is.
pub(super) fn choose(revisions: &[Arc<Revision>]) -> Option<Chosen<'_>> {
    let newest = |wanted: &[Status]| {
        revisions
            .iter()
            .map(AsRef::as_ref)
            .filter(|revision| wanted.contains(&revision.status))
            .max_by_key(|revision| revision.version)
    };
    let last = revisions.iter().max_by_key(|revision| revision.version)?;
    if last.status == Status::Pending {
        return Some(Chosen {
            revision: last,
            held: true,
        });
    }
    let revision =
        newest(&[Status::Deployed]).or_else(|| newest(&[Status::Failed, Status::Uninstalling]))?;
    Some(Chosen {
        revision,
        held: last.status == Status::Uninstalling,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(revisions: &[(u32, Status)], expected: Option<(u32, bool)>) {
        let revisions: Vec<_> = revisions
            .iter()
            .map(|&(version, status)| {
                Arc::new(Revision {
                    release: "chat".to_owned(),
                    version,
                    status,
                    secret: format!("v{version}"),
                    uid: String::new(),
                })
            })
            .collect();
        let chosen = choose(&revisions);
        assert_eq!(
            chosen.map(|chosen| (chosen.revision.version, chosen.held)),
            expected
        );
    }

    #[test]
    fn the_revision_that_counts() {
        use Status::{Deployed, Failed, Gone, Pending, Uninstalling};
        check(&[], None);
        check(&[(1, Pending)], Some((1, true)));
        check(&[(1, Deployed)], Some((1, false)));
        check(&[(1, Deployed), (2, Pending)], Some((2, true)));
        check(&[(1, Gone), (2, Deployed)], Some((2, false)));
        check(&[(1, Deployed), (2, Failed)], Some((1, false)));
        check(&[(1, Failed)], Some((1, false)));
        check(&[(1, Gone), (2, Uninstalling)], Some((2, true)));
        check(&[(1, Gone), (2, Gone)], None);
    }
}
