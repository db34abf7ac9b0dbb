//! One kind of strangers at a gateway of its own: quiet, attack, kill, restart.

use std::pin::pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};

use crate::app::{self, TOKEN_FLAG};
use crate::bystander::{BYSTANDERS, Client};
use crate::gateway::{Expose, Gateway, Pod};
use crate::network::{POD, WEB_PORT};
use crate::newcomer;
use crate::outcome::{Conversation, Memory, Outcome, Restarts, milliseconds};
use crate::strangers::{Figures, Kind};

/// How long each part takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Before the strangers come; zero: no times are wanted.
    pub quiet: Duration,
    pub attack: Duration,
}

/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(50);
const PROBE: Duration = Duration::from_secs(1);
/// So many probes in a row that fail make kubelet restart a container.
const DEAD: usize = 3;
/// How long the app may take to hear of the end of everybody.
const TOLD: Duration = Duration::from_secs(3);
/// How long anything may take that has nothing to do with strangers.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn play(
    pod: &Pod,
    kind: &'static Kind,
    expose: Expose,
    pace: Pace,
) -> anyhow::Result<Outcome> {
    let _journal = pod.empty_journal()?;
    let oom_kills = pod.cgroup.oom_kills();
    let mut app = start_app(pod, kind).await?;
    let mut gateway = pod.start(expose, kind.flags)?;
    gateway
        .ready(pod)
        .await
        .context("the gateway before any attack")?;

    let (stop, stopped) = watch::channel(false);
    let mut talks = JoinSet::new();
    for index in 0..BYSTANDERS {
        let client = Client::open(index)
            .await
            .context("a bystander before any attack")?;
        talks.spawn(client.talk(index, stopped.clone()));
    }
    tokio::time::sleep(pace.quiet).await;

    let began = Instant::now();
    let parts = kind.parts().into_iter();
    let mut strangers: Vec<_> = parts.map(Strangers::start).collect::<anyhow::Result<_>>()?;
    let newcomers = tokio::spawn(newcomer::come(expose, stopped));
    let mut memory = Memory::default();
    let mut course = pin!(async {
        tokio::time::sleep(pace.attack).await;
        stop.send_replace(true);
        (talks.join_all().await, newcomers.await)
    });
    let mut restarts = Restarts::default();
    let (talks, newcomers) = tokio::select! {
        course = &mut course => course,
        why = watch_over(pod, &mut gateway, &mut memory) => {
            restarts.during = Some(why?);
            stop.send_replace(true);
            course.await
        }
    };
    let log_lines = gateway.log_lines();
    gateway.kill().await;
    for crowd in &mut strangers {
        crowd.child.kill().await?;
    }
    restarts.oom_kills = pod.cgroup.oom_kills() - oom_kills;
    come_again(pod, kind, expose, &mut restarts).await?;
    app.kill().await?;
    Ok(Outcome {
        kind: kind.name,
        expose,
        strangers: strangers.iter().map(Strangers::figures).sum(),
        talk: Conversation::new(&talks, began),
        newcomers: newcomers?.into(),
        memory,
        restarts,
        log_lines,
    })
}

/// Until the gateway would be restarted: says why. Notes meanwhile how much memory it takes.
async fn watch_over(
    pod: &Pod,
    gateway: &mut Gateway,
    memory: &mut Memory,
) -> anyhow::Result<String> {
    let mut failed = 0;
    let (mut look, mut probe) = (interval(LOOK), interval(PROBE));
    let mut probing = Box::pin(pod.probe(false));
    let mut is_probing = true;
    loop {
        tokio::select! {
            _ = look.tick() => {
                memory.cgroup = memory.cgroup.max(pod.cgroup.used());
                memory.resident = memory.resident.max(gateway.resident());
                if let Some(status) = gateway.exited()? {
                    return Ok(format!("ended with {status}"));
                }
            }
            alive = &mut probing, if is_probing => {
                is_probing = false;
                failed = if alive { 0 } else { failed + 1 };
                if failed == DEAD {
                    return Ok(format!("{DEAD} probes in a row failed"));
                }
            }
            _ = probe.tick(), if !is_probing => {
                probing = Box::pin(pod.probe(false));
                is_probing = true;
            }
        }
    }
}

/// After a kill, and without strangers: the container starts anew with the same journal.
async fn come_again(
    pod: &Pod,
    kind: &'static Kind,
    expose: Expose,
    restarts: &mut Restarts,
) -> anyhow::Result<()> {
    let mut gateway = pod.start(expose, kind.flags)?;
    match gateway.ready(pod).await {
        Ok(took) => restarts.after = Some(milliseconds(took)),
        Err(error) => {
            restarts.why_not = Some(format!("{error:#}"));
            return Ok(());
        }
    }
    if timeout(PATIENCE, newcomer::get_in(expose, 1, &mut 0))
        .await
        .is_err()
    {
        restarts.why_not = Some("nobody is let in".to_owned());
    }
    let began = Instant::now();
    let mut open = usize::MAX;
    while open > 0 && began.elapsed() < TOLD {
        open = ask_app(app::OPEN).await?.trim().parse()?;
        tokio::time::sleep(LOOK).await;
    }
    restarts.untold = Some(open);
    gateway.kill().await;
    Ok(())
}

async fn start_app(pod: &Pod, kind: &Kind) -> anyhow::Result<Child> {
    let mut command = pod.inside(&std::env::current_exe()?, false);
    command.arg("app");
    if kind.flags.contains(&TOKEN_FLAG) {
        let token = TOKEN_FLAG.split_once('=').map_or("", |(_, token)| token);
        command.args(["--token", token]);
    }
    let app = command.spawn()?;
    let began = Instant::now();
    while ask_app("/").await.is_err() {
        if began.elapsed() > PATIENCE {
            bail!("the app does not start");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(app)
}

/// Past the gateway.
async fn ask_app(path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect((POD, WEB_PORT)).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (_, body) = answer.split_once("\r\n\r\n").context("half an answer")?;
    Ok(body.to_owned())
}

/// The strangers' process. Their machine is not the clients': they only get what those leave over.
#[derive(Debug)]
struct Strangers {
    child: Child,
    figures: Arc<Mutex<Figures>>,
}

impl Strangers {
    fn start(kind: &Kind) -> anyhow::Result<Self> {
        let mut child = Command::new("chrt")
            .args(["--idle", "0"])
            .arg(std::env::current_exe()?)
            .args(["strangers", kind.name])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let told = child.stdout.take().context("the strangers' word")?;
        let figures = Arc::<Mutex<Figures>>::default();
        let into = Arc::clone(&figures);
        tokio::spawn(async move {
            let mut lines = BufReader::new(told).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if let Ok(told) = serde_json::from_str(&line) {
                    *into.lock().expect("nobody panics") = told;
                }
            }
        });
        Ok(Self { child, figures })
    }

    fn figures(&self) -> Figures {
        *self.figures.lock().expect("nobody panics")
    }
}
