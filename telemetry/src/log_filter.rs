//! Which log lines there are: a level, or levels of modules (`info,ws_gateway::session=debug`).
//!
//! `EnvFilter` takes any word for a module, so a level or module that is misspelt silences
//! everything. Here it is an error that says what there is.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// What a filter may name.
#[derive(Clone, Copy, Debug)]
pub struct Modules<'a> {
    /// The program's own crate, as it is in log lines: `ws_gateway`.
    pub own: &'a str,
    /// The source of the crate's root: its `mod` lines are the modules.
    pub root: &'a str,
    /// Crates of others that log.
    pub others: &'a [&'a str],
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0:?} is no log filter: {1}")]
    Syntax(String, tracing_subscriber::filter::ParseError),
    #[error(
        "{found:?} is neither a level nor a module that logs; expected error, warn, info, debug, trace or off, or with commas levels of modules, such as info,{own}::{example}=debug. Modules of {own}: {modules}. Others: {others}"
    )]
    Unknown {
        found: String,
        own: String,
        example: String,
        modules: String,
        others: String,
    },
}

impl Modules<'_> {
    pub fn filter(&self, text: &str) -> Result<EnvFilter, Error> {
        let directives: Vec<&str> = text.split(',').map(str::trim).collect();
        let mut targets = directives.iter().copied().filter_map(target);
        if let Some(unknown) = targets.find(|target| !self.has(target)) {
            return Err(self.unknown(unknown));
        }
        EnvFilter::try_new(directives.join(","))
            .map_err(|error| Error::Syntax(text.to_owned(), error))
    }

    fn has(&self, target: &str) -> bool {
        let mut path = target.split("::");
        let first = path.next().unwrap_or_default();
        if first != self.own {
            return self.others.contains(&first);
        }
        path.next()
            .is_none_or(|module| self.modules().any(|known| known == module))
    }

    fn modules(&self) -> impl Iterator<Item = &str> {
        self.root.lines().filter_map(|line| {
            let rest = line
                .trim_start_matches("pub(crate) ")
                .trim_start_matches("pub ");
            rest.strip_prefix("mod ")?.strip_suffix(';')
        })
    }

    fn unknown(&self, target: &str) -> Error {
        let mut modules: Vec<_> = self.modules().collect();
        modules.sort_unstable();
        Error::Unknown {
            found: target.to_owned(),
            own: self.own.to_owned(),
            example: modules.first().copied().unwrap_or_default().to_owned(),
            modules: modules.join(", "),
            others: self.others.join(", "),
        }
    }
}

/// The module that a directive names: `target[span{field=value}]=level`, of which all but one may
/// be missing.
fn target(directive: &str) -> Option<&str> {
    let end = directive.find(['[', '=']).unwrap_or(directive.len());
    let (target, rest) = directive.split_at(end);
    let is_level = rest.is_empty() && target.parse::<LevelFilter>().is_ok();
    (!target.is_empty() && !is_level).then_some(target)
}

#[cfg(test)]
mod tests {
    use super::Modules;

    const MODULES: Modules<'static> = Modules {
        own: "ws_gateway",
        root: "//! mod not;\npub mod session;\nmod run;\n#[cfg(fuzzing)]\npub mod fuzzing;\nuse a;\n",
        others: &["hyper"],
    };

    #[test]
    fn what_names_something() {
        for good in [
            "",
            "info",
            "DEBUG",
            "off",
            "3",
            "ws_gateway=debug",
            "ws_gateway",
            "warn, ws_gateway::session=trace",
            "info,ws_gateway::session::lane=debug,hyper=warn",
            "hyper::proto=debug",
            "ws_gateway[open{user=ann}]=debug",
            "[open]=debug",
        ] {
            let filter = MODULES.filter(good);
            assert!(filter.is_ok(), "{good}: {filter:?}");
        }
    }

    #[test]
    fn what_would_be_silence_is_an_error() {
        for (bad, found) in [
            ("debgu", "debgu"),
            ("ws-gateway=debug", "ws-gateway"),
            ("info,gateway=debug", "gateway"),
            ("ws_gateway::sesion=debug", "ws_gateway::sesion"),
            ("info,requests", "requests"),
        ] {
            let error = MODULES.filter(bad).expect_err(bad).to_string();
            assert!(error.starts_with(&format!("{found:?}")), "{error}");
            assert!(error.contains("fuzzing, run, session"), "{error}");
        }
        assert!(MODULES.filter("ws_gateway=loud").is_err());
    }
}
