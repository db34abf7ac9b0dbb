//! What the operator and the API server count.

use std::collections::BTreeMap;
use std::ops::Sub;

use anyhow::Result;
use e2e::command::kubectl;
use e2e::operator;
use e2e::scrape::scrape;

/// What the operator watches.
const WATCHED: [&str; 8] = [
    "appmanifests",
    "daemonsets",
    "deployments",
    "poddisruptionbudgets",
    "pods",
    "secrets",
    "services",
    "statefulsets",
];

/// Upper bounds in seconds, and how many were at most so long.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram(Vec<(f64, f64)>);

#[derive(Clone, Debug)]
pub(crate) struct Numbers {
    /// The operator's own, over all replicas: from the request's head to the answer.
    pub(crate) own: Histogram,
    /// The API server's, of calls to our webhook for pods: the way there and back included.
    pub(crate) api_server: Histogram,
    lists: BTreeMap<String, f64>,
}

impl Numbers {
    /// Lists nothing itself.
    pub(crate) fn read(replicas: &[String]) -> Result<Self> {
        let text = api_server()?;
        let mut numbers = Self {
            own: Histogram::default(),
            api_server: Histogram::default(),
            lists: BTreeMap::new(),
        };
        for replica in replicas {
            let samples = scrape(operator::NAMESPACE, &format!("{replica}:8080"))?;
            for (name, value) in &samples {
                let bucket = "ws_operator_admission_duration_seconds_bucket{";
                if let Some(labels) = name.strip_prefix(bucket) {
                    numbers.own.count_in(labels.trim_end_matches('}'), *value);
                }
            }
        }
        let name = "apiserver_admission_webhook_admission_duration_seconds_bucket";
        numbers
            .api_server
            .add(&text, name, r#"name="pods.ws.olares.com""#);
        for (labels, value) in lines(&text, "apiserver_request_total") {
            let resource = label(labels, "resource");
            if label(labels, "verb") == "LIST" && WATCHED.contains(&resource) {
                *numbers.lists.entry(resource.to_owned()).or_default() += value;
            }
        }
        Ok(numbers)
    }

    /// How often each kind was listed, by anybody.
    pub(crate) fn lists_since(&self, before: &Self) -> BTreeMap<String, f64> {
        WATCHED
            .iter()
            .map(|kind| {
                let count = |numbers: &Self| numbers.lists.get(*kind).copied().unwrap_or_default();
                ((*kind).to_owned(), count(self) - count(before))
            })
            .collect()
    }
}

impl Sub for &Numbers {
    type Output = [Histogram; 2];

    fn sub(self, before: Self) -> [Histogram; 2] {
        let own = self.own.since(&before.own);
        [own, self.api_server.since(&before.api_server)]
    }
}

impl Histogram {
    fn add(&mut self, text: &str, name: &str, wanted: &str) {
        for (labels, value) in lines(text, name) {
            if labels.contains(wanted) {
                self.count_in(labels, value);
            }
        }
    }

    fn count_in(&mut self, labels: &str, value: f64) {
        let bound = label(labels, "le").parse().unwrap_or(f64::INFINITY);
        match self.0.iter_mut().find(|(known, _)| same(*known, bound)) {
            Some((_, count)) => *count += value,
            None => self.0.push((bound, value)),
        }
        self.0.sort_by(|a, b| a.0.total_cmp(&b.0));
    }

    fn since(&self, before: &Self) -> Self {
        let at = |bound: f64| {
            let found = before.0.iter().find(|(known, _)| same(*known, bound));
            found.map_or(0.0, |(_, count)| *count)
        };
        Self(
            self.0
                .iter()
                .map(|(bound, count)| (*bound, count - at(*bound)))
                .collect(),
        )
    }

    pub(crate) fn count(&self) -> f64 {
        self.0.last().map_or(0.0, |(_, count)| *count)
    }

    /// The bucket that this part of all is within: at most so many seconds.
    pub(crate) fn quantile(&self, part: f64) -> f64 {
        let rank = self.count() * part;
        let found = self.0.iter().find(|(_, count)| *count >= rank);
        found.map_or(f64::INFINITY, |(bound, _)| *bound)
    }
}

fn same(a: f64, b: f64) -> bool {
    a.total_cmp(&b).is_eq()
}

/// How many objects of that kind are stored.
pub(crate) fn objects(resource: &str) -> Result<f64> {
    let text = api_server()?;
    let count = ["apiserver_resource_objects", "apiserver_storage_objects"]
        .iter()
        .flat_map(|name| lines(&text, name))
        .find(|(labels, _)| label(labels, "resource") == resource);
    Ok(count.map_or(0.0, |(_, count)| count))
}

/// How often the operator has written a status.
pub(crate) fn status_writes() -> Result<f64> {
    let text = api_server()?;
    let ours = lines(&text, "apiserver_request_total").filter(|(labels, _)| {
        label(labels, "resource") == "appmanifests" && label(labels, "subresource") == "status"
    });
    Ok(ours.map(|(_, count)| count).sum())
}

fn api_server() -> Result<String> {
    kubectl(["get", "--raw", "/metrics"])
}

/// Each line of that metric: its labels and its value.
fn lines<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
    text.lines().filter_map(move |line| {
        let rest = line.strip_prefix(name)?.strip_prefix('{')?;
        let (labels, value) = rest.rsplit_once("} ")?;
        let value = value.split_whitespace().next()?;
        Some((labels, value.parse().ok()?))
    })
}

fn label<'a>(labels: &'a str, name: &str) -> &'a str {
    labels
        .split(',')
        .find_map(|part| part.strip_prefix(name)?.strip_prefix("=\""))
        .map_or("", |value| value.trim_end_matches('"'))
}
