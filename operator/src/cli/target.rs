//! An object of a namespace, named as for kubectl.

use std::str::FromStr;

use crate::shape::{Workload, WorkloadKind};

#[derive(Clone, Debug)]
pub(super) enum Target {
    Pod(String),
    Workload(Workload),
    App(String),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected =
            || "expected pod/NAME, deploy/NAME, sts/NAME, ds/NAME or app/NAME".to_owned();
        let (kind, name) = text.split_once('/').ok_or_else(expected)?;
        let name = name.to_owned();
        if name.is_empty() {
            return Err(expected());
        }
        let workload = |kind, name| Self::Workload(Workload { kind, name });
        Ok(match kind.to_ascii_lowercase().as_str() {
            "pod" | "pods" | "po" => Self::Pod(name),
            "deploy" | "deployment" | "deployments" => workload(WorkloadKind::Deployment, name),
            "sts" | "statefulset" | "statefulsets" => workload(WorkloadKind::StatefulSet, name),
            "ds" | "daemonset" | "daemonsets" => workload(WorkloadKind::DaemonSet, name),
            "app" | "appm" | "appmanifest" | "appmanifests" => Self::App(name),
            _ => return Err(expected()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_targets_are_refused() {
        for text in ["chat", "pod/", "svc/chat"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
