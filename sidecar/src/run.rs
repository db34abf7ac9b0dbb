//! Wiring: settings, sockets, tasks, and their end.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use stanza::secret::SecretUse;
use stanza::settings::{CONNECTIONS, Limits};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::admin::guard::{AdminTokens, TokenLock};
use crate::args::{ProcessArgs, RunArgs};
use crate::callback::Signer;
use crate::callback::client::AppClient;
use crate::callback::signing::SigningKey;
use crate::config::Config;
use crate::drain::Drain;
use crate::gateway::Gateway;
use crate::journal::{Journal, Orphan};
use crate::listen::listeners;
use crate::proxy::{Border, Upstream};
use crate::secret_file::{Lost, SecretFile};
use crate::server::{Entrance, Server};
use crate::threads::LessUrgent;
use crate::upgrade::jwt::Keeper;
use crate::upgrade::{Door, Verifier};
use crate::{drain, expiry, heartbeat, logging, memory, recover, server};

const SIGNALS: &str = "signals cannot be received";

pub(crate) fn main(args: &RunArgs, given: &[(String, String)]) -> anyhow::Result<()> {
    start(Config::from_args(args, given)?, &args.process)
}

/// Runs until SIGTERM, or Ctrl-C.
pub(crate) fn start(config: Config, args: &ProcessArgs) -> anyhow::Result<()> {
    logging::start(args)?;
    for warning in &config.warnings {
        warn!("{warning}");
    }
    raise_file_limit();
    // `available_parallelism` knows the container's CPU limit.
    let threads = args
        .threads
        .or_else(|| std::thread::available_parallelism().ok().map(Into::into))
        .unwrap_or(1);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads.max(1))
        .enable_all()
        .build()
        .context("the runtime could not be started")?;
    let less_urgent = LessUrgent::start(threads.max(1)).context("threads could not be started")?;
    let ended = runtime.block_on(async {
        tokio::select! {
            biased;
            interrupted = drain::interrupted() => interrupted.context(SIGNALS),
            ended = run(config, args, &less_urgent) => ended,
        }
    });
    less_urgent.end();
    ended
}

async fn run(
    mut config: Config,
    args: &ProcessArgs,
    less_urgent: &LessUrgent,
) -> anyhow::Result<()> {
    settle(&mut config.settings.limits);
    let (verifier, keeper) = Verifier::new(&config.settings.jwt)?.unzip();
    let (journal, orphans) = args.journal.as_deref().map(Journal::open).unzip();
    let border = Border::new(&config.settings, config.target.as_ref());
    let (signing_file, signer) = signing(args);
    let app = config.target.map(|target| {
        let client = AppClient::new(
            target.port.get(),
            &config.settings.callback,
            config.settings.limits.admin_body.limit(),
            signer,
        );
        (target, client)
    });
    let clients = listeners(args.listen, args.loopback)?;
    let ops_listeners = listeners(args.ops_listen, args.loopback)?;
    let (token_file, admin_token) = admin_token(args);
    let remote_admin = admin_token
        .as_ref()
        .map(|_| listeners(args.admin_listen, args.loopback))
        .transpose()?;

    let mut gateway = Gateway::new(config.settings, app, journal);
    if let (Some(app), Some(_)) = (&mut gateway.app, args.upstream_port) {
        app.delivery.stay_on_path();
    }
    gateway.threads = less_urgent.beside_these();
    let gateway = Arc::new(gateway);
    let door = Arc::new(Door::new(Arc::clone(&gateway), verifier));
    let open = AtomicBool::new(false);
    let drain = Drain::default();
    let (connections, stop) = (TaskTracker::new(), CancellationToken::new());
    let server = Arc::new(Server {
        gateway: Arc::clone(&gateway),
        door,
        upstream: upstream(&gateway, args, border, &connections, &stop),
        admin_token,
        open,
        drain,
    });

    announce(&gateway, args, &clients)?;
    let (metrics, every) = (&gateway.metrics, args.secret_poll);
    if let Some(file) = signing_file {
        connections.spawn(file.watch(every, metrics.clone(), stop.clone()));
    }
    if let Some(file) = token_file {
        connections.spawn(file.watch(every, metrics.clone(), stop.clone()));
    }
    for listener in clients {
        serve(&server, Entrance::Clients, listener, &connections, &stop);
    }
    for listener in remote_admin.into_iter().flatten() {
        serve(
            &server,
            Entrance::RemoteAdmin,
            listener,
            &connections,
            &stop,
        );
    }
    for listener in ops_listeners {
        serve(&server, Entrance::Operations, listener, &connections, &stop);
    }
    close_idle(&server, &connections, &stop);
    let (for_gateway, for_server) = (Arc::clone(&gateway), Arc::clone(&server));
    let orphans = orphans.unwrap_or_default();
    let mut background = tokio::spawn(in_background(
        for_gateway,
        for_server,
        keeper.flatten(),
        orphans,
    ));

    let mut signal = pin!(drain::requested());
    let ends_later = tokio::select! {
        heard = signal.as_mut() => heard.map(|()| false),
        () = server.drain.asked() => Ok(true),
        // Without it nobody would be let in, or no silent client would ever end.
        ended = &mut background => bail!("the gateway's background task ended: {ended:?}"),
    };
    let ends_later = ends_later.context(SIGNALS)?;
    // Until the last close is told the app may still use the admin API.
    server
        .drain
        .ended(drain::run(&gateway, &gateway.sessions).await);
    if ends_later {
        // SIGTERM comes once the app is gone; until then it may have something to say.
        signal.await.context(SIGNALS)?;
    }
    drain::outlast_app(server.upstream.as_deref(), gateway.settings.drain.timeout).await;
    background.abort();
    let _ = background.await;
    stop.cancel();
    connections.close();
    connections.wait().await;
    Ok(())
}

