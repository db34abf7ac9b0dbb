//! README's client in a tab that nobody looks at, with the timers that Chrome leaves it.

use std::path::Path;

use serde_json::json;

use crate::support::browser::{Browser, Tab};
use crate::support::{Answer, App, Gateway, Launch};

/// Chrome throttles a page after five minutes out of sight; this is the flag of its own tests.
const THROTTLED_SOON: &str = "--enable-features=IntensiveWakeUpThrottling:grace_period_seconds/10";

/// Keeps a record of README's client. `once_throttled` is the time between two pings, of which
/// the page saw neither on screen, as soon as it is nearly a minute.
///
/// Chrome throttles timers that were set by timers, or have repeated, five times. The client is
/// started by the fifth, so that its first ping is what its sixth would be.
const PAGE: &str = r#"<!doctype html><script>
let hiddenSince = Infinity;
document.onvisibilitychange = () =>
  hiddenSince = document.visibilityState === "hidden" ? performance.now() : Infinity;
let throttled, closed;
const onceThrottled = new Promise((resolve) => throttled = resolve);
const onceClosed = new Promise((resolve) => closed = resolve);
const setTimer = window.setInterval;
window.setInterval = (run, every) => {
  let last = 0;
  setTimer(() => {
    const now = performance.now();
    if (hiddenSince < last && now - last >= 55000) throttled(now - last);
    last = now;
    run();
  }, every);
};
let state;
const client = () => {
  README
  state = () => socket.readyState;
  socket.addEventListener("close", ({ code }) => closed(code));
};
const after = (timers) => timers ? setTimeout(after, 0, timers - 1) : client();
after(5);
</script>"#;

struct Visited {
    app: App,
    gateway: Gateway,
    tab: Tab,
}

/// The page's tab, once its client is connected.
async fn visit(browser: &mut Browser, timeout: Option<&str>) -> Visited {
    let app = App::start().await;
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let (_, client) = readme.split_once("```js\n").unwrap();
    let (client, _) = client.split_once("```").unwrap();
    // Loopback has no certificate.
    let page = PAGE.replace("README", &client.replace("wss://", "ws://"));
    app.answer(move |call| match call.method.as_str() {
        "GET" => Answer::status(200)
            .with_header("Content-Type", "text/html")
            .with_body(&page),
        _ => Answer::ok(),
    });
    let mut launch = Launch::for_app(&app)
        .arg("--upstream-port", &app.port().to_string())
        .arg("--pod-ip", "127.0.0.1");
    if let Some(timeout) = timeout {
        launch = launch.set("heartbeat.timeout", timeout);
    }
    let gateway = launch.start().await;
    let url = format!("http://{}/", gateway.clients);
    let tab = browser.open(&url).await;
    app.until_calls("message", 1).await;
    Visited { app, gateway, tab }
}

#[tokio::test]
async fn a_hidden_tab_stays_connected() {
    let mut browser = Browser::start(&[THROTTLED_SOON]).await;
    let usual = visit(&mut browser, None).await;
    // What a minute without a ping does, where silence may last for less.
    let short = visit(&mut browser, Some("45s")).await;
    browser.open("about:blank").await;

    for visited in [&usual, &short] {
        let between = browser.evaluate(&visited.tab, "onceThrottled").await;
        assert!(between.as_f64().unwrap() >= 55_000.0, "{between}");
    }
    assert_eq!(browser.evaluate(&short.tab, "onceClosed").await, 4408);
    assert_eq!(short.gateway.open_connections().await, 0);

    let seen = "[document.visibilityState, state()]";
    let open = 1;
    assert_eq!(
        browser.evaluate(&usual.tab, seen).await,
        json!(["hidden", open])
    );
    assert_eq!(usual.gateway.open_connections().await, 1);
    assert_eq!(usual.app.calls_of("close").len(), 0);
}
