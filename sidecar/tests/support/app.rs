//! A real HTTP app on a port of its own. It records every request, and answers as the test says:
//! late, with an error, or by breaking the connection.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::answer::{Answer, Then};
use super::{free_port, http, soon};

/// One request, as it arrived whole.
#[derive(Clone)]
pub struct Call {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The body; `null` where it is none, as of a hook's question.
    json: Json,
    /// Which connection it came on, counted from 0.
    pub connection: usize,
    pub at: Instant,
}

type Handler = Arc<dyn Fn(&Call) -> Answer + Send + Sync>;

pub struct App {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    running: Option<Running>,
    next: usize,
}

struct Shared {
    calls: Mutex<Vec<Call>>,
    recorded: watch::Sender<usize>,
    handler: Mutex<Handler>,
    connections: AtomicUsize,
    open: AtomicUsize,
    idle: Mutex<Option<Duration>>,
}

struct Running {
    stop: watch::Sender<Stop>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    No,
    /// Requests that have arrived are answered.
    Gracefully,
    /// Every connection is reset.
    AtOnce,
}

impl App {
    pub async fn start() -> Self {
        Self::start_on(Ipv4Addr::LOCALHOST.into()).await
    }

    pub async fn start_on(ip: IpAddr) -> Self {
        let shared = Shared {
            calls: Mutex::default(),
            recorded: watch::Sender::new(0),
            handler: Mutex::new(Arc::new(|_| Answer::ok())),
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            idle: Mutex::default(),
        };
        let address = SocketAddr::new(ip, free_port());
        let mut app = Self {
            address,
            shared: Arc::new(shared),
            running: None,
            next: 0,
        };
        app.start_again().await;
        app
    }

    /// How the app answers from now on.
    pub fn answer(&self, handler: impl Fn(&Call) -> Answer + Send + Sync + 'static) {
        *self.shared.handler.lock().unwrap() = Arc::new(handler);
    }

    /// Answers messages so, everything else with 200.
    pub fn answer_messages(&self, answer: Answer) {
        self.answer(move |call| {
            if call.action() == "message" {
                answer.clone()
            } else {
                Answer::ok()
            }
        });
    }

    /// Answers opens so, everything else with 200.
    pub fn answer_opens(&self, answer: Answer) {
        self.answer(move |call| {
            if call.action() == "open" {
                answer.clone()
            } else {
                Answer::ok()
            }
        });
    }

