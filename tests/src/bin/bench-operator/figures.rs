//! What was measured, as a page.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use crate::load::Load;
use crate::machine::{self, Memory};
use crate::numbers::Histogram;

/// What has to hold.
const SLOWEST: Duration = Duration::from_millis(10);
const LARGEST_KIB: u64 = 60 << 10;
/// One watch that begins anew lists all pods again, page by page. The API server itself lists
/// Services every few minutes.
const RELIST: f64 = 10.0;

pub(crate) struct Figures {
    pub(crate) load: Load,
    /// While everything came at once: the operator's own admissions, and the API server's.
    pub(crate) storm: [Histogram; 2],
    /// With everything there, at a steady rate.
    pub(crate) steady: [Histogram; 2],
    /// Which part of the cores was at work in that time.
    pub(crate) busy: f64,
    pub(crate) while_loading: BTreeMap<String, f64>,
    pub(crate) while_restarting: BTreeMap<String, f64>,
    pub(crate) at_rest: Vec<Memory>,
    pub(crate) loaded: Vec<Memory>,
    pub(crate) anew: Vec<Memory>,
    pub(crate) admitted: Duration,
    pub(crate) reconciled: Duration,
}

impl Figures {
    /// Whether every mark is met.
    pub(crate) fn holds(&self) -> bool {
        self.marks().iter().all(|(_, holds)| *holds)
    }

    fn marks(&self) -> [(String, bool); 4] {
        let p99 = |when: &str, [own, _]: &[Histogram; 2]| {
            let p99 = own.quantile(0.99);
            let mark = format!(
                "p99 of admission, {when}, by the operator's own histogram: at most {} ms",
                ms(p99)
            );
            (mark, p99 < SLOWEST.as_secs_f64() + 1e-9)
        };
        let steadily = format!(
            "with all of them there and {} pods a second",
            self.load.rate
        );
        let largest = largest(&self.loaded, |memory| memory.peak)
            .max(largest(&self.anew, |memory| memory.peak));
        let relists: f64 = self.while_loading.values().sum();
        [
            p99("all at once", &self.storm),
            p99(&steadily, &self.steady),
            (
                format!("memory of a replica at its peak: {} MiB", mib(largest)),
                largest < LARGEST_KIB,
            ),
            (
                format!(
                    "list requests for watched kinds while the apps came, by anybody: {relists}"
                ),
                relists < RELIST,
            ),
        ]
    }

    pub(crate) fn page(&self) -> String {
        let mut page = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut page);
        page
    }

    fn write(&self, page: &mut String) -> std::fmt::Result {
        let Load {
            apps,
            pods_per_app,
            rate,
            replaced,
        } = self.load;
        let pods = apps * pods_per_app;
        let now = Timestamp::now().to_string();
        let date = now.split('T').next().unwrap_or_default();
        writeln!(page, "# The operator with {apps} apps and {pods} pods\n")?;
        writeln!(
            page,
            "Written by `make bench-operator` on {date}: {}. API server, controllers, kubelet and two \
             replicas of the operator share the machine. Each app has an AppManifest, a Service and a \
             Deployment of {pods_per_app} pods; the pods pass the real admission and are taken by no \
             scheduler.\n",
            machine::describe()
        )?;
        writeln!(page, "| mark | met |\n|---|---|")?;
        for (mark, holds) in self.marks() {
            writeln!(
                page,
                "| {mark} | {} |",
                if holds { "yes" } else { "**no**" }
            )?;
        }
        writeln!(
            page,
            "\n| admissions | count | p50 | p90 | p99 | p99.9 |\n|---|---|---|---|---|---|"
        )?;
        let once = "all at once";
        let steady = format!("{rate} pods a second");
        for (when, [own, api_server]) in [(once, &self.storm), (&steady, &self.steady)] {
            let rows = [
                ("the operator's own time", own),
                ("as the API server saw it (pods)", api_server),
            ];
            for (name, histogram) in rows {
                write!(page, "| {when}: {name}, ms | {} |", histogram.count())?;
                for part in [0.5, 0.9, 0.99, 0.999] {
                    write!(page, " ≤ {} |", ms(histogram.quantile(part)))?;
                }
                writeln!(page)?;
            }
        }
        writeln!(
            page,
            "\nAll at once: apps and Deployments are created by 16 clients that do not pause. Steadily: \
             with everything there, {replaced} pods are deleted, {rate} in a second, and made anew by their \
             ReplicaSets; the cores were {:.0} % at work. A figure is the histogram's bucket; the API \
             server's buckets end at 5, 25, 100 and 500 ms.",
            self.busy * 100.0
        )?;
        writeln!(
            page,
            "\n| memory of each replica, MiB | resident | peak |\n|---|---|---|"
        )?;
        let stages = [
            ("at rest", &self.at_rest),
            ("with all apps and pods", &self.loaded),
            ("after a restart with all of them there", &self.anew),
        ];
        for (stage, all) in stages {
            let column = |of: fn(&Memory) -> u64| {
                let values: Vec<String> = all.iter().map(|memory| mib(of(memory))).collect();
                values.join(", ")
            };
            let (resident, peak) = (
                column(|memory| memory.resident),
                column(|memory| memory.peak),
            );
            writeln!(page, "| {stage} | {resident} | {peak} |")?;
        }
        writeln!(
            page,
            "\n| list requests to the API server, by anybody | while the apps came | while the operator restarted |\n|---|---|---|"
        )?;
        for (kind, count) in &self.while_loading {
            let anew = self.while_restarting.get(kind).copied().unwrap_or_default();
            writeln!(page, "| {kind} | {count} | {anew} |")?;
        }
        writeln!(
            page,
            "\nA list is one request for each page of 100 objects. All pods were admitted {:.0} s \
             after the first app came; the operator had written its last status after {:.0} s.",
            self.admitted.as_secs_f64(),
            self.reconciled.as_secs_f64()
        )
    }
}

fn largest(all: &[Memory], of: fn(&Memory) -> u64) -> u64 {
    all.iter().map(of).max().unwrap_or_default()
}

fn ms(seconds: f64) -> String {
    format!("{}", (seconds * 1e5).round() / 100.0)
}

fn mib(kib: u64) -> String {
    format!("{}.{}", kib / 1024, kib % 1024 * 10 / 1024)
}
