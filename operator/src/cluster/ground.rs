//! What a namespace demands of containers: LimitRanges, ResourceQuotas, and who gives the user.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{LimitRange, LimitRangeItem, ResourceQuota, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;
use serde_json::{Value as Json, json};
use stanza::quantity::Amount;

use super::store::Facts;

type Quantities = BTreeMap<String, Quantity>;

/// What can be known of a namespace before a pod is tried.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ground {
    pub ranges: Vec<Arc<Ranges>>,
    pub quotas: Vec<Arc<Quota>>,
    /// The platform gives pods their user (OpenShift), and refuses another.
    pub gives_user: bool,
}

/// A LimitRange's words on containers.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranges(Vec<LimitRangeItem>);

#[derive(Clone, Debug, PartialEq)]
pub struct Quota {
    name: String,
    hard: Quantities,
    used: Quantities,
    /// It counts some pods only: which, is not looked at.
    scoped: bool,
}

impl Facts for Ranges {
    type Object = LimitRange;

    fn read(object: LimitRange) -> Option<Self> {
        let mut items = object.spec?.limits;
        items.retain(|item| item.type_ == "Container");
        Some(Self(items))
    }

    fn same_as(&self, other: &Self) -> bool {
        self == other
    }
}

impl Facts for Quota {
    type Object = ResourceQuota;

    fn read(object: ResourceQuota) -> Option<Self> {
        let name = object.name_any();
        let spec = object.spec?;
        let used = object.status.and_then(|status| status.used);
        Some(Self {
            name,
            hard: spec.hard.unwrap_or_default(),
            used: used.unwrap_or_default(),
            scoped: spec.scope_selector.is_some()
                || spec.scopes.is_some_and(|scopes| !scopes.is_empty()),
        })
    }

    fn same_as(&self, other: &Self) -> bool {
        self == other
    }
}

impl Ground {
    /// The container's resources as the LimitRanges want them: each no more changed than it must be.
    pub fn fit(&self, mut resources: ResourceRequirements) -> ResourceRequirements {
        for item in self.ranges.iter().flat_map(|ranges| &ranges.0) {
            for name in ["cpu", "memory", "ephemeral-storage"] {
                fit(item, name, &mut resources);
            }
        }
        resources
    }

    /// What a quota demands of every container, and this one does not say.
    pub fn unsaid(&self, resources: &ResourceRequirements) -> Option<String> {
        let quotas = self.quotas.iter().filter(|quota| !quota.scoped);
        quotas
            .flat_map(|quota| quota.hard.keys().map(move |key| (&quota.name, key)))
            .find(|(_, key)| matches!(Counted::of(key, resources), Counted::Unsaid))
            .map(|(name, key)| format!("the ResourceQuota {name} wants {key} of every container"))
    }

    /// A quota that has no room for so many of them more.
    pub fn full(&self, resources: &ResourceRequirements, count: usize) -> Option<String> {
        let count = i128::try_from(count).unwrap_or(i128::MAX);
        self.quotas.iter().filter(|quota| !quota.scoped).find_map(|quota| {
            quota.hard.iter().find_map(|(key, hard)| {
                let Counted::Said(wanted) = Counted::of(key, resources) else {
                        return None;
                    };
                let used = quota.used.get(key).and_then(amount).unwrap_or_default();
                let full = used.saturating_add(amount(wanted)?.saturating_mul(count)) > amount(hard)?;
                full.then(|| {
                    let (name, wanted) = (&quota.name, &wanted.0);
                    format!("the ResourceQuota {name} has no room for {wanted} of {key} more for each pod")
                })
            })
        })
    }

    /// What of it decides whether a pod is taken; the use of a quota changes all the time.
    pub fn conditions(&self) -> Json {
        let ranges: Vec<_> = self.ranges.iter().map(|ranges| &ranges.0).collect();
        let quotas: Vec<_> = self
            .quotas
            .iter()
            .map(|quota| (&quota.name, &quota.hard))
            .collect();
        json!([ranges, quotas, self.gives_user])
    }
}

/// What a quota's key counts of a container.
enum Counted<'a> {
    Said(&'a Quantity),
    Unsaid,
    /// Nothing of containers' resources.
    Other,
}

impl<'a> Counted<'a> {
    fn of(key: &str, resources: &'a ResourceRequirements) -> Self {
        let (side, name) = match key.split_once('.') {
            Some(("limits", name)) => (&resources.limits, name),
            Some(("requests", name)) => (&resources.requests, name),
            None => (&resources.requests, key),
            Some(_) => return Self::Other,
        };
        if !matches!(name, "cpu" | "memory") {
            return Self::Other;
        }
        side.as_ref()
            .and_then(|side| side.get(name))
            .map_or(Self::Unsaid, Self::Said)
    }
}