    /// From now on connections are closed that have been idle for so long.
    pub fn close_idle_after(&self, idle: Duration) {
        *self.shared.idle.lock().unwrap() = Some(idle);
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// How many connections were ever accepted.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// How many connections are open.
    pub fn open_connections(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    pub fn calls(&self) -> Vec<Call> {
        self.shared.calls.lock().unwrap().clone()
    }

    /// All requests so far whose action is this.
    pub fn calls_of(&self, action: &str) -> Vec<Call> {
        self.calls()
            .into_iter()
            .filter(|call| call.action() == action)
            .collect()
    }

    /// The next request that no `next` has returned yet.
    pub async fn next(&mut self) -> Call {
        let at = self.next;
        self.next += 1;
        self.until(&format!("request {at} to the app"), move |calls| {
            calls.get(at).cloned()
        })
        .await
    }

    /// The next request, which has to be of this action.
    pub async fn next_of(&mut self, action: &str) -> Call {
        let call = self.next().await;
        assert_eq!(call.action(), action, "{call:?}");
        call
    }

    /// Waits until the requests so far have what is looked for.
    pub async fn until<T>(&self, what: &str, look: impl Fn(&[Call]) -> Option<T>) -> T {
        let mut recorded = self.shared.recorded.subscribe();
        let looking = async {
            loop {
                recorded.borrow_and_update();
                let found = look(&self.shared.calls.lock().unwrap());
                match found {
                    Some(found) => return found,
                    None => recorded.changed().await.unwrap(),
                }
            }
        };
        soon(what, looking).await
    }

    /// Waits for so many requests of an action in all.
    pub async fn until_calls(&self, action: &str, count: usize) -> Vec<Call> {
        let look = |calls: &[Call]| {
            let of_action: Vec<_> = calls
                .iter()
                .filter(|call| call.action() == action)
                .collect();
            (of_action.len() >= count).then(|| of_action.into_iter().cloned().collect())
        };
        self.until(&format!("{count} times {action}"), look).await
    }

    /// Ends as a well-behaved server does: what has arrived is answered.
    pub async fn stop(&mut self) {
        self.end(Stop::Gracefully).await;
    }

    /// Ends as a killed one does: connections are reset.
    pub async fn kill(&mut self) {
        self.end(Stop::AtOnce).await;
    }

    async fn end(&mut self, how: Stop) {
        let Some(Running { stop, task }) = self.running.take() else {
            return;
        };
        stop.send_replace(how);
        soon("the end of the app", task).await.unwrap();
    }

    /// On the same port as before.
    pub async fn start_again(&mut self) {
        let listener = super::eventually("the app's port", async || {
            TcpListener::bind(self.address).await.ok()
        })
        .await;
        let stop = watch::Sender::new(Stop::No);
        let task = tokio::spawn(serve(Arc::clone(&self.shared), listener, stop.subscribe()));
        self.running = Some(Running { stop, task });
    }
}

impl Drop for App {
    fn drop(&mut self) {
        if let Some(Running { stop, task }) = self.running.take() {
            stop.send_replace(Stop::AtOnce);
            task.abort();
        }
    }
}

async fn serve(shared: Arc<Shared>, listener: TcpListener, mut stop: watch::Receiver<Stop>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let number = shared.connections.fetch_add(1, Ordering::Relaxed);
                shared.open.fetch_add(1, Ordering::Relaxed);
                let (shared, stop) = (Arc::clone(&shared), stop.clone());
                connections.spawn(async move {
                    connection(Arc::clone(&shared), stream, number, stop).await;
                    shared.open.fetch_sub(1, Ordering::Relaxed);
                });
            }
            _ = stop.changed() => break,
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection(
    shared: Arc<Shared>,
    mut stream: TcpStream,
    number: usize,
    mut stop: watch::Receiver<Stop>,
) {
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::new();
    loop {
        let idle = *shared.idle.lock().unwrap();
        let idle = async {
            match idle {
                Some(idle) => tokio::time::sleep(idle).await,
                None => std::future::pending().await,
            }
        };
        let call = tokio::select! {
            call = read_call(&mut stream, &mut buffer, number) => call,
            () = idle => return,
            _ = stop.wait_for(|stop| *stop != Stop::No) => None,
        };
        let Some(call) = call else { break };
        let handler = Arc::clone(&shared.handler.lock().unwrap());
        let answer = handler(&call);
        shared.calls.lock().unwrap().push(call);
        shared.recorded.send_modify(|count| *count += 1);
        tokio::select! {
            () = answer.hold.over() => {}
            _ = stop.wait_for(|stop| *stop == Stop::AtOnce) => break,
        }
        if answer.then == Then::Reset {
            let _ = stream.set_zero_linger();
            return;
        }
        if stream.write_all(&answer.bytes()).await.is_err() || answer.then == Then::Close {
            return;
        }
    }
    if *stop.borrow() == Stop::AtOnce {
        let _ = stream.set_zero_linger();
    }
}

async fn read_call(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    connection: usize,
) -> Option<Call> {
    let (first, headers) = http::read_head(stream, buffer).await.ok()??;
    let len = http::header(&headers, "content-length").map_or(0, |len| len.parse().unwrap());
    let body = http::read_body(stream, buffer, len).await.ok()?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let json = serde_json::from_slice(&body).unwrap_or_default();
    (body.len() == len).then(|| Call {
        method,
        path,
        headers,
        body,
        json,
        connection,
        at: Instant::now(),
    })
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} {} {:?} {}",
            self.method,
            self.path,
            self.headers,
            String::from_utf8_lossy(&self.body)
        )
    }
}

impl Call {
    pub fn header(&self, name: &str) -> Option<&str> {
        http::header(&self.headers, name)
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> Json {
        self.json.clone()
    }

    pub fn action(&self) -> &str {
        self.field("action")
    }

    pub fn conn_id(&self) -> &str {
        self.field("conn_id")
    }

    /// A field that is a text; `""` where there is none.
    pub fn field(&self, name: &str) -> &str {
        self.json[name].as_str().unwrap_or_default()
    }

    pub fn event_id(&self) -> &str {
        self.header("x-ws-event-id").unwrap_or_default()
    }
}
