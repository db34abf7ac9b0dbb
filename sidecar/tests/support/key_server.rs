//! A real HTTP or HTTPS server that answers every request as the test says.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::{Answer, Gate, free_port, http, soon};

pub struct KeyServer {
    pub url: String,
    /// The certificate, in PEM.
    pub certificate: String,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    answer: Mutex<Answer>,
    /// The heads of the requests so far.
    requests: watch::Sender<Vec<String>>,
}

impl KeyServer {
    /// Over HTTP, with these keys.
    pub async fn start(keys: &[Json]) -> Self {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], free_port())), keys).await
    }

    pub async fn start_on(address: SocketAddr, keys: &[Json]) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        Self::serve(listener, None, keys)
    }

    /// Over HTTPS, by a certificate that vouches for itself and for `localhost`.
    pub async fn start_tls(keys: &[Json]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .unwrap();
        let tls = TlsAcceptor::from(Arc::new(config));
        let mut server = Self::serve(listener, Some(tls), keys);
        server.certificate = made.cert.pem();
        server
    }

    fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, keys: &[Json]) -> Self {
        let port = listener.local_addr().unwrap().port();
        let (scheme, host) = if tls.is_some() {
            ("https", "localhost")
        } else {
            ("http", "127.0.0.1")
        };
        let shared = Arc::new(Shared {
            answer: Mutex::new(set_of(keys)),
            requests: watch::Sender::new(Vec::new()),
        });
        let task = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let (shared, tls) = (Arc::clone(&shared), tls.clone());
                    tokio::spawn(async move {
                        match tls {
                            None => shared.converse(stream).await,
                            // Who does not trust us hangs up.
                            Some(tls) => {
                                if let Ok(stream) = tls.accept(stream).await {
                                    shared.converse(stream).await;
                                }
                            }
                        }
                    });
                }
            }
        });
        Self {
            url: format!("{scheme}://{host}:{port}/keys?v=1"),
            certificate: String::new(),
            shared,
            task,
        }
    }

    pub fn answer(&self, answer: Answer) {
        *self.shared.answer.lock().unwrap() = answer;
    }

    pub fn keys(&self, keys: &[Json]) {
        self.answer(set_of(keys));
    }

    /// Answers wait until the gate is open.
    pub fn hold(&self, keys: &[Json], gate: &Gate) {
        self.answer(set_of(keys).once_open(gate));
    }

    pub fn requests(&self) -> Vec<String> {
        self.shared.requests.borrow().clone()
    }

    pub async fn asked(&self, times: usize) {
        let mut requests = self.shared.requests.subscribe();
        let asked = requests.wait_for(|requests| requests.len() >= times);
        soon(&format!("{times} requests for the keys"), asked)
            .await
            .unwrap();
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    async fn converse(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut buffer = Vec::new();
        while let Ok(Some((first, headers))) = http::read_head(&mut stream, &mut buffer).await {
            let headers = headers
                .iter()
                .map(|(name, value)| format!("\n{name}: {value}"));
            let head = first + &headers.collect::<String>();
            self.requests.send_modify(|requests| requests.push(head));
            let answer = self.answer.lock().unwrap().clone();
            answer.held_back().await;
            if answer.is_reset() {
                return;
            }
            if stream.write_all(&answer.bytes()).await.is_err() {
                return;
            }
            let _ = stream.flush().await;
        }
    }
}

pub fn set_of(keys: &[Json]) -> Answer {
    Answer::ok().with_body(&json!({"keys": keys}).to_string())
}