fn fit(item: &LimitRangeItem, name: &str, resources: &mut ResourceRequirements) {
    let of = |side: &Option<Quantities>| side.as_ref().and_then(|side| side.get(name)).cloned();
    let (least, most) = (of(&item.min), of(&item.max));
    let ratio = of(&item.max_limit_request_ratio);
    let (mut request, mut limit) = (of(&resources.requests), of(&resources.limits));
    limit = limit.or_else(|| of(&item.default));
    request = request.or_else(|| of(&item.default_request));
    if least.is_some() {
        request = request.or_else(|| limit.clone()).or_else(|| least.clone());
    }
    if most.is_some() {
        limit = limit.or_else(|| most.clone());
    }
    request = request.map(|value| between(value, least.as_ref(), most.as_ref()));
    limit = limit.map(|value| between(value, least.as_ref(), most.as_ref()));
    if let Some(ratio) = ratio {
        // Both have to be said.
        request = request.or_else(|| limit.clone());
        limit = limit.or_else(|| request.clone());
        if let (Some(asked), Some(ceiling)) = (&request, &limit)
            && exceeds(asked, ceiling, &ratio)
        {
            request.clone_from(&limit);
        }
    }
    if let (Some(asked), Some(ceiling)) = (&request, &limit)
        && amount(asked) > amount(ceiling)
    {
        request.clone_from(&limit);
    }
    for (side, value) in [
        (&mut resources.requests, request),
        (&mut resources.limits, limit),
    ] {
        if let Some(value) = value {
            side.get_or_insert_default().insert(name.to_owned(), value);
        }
    }
}

fn between(value: Quantity, least: Option<&Quantity>, most: Option<&Quantity>) -> Quantity {
    let number = amount(&value);
    let bound = least
        .filter(|least| number < amount(least))
        .or_else(|| most.filter(|most| amount(most).is_some_and(|most| number > Some(most))));
    bound.cloned().unwrap_or(value)
}

fn exceeds(request: &Quantity, limit: &Quantity, ratio: &Quantity) -> bool {
    let (Some(request), Some(limit), Some(ratio)) = (amount(request), amount(limit), amount(ratio))
    else {
        return false;
    };
    // The right side alone can be too much.
    limit.saturating_mul(1_000_000_000) > request.saturating_mul(ratio)
}

/// `None`: not as Kubernetes writes them.
fn amount(quantity: &Quantity) -> Option<i128> {
    Amount::read(&quantity.0).map(Amount::billionths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ground(range: &Json, quota: &Json) -> Ground {
        let ranges = json!({"metadata": {"name": "r"}, "spec": {"limits": [range]}});
        let quota = json!({
            "metadata": {"name": "q"}, "spec": {"hard": quota["hard"]}, "status": {"used": quota["used"]},
        });
        Ground {
            ranges: Ranges::read(serde_json::from_value(ranges).unwrap())
                .map(Arc::new)
                .into_iter()
                .collect(),
            quotas: Quota::read(serde_json::from_value(quota).unwrap())
                .map(Arc::new)
                .into_iter()
                .collect(),
            gives_user: false,
        }
    }

    fn own() -> ResourceRequirements {
        let own =
            json!({"requests": {"cpu": "10m", "memory": "24Mi"}, "limits": {"memory": "256Mi"}});
        serde_json::from_value(own).unwrap()
    }

    #[track_caller]
    fn fits(range: &Json, expected: &Json) {
        let mut range = range.clone();
        range["type"] = json!("Container");
        let fitted = ground(&range, &json!({})).fit(own());
        assert_eq!(&serde_json::to_value(fitted).unwrap(), expected, "{range}");
    }

    #[test]
    fn resources_are_as_a_limit_range_wants_them() {
        fits(
            &json!({"min": {"cpu": "50m"}}),
            &json!({"requests": {"cpu": "50m", "memory": "24Mi"}, "limits": {"memory": "256Mi"}}),
        );
        fits(
            &json!({"max": {"memory": "128Mi", "cpu": "1"}}),
            &json!({"requests": {"cpu": "10m", "memory": "24Mi"}, "limits": {"memory": "128Mi", "cpu": "1"}}),
        );
        fits(
            &json!({"maxLimitRequestRatio": {"memory": "4"}}),
            &json!({"requests": {"cpu": "10m", "memory": "256Mi"}, "limits": {"memory": "256Mi"}}),
        );
        fits(
            &json!({"default": {"cpu": "500m"}, "maxLimitRequestRatio": {"cpu": "2"}}),
            &json!({"requests": {"cpu": "500m", "memory": "24Mi"}, "limits": {"cpu": "500m", "memory": "256Mi"}}),
        );
        fits(
            &json!({"max": {"memory": "16Mi"}}),
            &json!({"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "16Mi"}}),
        );
    }

    #[test]
    fn what_a_quota_wants_of_every_container_is_seen() {
        let unsaid = |hard| ground(&json!({"type": "Pod"}), &json!({"hard": hard})).unsaid(&own());
        let told = "the ResourceQuota q wants limits.cpu of every container";
        assert_eq!(
            unsaid(json!({"pods": "9", "limits.cpu": "2"})).as_deref(),
            Some(told)
        );
        assert_eq!(
            unsaid(json!({"cpu": "1", "limits.memory": "1Gi", "count/pods": "9"})),
            None
        );
        assert_eq!(
            unsaid(json!({"requests.storage": "1Gi", "requests.nvidia.com/gpu": "1"})),
            None
        );
    }

    #[test]
    fn a_full_quota_is_seen() {
        let full = |used: &str, count| {
            let quota = json!({"hard": {"limits.memory": "1Gi"}, "used": {"limits.memory": used}});
            ground(&json!({"type": "Pod"}), &quota).full(&own(), count)
        };
        assert_eq!(full("512Mi", 2), None);
        assert!(
            full("512Mi", 3)
                .unwrap()
                .contains("no room for 256Mi of limits.memory")
        );
    }
}
