//! The server over real sockets.

use std::net::SocketAddr;

use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::*;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n";
const BODY: &str = "ready\n";
/// No test waits for it.
const FOR_EVER: Duration = Duration::from_hours(1);
const FEW: Places = Places {
    per_address: 4,
    strangers: 6,
    known: 2,
};

struct Started {
    address: SocketAddr,
    ending: Ending,
    turned_away: mpsc::Receiver<TurnedAway>,
    serving: AbortOnDropHandle<()>,
}

/// Who asks with a word of ours is known.
fn start(patience: Duration) -> Started {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    let address = listener.local_addr().unwrap();
    let ending = Ending::default();
    let (told, turned_away) = mpsc::channel(1000);
    let server = Server {
        tls: None,
        handler: async |request: Request<Incoming>| {
            if request.uri().path() == "/known" {
                request.extensions().get::<Caller>().unwrap().is_known();
            }
            Response::new(Full::from(BODY))
        },
        limits: Limits {
            places: FEW,
            patience,
        },
        ending: ending.clone(),
        on_turned_away: move |why, _| told.try_send(why).unwrap(),
    };
    Started {
        address,
        ending,
        turned_away,
        serving: AbortOnDropHandle::new(tokio::spawn(server.serve(listener))),
    }
}

async fn ask(stream: &mut TcpStream) -> String {
    write(stream, REQUEST).await;
    let mut answer = Vec::new();
    while !answer.ends_with(BODY.as_bytes()) {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "cut");
    }
    String::from_utf8(answer).unwrap()
}

async fn write(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
}

async fn from(own: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((own, 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

async fn closed(stream: &mut TcpStream) {
    // A reset is an end too.
    assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn who_goes_says_so_with_its_last_answers() {
    let started = start(FOR_EVER);
    let mut kept = TcpStream::connect(started.address).await.unwrap();
    for _ in 0..2 {
        let answer = ask(&mut kept).await;
        assert!(!answer.contains("connection: close"), "{answer}");
    }
    started.ending.parting.cancel();
    let mut new = TcpStream::connect(started.address).await.unwrap();
    for stream in [&mut kept, &mut new] {
        let answer = ask(stream).await;
        assert!(answer.contains("connection: close"), "{answer}");
        closed(stream).await;
    }
    started.ending.shutdown.cancel();
    started.serving.await.unwrap();
}

/// With all the time in the world for each: it is for who comes that the oldest goes.
#[tokio::test]
async fn who_says_nothing_keeps_nobody_out() {
    let mut started = start(FOR_EVER);
    for half in [&b""[..], b"GET / HTTP/1.1\r\nHost: he"] {
        let mut silent = Vec::new();
        for _ in 0..FEW.per_address * 3 {
            let mut stream = TcpStream::connect(started.address).await.unwrap();
            write(&mut stream, half).await;
            silent.push(stream);
        }
        ask(&mut TcpStream::connect(started.address).await.unwrap()).await;
        for oldest in &mut silent[..FEW.per_address * 2] {
            closed(oldest).await;
        }
        assert_eq!(started.turned_away.recv().await, Some(TurnedAway::Crowded));
    }
}

#[tokio::test]
async fn many_from_one_address_take_no_place_of_another() {
    let started = start(FOR_EVER);
    let mut bystander = from([127, 0, 0, 2], started.address).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(from([127, 0, 0, 3], started.address).await);
    }
    for last in 4..30 {
        silent.push(from([127, 0, 0, last], started.address).await);
        if last == 6 {
            ask(&mut bystander).await;
        }
    }
    let mut newcomer = from([127, 0, 0, 40], started.address).await;
    ask(&mut newcomer).await;
}

#[tokio::test]
async fn who_is_known_is_not_driven_out() {
    let started = start(FOR_EVER);
    let mut known = TcpStream::connect(started.address).await.unwrap();
    let request = b"GET /known HTTP/1.1\r\nHost: here\r\n\r\n";
    write(&mut known, request).await;
    let mut answer = Vec::new();
    while !answer.ends_with(BODY.as_bytes()) {
        assert_ne!(known.read_buf(&mut answer).await.unwrap(), 0, "cut");
    }
    let mut crowd = Vec::new();
    for _ in 0..50 {
        crowd.push(TcpStream::connect(started.address).await.unwrap());
    }
    ask(&mut known).await;
    // Those who are known are bounded too: the oldest of them goes, and all were answered.
    for _ in 0..FEW.known {
        let mut other = TcpStream::connect(started.address).await.unwrap();
        write(&mut other, request).await;
        let mut answer = [0; 12];
        other.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer[9..], StatusCode::OK.as_str().as_bytes());
        crowd.push(other);
    }
    closed(&mut known).await;
}

#[tokio::test]
async fn heads_that_do_not_end_have_a_deadline() {
    let mut started = start(Duration::from_millis(100));
    for half in [&b""[..], b"GET / HTTP/1.1\r\n", b"GET / HT"] {
        let mut slow = TcpStream::connect(started.address).await.unwrap();
        write(&mut slow, half).await;
        closed(&mut slow).await;
        assert_eq!(started.turned_away.recv().await, Some(TurnedAway::Late));
    }
    // One that is too long has not even that.
    let mut long = TcpStream::connect(started.address).await.unwrap();
    write(&mut long, b"GET / HTTP/1.1\r\nX: ").await;
    let _ = long.write_all(&vec![b'a'; BUFFER * 2]).await;
    let mut answer = Vec::new();
    let _ = long.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
}
