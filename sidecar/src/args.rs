//! What the command line says: the process' own flags, and one for each setting of the stanza.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgMatches, Args, Command};
use stanza::env;
use stanza::settings::{Reader, Setting, catalogue};

#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// The app's port. Unset: no callbacks
    #[arg(long, env = env::PORT, value_name = "PORT")]
    pub port: Option<String>,
    /// The app's callback path, such as /ws/message
    #[arg(long, env = env::URL, value_name = "PATH")]
    pub url: Option<String>,
    /// Settings as one JSON object, as the operator passes them; flags override this
    #[arg(long, env = env::OPTIONS, value_name = "JSON", hide_env_values = true)]
    pub options: Option<String>,
    #[command(flatten)]
    pub process: ProcessArgs,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct DevArgs {
    /// A chart folder, or an OlaresManifest.yaml
    pub chart: PathBuf,
    #[command(flatten)]
    pub process: ProcessArgs,
}

/// What concerns the process and not the protocol.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Process")]
pub struct ProcessArgs {
    /// Where clients and the app's admin calls arrive
    #[arg(
        long,
        env = "WS_LISTEN",
        value_name = "ADDRESS",
        default_value = "[::]:40010"
    )]
    pub listen: SocketAddr,
    /// Loopback's addresses take the place of all addresses
    #[arg(skip)]
    pub loopback: bool,
    /// Where /healthz, /readyz and /metrics are
    #[arg(
        long,
        env = "WS_OPS_LISTEN",
        value_name = "ADDRESS",
        default_value = "[::]:40011"
    )]
    pub ops_listen: SocketAddr,
    /// Where the admin API is for other pods; open only with an admin token
    #[arg(
        long,
        env = "WS_ADMIN_LISTEN",
        value_name = "ADDRESS",
        default_value = "[::]:40012"
    )]
    pub admin_listen: SocketAddr,
    /// Bearer token of the admin API: then it is asked of everyone, and other pods may use the API
    #[arg(long, env = env::ADMIN_TOKEN, value_name = "TOKEN", hide_env_values = true, value_parser = not_empty)]
    pub admin_token: Option<String>,
    /// A file with such tokens in its place, one a line; each counts, and it is read again when it changes
    #[arg(long, env = env::ADMIN_TOKEN_FILE, value_name = "FILE", conflicts_with = "admin_token")]
    pub admin_token_file: Option<PathBuf>,
    /// A file with the keys that callbacks are signed with, one a line: whsec_<base64>, or a text of
    /// 24 bytes and more. The first signs; it is read again when it changes
    #[arg(long, env = env::CALLBACK_SIGNING_FILE, value_name = "FILE")]
    pub callback_signing_file: Option<PathBuf>,
    /// How often the files of secrets are looked at
    #[arg(long, env = "WS_SECRET_POLL", value_name = "DURATION", default_value = "5s", value_parser = interval)]
    pub secret_poll: Duration,
    /// Pass everything that is not ours on to the app's own port (`expose: entrance`)
    #[arg(long, env = env::UPSTREAM_PORT, value_name = "PORT", requires = "pod_ip")]
    pub upstream_port: Option<u16>,
    /// The address at which the app's own port is reached: the pod's, not loopback
    #[arg(long, env = env::POD_IP, value_name = "IP")]
    pub pod_ip: Option<std::net::IpAddr>,
    /// Directory of the crash journal. Unset: none
    #[arg(long, env = env::JOURNAL, value_name = "DIR")]
    pub journal: Option<PathBuf>,
    /// What is logged: error, warn, info, debug, or a filter such as ws_gateway::session=debug
    #[arg(long, env = "WS_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,
    /// How it is logged
    #[arg(long, env = "WS_LOG_FORMAT", value_name = "FORMAT", default_value = "text", value_parser = ["text", "json"])]
    pub log_format: String,
    /// Worker threads, and as many again of lower priority for new connections, and for clients
    /// that send without pause. Unset: as many as the container's CPU limit allows
    #[arg(long, env = "WS_THREADS", value_name = "N")]
    pub threads: Option<usize>,
}

fn interval(text: &str) -> Result<Duration, String> {
    let allowed = "expected a duration of more than 0, such as 5s";
    let found = humantime::parse_duration(text).map_err(|error| format!("{error}; {allowed}"))?;
    Some(found)
        .filter(|found| !found.is_zero())
        .ok_or_else(|| allowed.to_owned())
}

/// A Secret's key that is empty must not mean that everybody may come in.
fn not_empty(token: &str) -> Result<String, &'static str> {
    if token.trim().is_empty() {
        return Err(
            "it is empty, so it would protect nothing; fill the Secret that it comes from, or leave \
             WS_ADMIN_TOKEN out",
        );
    }
    Ok(token.to_owned())
}

/// A flag for each setting that the gateway reads.
pub(crate) fn with_settings(command: Command) -> Command {
    command.args(settings().iter().map(flag))
}

fn settings() -> Vec<Setting> {
    catalogue()
        .into_iter()
        .filter(|setting| setting.reader == Reader::Gateway)
        .collect()
}

fn flag(setting: &Setting) -> Arg {
    let heading = setting
        .key
        .rsplit_once('.')
        .map_or("Settings", |(group, _)| group)
        .to_owned();
    let default = match &setting.default {
        serde_json::Value::Null => String::new(),
        serde_json::Value::Array(items) if items.is_empty() => String::new(),
        serde_json::Value::Array(items) => {
            let items: Vec<_> = items.iter().map(plain).collect();
            format!(" [default: {}]", items.join(","))
        }
        default => format!(" [default: {}]", plain(default)),
    };
    let arg = Arg::new(setting.key.clone())
        .long(env::flag(&setting.key))
        .env(env::variable(&setting.key))
        .hide_env_values(true)
        .value_name("VALUE")
        .help_heading(heading)
        .help(format!(
            "{} Expected: {}.{default}",
            setting.about, setting.allowed
        ));
    if setting.switch {
        arg.num_args(0..=1).default_missing_value("true")
    } else {
        arg
    }
}

fn plain(value: &serde_json::Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// The settings that were given as flags or variables, by key.
pub(crate) fn given_settings(matches: &ArgMatches) -> Vec<(String, String)> {
    let given = |setting: Setting| {
        let value = matches
            .try_get_one::<String>(&setting.key)
            .ok()
            .flatten()?
            .clone();
        Some((setting.key, value))
    };
    settings().into_iter().filter_map(given).collect()
}
