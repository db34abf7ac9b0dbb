//! `ws-gateway connect URL`: a WebSocket client for the terminal.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
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
    /// Seconds between {"event":"ping"} messages; 0: none
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    ping: u64,
    /// Send this instead of lines from standard input; may be given several times
    #[arg(long, value_name = "MESSAGE")]
    send: Vec<String>,
    /// Exit with 0 when a message that contains this arrives
    #[arg(long, value_name = "TEXT")]
    expect: Option<String>,
    /// With --expect: how many seconds to keep trying
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 30,
        requires = "expect"
    )]
    within: u64,
}

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(500);

pub(crate) fn main(args: &ConnectArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        match &args.expect {
            Some(text) => expect(args, text).await,
            None => run(args).await.map(drop),
        }
    });
    // A blocked read of standard input must not keep the program.
    runtime.shutdown_background();
    result
}

/// Until a connection has seen what was to be seen, or time is up.
async fn expect(args: &ConnectArgs, text: &str) -> anyhow::Result<()> {
    let mut last = String::from("nothing was heard");
    let attempts = async {
        loop {
            match run(args).await {
                Ok(true) => return,
                Ok(false) => "the connection was closed".clone_into(&mut last),
                Err(error) => last = format!("{error:#}"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    let limit = Duration::from_secs(args.within);
    let outcome = tokio::time::timeout(limit, attempts).await;
    outcome.map_err(|_| anyhow!("no {text:?} within {limit:?}: {last}"))
}

/// Whether what is expected was seen.
#[allow(clippy::print_stdout, reason = "a command for people")]
async fn run(args: &ConnectArgs) -> anyhow::Result<bool> {
    let mut request = args
        .url
        .as_str()
        .into_client_request()
        .with_context(|| args.url.clone())?;
    let user = args.user.as_ref().map(|user| format!("X-BFL-USER: {user}"));
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
    let typed = args.send.is_empty() && args.expect.is_none();
    let hint = if typed {
        "; type a message and press enter, Ctrl-D ends"
    } else {
        ""
    };
    println!("connected to {}{hint}", args.url);
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    for message in &args.send {
        socket.send(Message::text(message.as_str())).await?;
    }
    let mut pings = tokio::time::interval(Duration::from_secs(args.ping.max(1)));
    pings.reset();
    let mut typing = typed;
    if !typed && args.expect.is_none() {
        socket.close(None).await?;
    }
    loop {
        tokio::select! {
            line = lines.next_line(), if typing => if let Some(line) = line? {
                socket.send(Message::text(line)).await?;
            } else {
                typing = false;
                socket.close(None).await?;
            },
            _ = pings.tick(), if args.ping > 0 && (typing || args.expect.is_some()) => socket.send(Message::text(r#"{"event":"ping","data":{}}"#)).await?,
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    println!("< {text}");
                    if args.expect.as_ref().is_some_and(|wanted| text.contains(wanted)) {
                        socket.close(None).await?;
                        return Ok(true);
                    }
                }
                Some(Ok(Message::Binary(bytes))) => println!("< {} bytes of binary", bytes.len()),
                Some(Ok(Message::Close(frame))) => match frame {
                    Some(frame) => println!("closed: {} {}", u16::from(frame.code), frame.reason),
                    None => println!("closed"),
                },
                Some(Ok(_)) => {}
                Some(Err(_)) if !typing => return Ok(false),
                Some(Err(error)) => return Err(error.into()),
                None => return Ok(false),
            },
        }
    }
}
