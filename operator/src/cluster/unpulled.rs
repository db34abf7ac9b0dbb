//! Pods that wait for the gateway's image, and the Secrets for it that the kubelet did not find.

use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use stanza::env;

use super::store::{Facts, Room};
use super::written::{LONGEST, ROOM, is_by};
use super::{Cluster, PodFacts};

/// Of the kubelet's words.
const WORDS: usize = 300;
/// Of Secrets of one pod.
const NAMES: usize = 16;
/// The reason of the kubelet's Events about Secrets.
pub const UNRETRIEVED: &str = "FailedToRetrieveImagePullSecret";
/// While a container waits for its image.
const WAITING: [&str; 7] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
];

/// Why a pod's gateway does not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpulled {
    /// The pod's uid.
    pod: String,
    image: String,
    /// The kubelet's.
    words: String,
    /// The Secrets with which it may pull.
    secrets: Vec<String>,
}

/// Secrets of a pod that are not there, as the kubelet tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unretrieved {
    /// The pod's uid.
    pod: String,
    secrets: Vec<String>,
    at: Option<Timestamp>,
}

impl Unpulled {
    pub(super) fn of(pod: &Pod) -> Option<Self> {
        let (spec, status) = (pod.spec.as_ref()?, pod.status.as_ref()?);
        let lists = [&status.container_statuses, &status.init_container_statuses];
        let mut all = lists.into_iter().flatten().flatten();
        let gateway = all.find(|one| one.name == env::CONTAINER)?;
        let waiting = gateway.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.as_deref()?;
        if !WAITING.contains(&reason) {
            return None;
        }
        let message = waiting.message.as_deref().unwrap_or_default();
        // What it waits for, between two attempts as well.
        let cause = message.split_once("ErrImagePull: ");
        let cause = cause.map_or(message, |(_, cause)| cause);
        let words = match reason {
            "ErrImagePull" | "ImagePullBackOff" => cause.to_owned(),
            reason => format!("{reason}: {cause}"),
        };
        let secrets = spec.image_pull_secrets.iter().flatten();
        Some(Self {
            pod: pod.uid().unwrap_or_default(),
            image: gateway.image.clone(),
            words: words.chars().take(WORDS).collect(),
            secrets: secrets
                .map(|secret| secret.name.clone())
                .take(NAMES)
                .collect(),
        })
    }
}

impl Facts for Unretrieved {
    type Object = Event;
    const ROOM: Option<Room> = Some(ROOM);

    fn read(object: Event) -> Option<Self> {
        if !is_by(&object, "kubelet") {
            return None;
        }
        let pod = object
            .involved_object
            .uid
            .filter(|uid| uid.len() <= LONGEST)?;
        let message = object.message?;
        let (_, names) = message.split_once('(')?;
        let (names, _) = names.split_once(')')?;
        let names = names.split(", ").filter(|name| name.len() <= LONGEST);
        Some(Self {
            pod,
            secrets: names.map(str::to_owned).take(NAMES).collect(),
            at: object
                .last_timestamp
                .or(object.metadata.creation_timestamp)
                .map(|time| time.0),
        })
    }

    fn same_as(&self, other: &Self) -> bool {
        (&self.pod, &self.secrets) == (&other.pod, &other.secrets)
    }

    fn since(&self) -> Option<Timestamp> {
        self.at
    }
}

impl Cluster {
    /// What a pod's gateway waits for where its image is not to be had.
    pub fn unpulled(&self, namespace: &str, pod: &PodFacts) -> Option<String> {
        let waits = pod.unpulled.as_ref()?;
        let told = self.unretrieved.in_namespace(namespace);
        let missing = |name: &&String| {
            told.iter()
                .any(|told| told.pod == waits.pod && told.secrets.contains(name))
        };
        let gone: Vec<_> = waits.secrets.iter().filter(missing).cloned().collect();
        let list = |names: &[String]| match names {
            [one] => format!("the Secret {one}"),
            several => format!("the Secrets {}", several.join(", ")),
        };
        let secrets = match (gone.as_slice(), waits.secrets.as_slice()) {
            ([], []) => format!("no Secret is named to pull it with in the namespace {namespace}"),
            ([], all) => format!(
                "it is pulled with {} of the namespace {namespace}",
                list(all)
            ),
            (gone, _) => format!("not found in the namespace {namespace}: {}", list(gone)),
        };
        let Unpulled { image, words, .. } = waits.as_ref();
        let pod = &pod.name;
        Some(format!(
            "the pod {pod} waits for the gateway's image {image}: {words}; {secrets}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    fn told(waiting: &Json, secrets: &Json, author: &str, uid: &str) -> Option<String> {
        let cluster = Cluster::default();
        cluster.pods.put_object(json!({
            "metadata": {"name": "chat-0", "namespace": "a", "uid": "7"},
            "spec": {"containers": [{"name": "olares-ws-sidecar"}], "imagePullSecrets": secrets},
            "status": {"containerStatuses": [{
                "name": "olares-ws-sidecar", "image": "hub.example/ws-gateway:1", "imageID": "",
                "ready": false, "restartCount": 0, "state": {"waiting": waiting},
            }]},
        }));
        cluster.unretrieved.put_object(json!({
            "metadata": {"name": "chat-0.1", "namespace": "a"}, "reason": UNRETRIEVED,
            "involvedObject": {"kind": "Pod", "name": "chat-0", "uid": uid},
            "source": {"component": author},
            "message": "Unable to retrieve some image pull secrets (gone, mallory); attempting to pull the image may not succeed.",
        }));
        let pod = cluster.pods.get("a", "chat-0").unwrap();
        cluster.unpulled("a", &pod)
    }

    #[test]
    fn the_secret_and_its_namespace_are_named() {
        let refused = json!({"reason": "ErrImagePull", "message": "unauthorized"});
        let both = json!([{"name": "there"}, {"name": "gone"}]);
        let head =
            "the pod chat-0 waits for the gateway's image hub.example/ws-gateway:1: unauthorized; ";
        let words = |secrets: &Json, author, uid| told(&refused, secrets, author, uid).unwrap();
        let missing = format!("{head}not found in the namespace a: the Secret gone");
        assert_eq!(words(&both, "kubelet", "7"), missing);
        let used = format!("{head}it is pulled with the Secrets there, gone of the namespace a");
        assert_eq!(words(&both, "mallory", "7"), used);
        assert_eq!(words(&both, "kubelet", "8"), used, "another pod's");
        let none = format!("{head}no Secret is named to pull it with in the namespace a");
        assert_eq!(words(&json!([]), "kubelet", "7"), none);
    }

    #[test]
    fn only_who_waits_for_an_image_is_told_of() {
        let told = |reason: &str, message: &str| {
            told(
                &json!({"reason": reason, "message": message}),
                &json!([]),
                "",
                "",
            )
        };
        let between = "Back-off pulling image \"i\": ErrImagePull: unauthorized";
        assert_eq!(
            told("ImagePullBackOff", between),
            told("ErrImagePull", "unauthorized")
        );
        let never = told("ErrImageNeverPull", "not present").unwrap();
        assert!(never.contains("ErrImageNeverPull: not present"), "{never}");
        assert_eq!(told("ContainerCreating", ""), None);
        assert_eq!(told("CrashLoopBackOff", ""), None);
    }
}
