//! Metrics in the form that the scraper asks for.
//!
//! The registry writes [OpenMetrics 1.0]. Who does not ask for it gets the older [text format],
//! which has no `# EOF` and no `# UNIT`, and in which a counter's name ends as its sample's does.
//!
//! [OpenMetrics 1.0]: https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md
//! [text format]: https://prometheus.io/docs/instrumenting/exposition_formats/

use std::borrow::Cow;
use std::fmt::Write as _;

use prometheus_client::registry::Registry;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    OpenMetrics,
    Text,
}

impl Format {
    /// The first that is known of those that the `Accept` header prefers (RFC 9110 §12.5.1), as
    /// Prometheus' own libraries do; without one, text.
    pub fn accepted(accept: Option<&str>) -> Self {
        let ranges = accept.unwrap_or_default().split(',').filter_map(range);
        let mut best = (Self::Text, 0);
        for (format, quality) in ranges {
            if quality > best.1 {
                best = (format, quality);
            }
        }
        best.0
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    pub fn write(self, registry: &Registry) -> String {
        let mut open_metrics = String::new();
        // Fails only if writing to a string fails.
        let _ = prometheus_client::encoding::text::encode(&mut open_metrics, registry);
        match self {
            Self::OpenMetrics => open_metrics,
            Self::Text => as_text(&open_metrics),
        }
    }
}

/// A media range that is one of ours, and its quality in thousandths.
fn range(range: &str) -> Option<(Format, u16)> {
    let mut parts = range.split(';').map(str::trim);
    let kind = parts.next()?;
    let (mut version, mut quality) = (None, 1000);
    for part in parts {
        match part
            .split_once('=')
            .map(|(key, value)| (key.trim(), value.trim()))
        {
            Some(("version", value)) => version = Some(value),
            Some(("q", value)) => quality = thousandths(value)?,
            _ => {}
        }
    }
    let is = |wanted: &str| kind.eq_ignore_ascii_case(wanted);
    let format = match version {
        None | Some("1.0.0") if is("application/openmetrics-text") => Format::OpenMetrics,
        None | Some("0.0.4") if is("text/plain") => Format::Text,
        _ => return None,
    };
    Some((format, quality))
}

fn thousandths(quality: &str) -> Option<u16> {
    let (whole, fraction) = quality.split_once('.').unwrap_or((quality, ""));
    let digits = fraction.len() <= 3 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    match whole {
        "1" => Some(1000),
        "0" if digits => format!("{fraction:0<3}").parse().ok(),
        _ => None,
    }
}

fn as_text(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut counters = Vec::new();
    for line in open_metrics.lines() {
        // `# TYPE name kind`, and the same of HELP.
        if let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|rest| rest.split_once(' '))
            && matches!(kind, "counter" | "info" | "unknown")
        {
            counters.push((name, kind));
        }
    }
    let sample_of = |name| {
        let known = counters.iter().find(|(counter, _)| *counter == name);
        match known {
            Some((name, "counter")) => Cow::from(format!("{name}_total")),
            Some((name, "info")) => format!("{name}_info").into(),
            _ => Cow::from(name),
        }
    };
    for line in open_metrics.lines() {
        let _ = match line.split(' ').collect::<Vec<_>>()[..] {
            ["#", "EOF" | "UNIT", ..] => continue,
            ["#", "TYPE", name, kind] => {
                let kind = match kind {
                    "info" => "gauge",
                    "unknown" => "untyped",
                    kind => kind,
                };
                writeln!(text, "# TYPE {} {kind}", sample_of(name))
            }
            ["#", "HELP", name, ref rest @ ..] => {
                writeln!(text, "# HELP {} {}", sample_of(name), rest.join(" "))
            }
            _ => writeln!(text, "{line}"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::gauge::Gauge;
    use prometheus_client::metrics::info::Info;
    use prometheus_client::registry::{Registry, Unit};

    use super::Format;

    #[test]
    fn what_is_asked_for() {
        let prometheus_2 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for accept in [
            prometheus_2,
            prometheus_3,
            "application/openmetrics-text",
            "text/plain;q=0.5, Application/OpenMetrics-Text; version=1.0.0",
        ] {
            let format = Format::accepted(Some(accept));
            assert_eq!(format, Format::OpenMetrics, "{accept}");
        }
        for accept in [
            "",
            "*/*",
            "text/html,*/*;q=0.8",
            "text/plain",
            "text/plain;version=0.0.4",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;version=2.0.0",
            "application/openmetrics-text;q=0.1,text/plain;q=0.9",
            "application/openmetrics-text;q=much",
            "application/json",
        ] {
            assert_eq!(Format::accepted(Some(accept)), Format::Text, "{accept}");
        }
        assert_eq!(Format::accepted(None), Format::Text);
    }

    #[test]
    fn both_forms() {
        let mut registry = Registry::with_prefix("a");
        let counter = Counter::<u64>::default();
        counter.inc();
        registry.register("events", "Events, all", counter);
        registry.register("open", "Open now", Gauge::<i64>::default());
        let unit = Unit::Bytes;
        registry.register_with_unit("size", "Size", unit, Gauge::<i64>::default());
        registry.register("build", "Version", Info::new([("version", "1 # EOF")]));
        let expected = "\
            # HELP a_events_total Events, all.\n\
            # TYPE a_events_total counter\n\
            a_events_total 1\n\
            # HELP a_open Open now.\n\
            # TYPE a_open gauge\n\
            a_open 0\n\
            # HELP a_size_bytes Size.\n\
            # TYPE a_size_bytes gauge\n\
            a_size_bytes 0\n\
            # HELP a_build_info Version.\n\
            # TYPE a_build_info gauge\n\
            a_build_info{version=\"1 # EOF\"} 1\n";
        assert_eq!(Format::Text.write(&registry), expected);
        let open_metrics = Format::OpenMetrics.write(&registry);
        assert!(
            open_metrics.contains("# TYPE a_events counter\n"),
            "{open_metrics}"
        );
        assert!(open_metrics.ends_with("# EOF\n"), "{open_metrics}");
    }
}
