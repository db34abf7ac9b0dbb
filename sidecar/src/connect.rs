//! `ws-gateway connect URL`: a WebSocket client for the terminal.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};

#[derive(Args, Clone, Debug)]
pub(crate) struct ConnectArgs {
    /// ws://HOST:PORT/PATH
    url: String,
    /// Send this as X-BFL-USER (counts only where this host is a trusted proxy)
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Send a header
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Send {"event":"ping"} so often, in seconds; 0: never
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    ping: u64,
}

pub(crate) fn main(args: ConnectArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(run(args));
    // A blocked read of standard input must not keep the program.
    runtime.shutdown_background();
    result
}

#[allow(clippy::print_stdout, reason = "a command for people")]
async fn run(args: ConnectArgs) -> anyhow::Result<()> {
    let mut request = args
        .url
        .as_str()
        .into_client_request()
        .with_context(|| args.url.clone())?;
    let user = args.user.map(|user| format!("X-BFL-USER: {user}"));
    for header in user.iter().chain(&args.headers) {
        let Some((name, value)) = header.split_once(':') else {
            bail!("--header {header:?}: expected NAME: VALUE")
        };
        let name: HeaderName = name.trim().parse().with_context(|| header.clone())?;
        request
            .headers_mut()
            .append(name, HeaderValue::from_str(value.trim())?);
    }
    let (mut socket, _) = tokio_tungstenite::connect_async(request)
        .await
        .with_context(|| args.url.clone())?;
    println!(
        "connected to {}; type a message and press enter, Ctrl-D ends",
        args.url
    );
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut pings = tokio::time::interval(Duration::from_secs(args.ping.max(1)));
    pings.reset();
    let mut typing = true;
    loop {
        tokio::select! {
            line = lines.next_line(), if typing => if let Some(line) = line? {
                socket.send(Message::text(line)).await?;
            } else {
                typing = false;
                socket.close(None).await?;
            },
            _ = pings.tick(), if args.ping > 0 && typing => socket.send(Message::text(r#"{"event":"ping","data":{}}"#)).await?,
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => println!("< {text}"),
                Some(Ok(Message::Binary(bytes))) => println!("< {} bytes of binary", bytes.len()),
                Some(Ok(Message::Close(frame))) => match frame {
                    Some(frame) => println!("closed: {} {}", u16::from(frame.code), frame.reason),
                    None => println!("closed"),
                },
                Some(Ok(_)) => {}
                Some(Err(_)) if !typing => return Ok(()),
                Some(Err(error)) => return Err(error.into()),
                None => return Ok(()),
            },
        }
    }
}
