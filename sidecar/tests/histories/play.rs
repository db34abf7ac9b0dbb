//! One history from its seed.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use stanza::field::{AppPort, ByteSize, UrlPath};
use stanza::{CallbackTarget, settings};
use tokio::time::Instant;
use ws_codec::Message;
use ws_gateway::callback::event::OpenRequest;
use ws_gateway::connection::Connection;
use ws_gateway::gateway::Gateway;
use ws_gateway::identity::{ConnectionId, Identity, Token};
use ws_gateway::protocol::CloseReason;
use ws_gateway::selector::{Criteria, Selector};
use ws_gateway::session::Session;

use super::app::{App, Calls, Temper};
use super::check::check;
use super::client::{Exit, Story, act};

#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) failure: Option<String>,
    pub(crate) events: u64,
    pub(crate) told_of_loss: u64,
    #[expect(dead_code, reason = "printed when a history is repeated")]
    pub(crate) stories: BTreeMap<String, Story>,
}

pub(crate) fn play(seed: u64) -> Verdict {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(history(Rng::with_seed(seed)))
}

async fn history(mut rng: Rng) -> Verdict {
    let app = Arc::new(App::new(rng.fork(), temper(&mut rng)));
    let mut settings = settings::Gateway::default();
    settings.callback.queue = NonZeroU32::new(rng.u32(1..4)).unwrap();
    settings.drain.spread = Duration::ZERO;
    let pressed = rng.u8(0..8) == 0;
    if pressed {
        settings.limits.buffered = ByteSize(rng.usize(8 << 10..64 << 10));
    }
    let target = CallbackTarget {
        port: AppPort::new(80).unwrap(),
        path: UrlPath::new("/").unwrap(),
    };
    let gateway = Arc::new(Gateway::new(
        settings,
        Some((target, Calls(Arc::clone(&app)))),
        None,
    ));
    let heartbeat = tokio::spawn(ws_gateway::heartbeat::run(Arc::clone(&gateway)));

    let mut clients = Vec::new();
    for _ in 0..rng.u8(1..4) {
        let (ours, theirs) = tokio::io::duplex(1 << rng.u8(5..12));
        let id = ConnectionId::random();
        let identity = Identity {
            user: "".into(),
            namespace: None,
            token: Token::random(),
        };
        let request = OpenRequest {
            path: "/ws".into(),
            query: String::new(),
            headers: http::HeaderMap::new(),
            address: std::net::Ipv4Addr::LOCALHOST.into(),
        };
        let connection = Connection::new(id, identity, None, Arc::default());
        let session = tokio::spawn(Session::new(
            gateway.admit().unwrap(),
            connection,
            request,
            theirs,
            &[],
        ));
        clients.push((id, tokio::spawn(act(ours, rng.fork())), session));
    }
    let admin = tokio::spawn(meddle(
        Arc::clone(&gateway),
        clients.iter().map(|(id, ..)| *id).collect(),
        rng.fork(),
    ));

    let mut stories = BTreeMap::new();
    let mut hung = None;
    for (id, client, session) in clients {
        stories.insert(id.to_string(), client.await.unwrap());
        if tokio::time::timeout(Duration::from_hours(1), session)
            .await
            .is_err()
        {
            hung = Some(format!("{id}: the session does not end"));
        }
    }
    admin.await.unwrap();
    heartbeat.abort();
    let left = (!gateway.registry.is_empty() || gateway.budget.used() != 0).then(|| {
        format!(
            "left behind: {} connections, {} bytes",
            gateway.registry.len(),
            gateway.budget.used()
        )
    });
    let failure = hung
        .or_else(|| check(&app, &stories, pressed).err())
        .or(left);
    let told_of_loss = stories
        .values()
        .filter(|story| story.exit == Exit::Closed(1013))
        .count() as u64;
    Verdict {
        failure,
        events: app.log().len() as u64,
        told_of_loss,
        stories,
    }
}

/// A third of the apps is flawless: there nothing may be lost, whatever the clients do.
fn temper(rng: &mut Rng) -> Temper {
    let flawless = rng.u8(0..3) == 0;
    let mut percent = |most: u8| {
        if flawless || rng.bool() {
            0
        } else {
            rng.u8(0..=most)
        }
    };
    let mut temper = Temper {
        slow: 0,
        error: percent(40),
        busy: percent(30),
        doubt: percent(20),
        timeout: percent(5),
        closes: 0,
        down: None,
        born: Instant::now(),
    };
    temper.slow = if rng.bool() { rng.u8(0..=100) } else { 0 };
    if !flawless {
        temper.closes = if rng.u8(0..4) == 0 { 20 } else { 0 };
        if rng.u8(0..3) == 0 {
            let from = Duration::from_millis(rng.u64(0..3000));
            temper.down = Some((from, from + Duration::from_millis(rng.u64(10..20_000))));
        }
    }
    temper
}

/// The admin API's and the operating system's part: sends, closes, and the shutdown.
async fn meddle(gateway: Arc<Gateway<Calls>>, ids: Vec<ConnectionId>, mut rng: Rng) {
    for _ in 0..rng.u8(0..6) {
        tokio::time::sleep(Duration::from_millis(rng.u64(0..2000))).await;
        let id = ids[rng.usize(0..ids.len())];
        let one = Selector::new(Criteria {
            conns: Some(vec![id]),
            ..Criteria::default()
        })
        .unwrap();
        match rng.u8(0..20) {
            0 => gateway.registry.select(&one).iter().for_each(|connection| {
                connection.close(CloseReason::App {
                    code: 4000,
                    reason: "enough".into(),
                });
            }),
            1 => {
                ws_gateway::drain::close_all(&gateway, Duration::ZERO).await;
            }
            2..12 => {
                let all = Selector::new(Criteria {
                    all: true,
                    ..Criteria::default()
                })
                .unwrap();
                gateway.broadcast(&all, Message::text("\"to all\"")).await;
            }
            _ => {
                gateway.broadcast(&one, Message::text("\"to one\"")).await;
            }
        }
    }
}
