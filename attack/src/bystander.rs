//! Clients who talk while strangers attack, each in step with its own clock and not with the
//! answers: a gateway that stalls delays what was due meanwhile, and that counts.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::network::{HONEST, POD};
use crate::wire;

/// How many of them there are.
pub(crate) const BYSTANDERS: usize = 50;
/// Between two messages of one of them.
const PACE: Duration = Duration::from_millis(200);
/// How long the last answers are waited for: longer than a callback may be repeated.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// What a bystander says.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Ask {
    pub seq: usize,
    pub by: By,
}

/// How the app is to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum By {
    /// In its answer to the callback.
    Reply,
    /// By the admin API.
    Send,
}

#[derive(Deserialize)]
struct Answer {
    seq: usize,
}

/// A message, and when its answer was there, if it ever was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exchange {
    pub due: Instant,
    pub took: Option<Duration>,
}

/// A bystander's whole conversation.
#[derive(Debug)]
pub(crate) struct Talk {
    pub exchanges: Vec<Exchange>,
    /// What ended it before its time.
    pub closed: Option<String>,
}

/// A client that was let in.
#[derive(Debug)]
pub(crate) struct Client {
    read: Reader,
    write: Writer,
    by: By,
}

type Reader = BufReader<OwnedReadHalf>;
type Writer = OwnedWriteHalf;

impl Client {
    pub(crate) async fn open(index: usize) -> io::Result<Self> {
        let mut stream = dial().await?;
        let headers = format!("X-BFL-USER: bystander-{index}\r\n");
        stream.write_all(&wire::upgrade("/ws", &headers)).await?;
        let (read, write) = stream.into_split();
        let mut read = BufReader::new(read);
        match wire::status(&mut read).await? {
            101 => Ok(Self {
                read,
                write,
                by: if index.is_multiple_of(2) {
                    By::Reply
                } else {
                    By::Send
                },
            }),
            status => Err(io::Error::other(format!("answered {status}"))),
        }
    }

    /// One message and its answer, then the closing handshake's first half.
    pub(crate) async fn greet(mut self) -> io::Result<()> {
        ask(&mut self.write, 0, self.by).await?;
        answer(&mut self.read).await?;
        let goodbye = wire::frame(true, wire::CLOSE, &1000_u16.to_be_bytes());
        self.write.write_all(&goodbye).await
    }

    /// Talks until it is told to stop, and the last answer was there or is given up.
    pub(crate) async fn talk(self, index: usize, stop: watch::Receiver<bool>) -> Talk {
        let Self {
            read,
            mut write,
            by,
        } = self;
        let said = Mutex::new(Said::default());
        let end = {
            let mut hearing = pin!(hear(read, &said));
            let spoken = tokio::select! {
                end = &mut hearing => end,
                end = speak(&mut write, by, index, stop, &said) => end,
            };
            match spoken {
                Ok(()) if lock(&said).is_missing_any() => {
                    let last = tokio::time::timeout(LAST_ANSWERS, hearing).await;
                    last.unwrap_or(Ok(()))
                }
                end => end,
            }
        };
        Talk {
            exchanges: said
                .into_inner()
                .map_or_else(|_| Vec::new(), |said| said.exchanges),
            closed: end.err().map(|error| error.to_string()),
        }
    }
}

/// What was said so far, for both directions.
#[derive(Debug, Default)]
struct Said {
    exchanges: Vec<Exchange>,
    /// Nothing more will be said.
    over: bool,
}

impl Said {
    fn is_missing_any(&self) -> bool {
        self.exchanges
            .iter()
            .any(|exchange| exchange.took.is_none())
    }
}

fn lock(said: &Mutex<Said>) -> MutexGuard<'_, Said> {
    said.lock().expect("nobody panics")
}

async fn speak(
    write: &mut Writer,
    by: By,
    index: usize,
    mut stop: watch::Receiver<bool>,
    said: &Mutex<Said>,
) -> io::Result<()> {
    // They do not all speak at the same moment.
    let turn = PACE.mul_f64(index as f64 / BYSTANDERS as f64);
    let mut clock = tokio::time::interval_at(Instant::now() + turn, PACE);
    loop {
        let due = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => {
                lock(said).over = true;
                return Ok(());
            }
            due = clock.tick() => due,
        };
        let seq = {
            let mut said = lock(said);
            said.exchanges.push(Exchange { due, took: None });
            said.exchanges.len() - 1
        };
        ask(write, seq, by).await?;
    }
}

/// Ends well once everything is answered and nothing more will be said.
async fn hear(mut read: Reader, said: &Mutex<Said>) -> io::Result<()> {
    loop {
        let seq = answer(&mut read).await?;
        let mut said = lock(said);
        let exchange = said
            .exchanges
            .get_mut(seq)
            .ok_or(io::ErrorKind::InvalidData)?;
        if exchange.took.is_some() {
            return Err(io::Error::other(format!(
                "message {seq} was answered twice"
            )));
        }
        exchange.took = Some(exchange.due.elapsed());
        if said.over && !said.is_missing_any() {
            return Ok(());
        }
    }
}

async fn ask(write: &mut Writer, seq: usize, by: By) -> io::Result<()> {
    let ask = serde_json::to_vec(&Ask { seq, by })?;
    write.write_all(&wire::frame(true, wire::TEXT, &ask)).await
}

/// The number of the message that is answered.
async fn answer(read: &mut Reader) -> io::Result<usize> {
    loop {
        match wire::read_frame(read).await? {
            (wire::TEXT, payload) => {
                return Ok(serde_json::from_slice::<Answer>(&payload)?.seq);
            }
            (wire::CLOSE, payload) => {
                let why = String::from_utf8_lossy(payload.get(2..).unwrap_or_default());
                let code = wire::close_code(&payload);
                return Err(io::Error::other(format!("closed with {code} {why}")));
            }
            _ => {}
        }
    }
}

/// A connection to the gateway from where honest people come from.
pub(crate) async fn dial() -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(IpAddr::V4(HONEST), 0))?;
    let gateway = SocketAddr::new(IpAddr::V4(POD), stanza::env::CLIENT_PORT);
    let stream = socket.connect(gateway).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