/// All that goes on beside connections; it never ends by itself.
async fn in_background(
    gateway: Arc<Gateway<AppClient>>,
    server: Arc<Server>,
    keeper: Option<Keeper>,
    orphans: Vec<Orphan>,
) {
    if let Some(signer) = gateway.signer() {
        signer.ready().await;
    }
    let keep = async {
        if let Some(keeper) = keeper {
            keeper.run(gateway.metrics.clone()).await;
        }
    };
    let open = || server.open.store(true, Ordering::Release);
    let recovery = recover::run(&gateway, orphans, open);
    let silent = heartbeat::run(Arc::clone(&gateway));
    let expired = expiry::run(Arc::clone(&gateway));
    tokio::join!(recovery, silent, expired, keep);
}

/// On the threads for newcomers, where strangers come in.
fn serve(
    server: &Arc<Server>,
    entrance: Entrance,
    listener: TcpListener,
    connections: &TaskTracker,
    stop: &CancellationToken,
) {
    let of_the_pod = listener.local_addr().is_ok_and(|at| at.ip().is_loopback());
    let serving = server::serve(
        Arc::clone(server),
        entrance,
        listener,
        connections.clone(),
        stop.clone(),
    );
    let threads = &server.gateway.threads;
    let threads = if of_the_pod || entrance == Entrance::Operations {
        &threads.established
    } else {
        &threads.newcomers
    };
    connections.spawn_on(serving, threads);
}

fn signing(args: &ProcessArgs) -> (Option<SecretFile<SigningKey>>, Option<Signer>) {
    let Some(path) = &args.callback_signing_file else {
        return (None, None);
    };
    let what = SecretUse::CallbackSigning;
    // A key that is gone from the file still proves who calls, as long as the app takes it.
    let (file, key) = SecretFile::open(what, path, SigningKey::parse, Lost::KeepsOn);
    (Some(file), Some(Signer::new(key)))
}

fn admin_token(args: &ProcessArgs) -> (Option<SecretFile<AdminTokens>>, Option<TokenLock>) {
    let fixed = args.admin_token.clone().filter(|token| !token.is_empty());
    let Some(path) = &args.admin_token_file else {
        return (None, fixed.map(TokenLock::fixed));
    };
    let what = SecretUse::AdminToken;
    let (file, tokens) = SecretFile::open(what, path, AdminTokens::parse, Lost::IsGone);
    (Some(file), Some(TokenLock::new(tokens)))
}

fn upstream(
    gateway: &Gateway<AppClient>,
    args: &ProcessArgs,
    border: Border,
    tunnels: &TaskTracker,
    stop: &CancellationToken,
) -> Option<Arc<Upstream>> {
    let address = SocketAddr::new(args.pod_ip?, args.upstream_port?);
    Some(Arc::new(Upstream::new(
        address,
        border,
        gateway.settings.limits.idle,
        gateway.settings.callback.keep_alive,
        tunnels.clone(),
        stop.clone(),
    )))
}

/// Connections to the app that rest for too long.
fn close_idle(server: &Arc<Server>, tasks: &TaskTracker, stop: &CancellationToken) {
    let (server, stop) = (Arc::clone(server), stop.clone());
    tasks.spawn(async move {
        let callbacks = async {
            if let Some(app) = &server.gateway.app {
                app.delivery.transport().run(&stop).await;
            }
        };
        let proxied = async {
            if let Some(upstream) = &server.upstream {
                upstream.run(&stop).await;
            }
        };
        tokio::join!(callbacks, proxied);
    });
}

fn announce(
    gateway: &Gateway<AppClient>,
    args: &ProcessArgs,
    clients: &[TcpListener],
) -> anyhow::Result<()> {
    let target = gateway.app.as_ref().map(|app| &app.target.url);
    let addresses: Vec<String> = clients
        .iter()
        .map(|listener| Ok(listener.local_addr()?.to_string()))
        .collect::<std::io::Result<_>>()?;
    info!(
        clients = addresses.join(", "),
        path = %gateway.settings.routes.path,
        ops = %args.ops_listen,
        callbacks = target.map_or("none", String::as_str),
        "ready"
    );
    Ok(())
}

/// A connection costs about 1.1 KB while it is idle; this leaves room for what waits for it and
/// in the kernel, while it is opened and while others talk.
const MEMORY_PER_CONNECTION: u64 = 25 << 10;

/// `limits.connections`, where it is not set, follows from the memory that there is.
fn settle(limits: &mut Limits) {
    let asked = limits.connections;
    let memory = memory::limit();
    let connections = *limits
        .connections
        .get_or_insert_with(|| connections_of(memory));
    let because = match (asked, memory) {
        (Some(_), _) => "as set",
        (None, Some(_)) => "one per 25 KiB of the memory limit",
        (None, None) => "there is no memory limit",
    };
    info!(connections, because, "limits.connections");
}

fn connections_of(memory: Option<u64>) -> u32 {
    memory.map_or(CONNECTIONS, |bytes| {
        let connections = bytes / MEMORY_PER_CONNECTION;
        u32::try_from(connections).unwrap_or(u32::MAX).max(1)
    })
}

/// A connection is a file descriptor; the soft limit is often far below what is allowed.
fn raise_file_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Refused only where the limit is fixed, and then it stays as it is.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_follow_from_the_memory() {
        for (memory, connections) in [
            (Some(256 << 20), 10_485),
            (Some(128 << 20), 5_242),
            (Some(1), 1),
            (Some(u64::MAX), u32::MAX),
            (None, 10_000),
        ] {
            assert_eq!(connections_of(memory), connections, "{memory:?}");
        }
    }
}
