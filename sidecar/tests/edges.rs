//! docs/edges.md: each proxy, set up as the page has it, overwrites what clients say of the user.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use support::reverse::Nginx;
use support::{Answer, App, Client, Gateway, Launch, eventually, free_port, http};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// pip fetches some hundred megabytes the first time.
const PATIENCE: Duration = Duration::from_mins(5);

/// What a client may say to be somebody else.
const CLAIMS: [(&str, &str); 4] = [
    ("X-BFL-USER", "admin"),
    ("x-bfl-user", "admin"),
    ("X_BFL_USER", "admin"),
    ("Connection", "Upgrade, X-BFL-USER"),
];

/// The page's block of code below this heading.
fn recipe(heading: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/edges.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    let block = section.split("```").nth(1).unwrap();
    block.split_once('\n').unwrap().1.to_owned()
}

/// The recipe with this machine's names for the page's, each of which it has to have.
fn here(recipe: &str, names: &[(&str, String)]) -> String {
    let mut recipe = recipe.to_owned();
    for (page, machine) in names {
        assert!(recipe.contains(page), "{page}: not in\n{recipe}");
        recipe = recipe.replace(page, machine);
    }
    recipe
}

async fn behind_a_proxy(app: &App) -> Gateway {
    Launch::for_app(app)
        .set("identity.trustedProxies", "127.0.0.1")
        .start()
        .await
}

/// The app takes a client with these headers for this user, whatever it claims beside.
async fn is_always(name: &str, edge: SocketAddr, app: &mut App, headers: &[(&str, &str)]) {
    for claim in CLAIMS {
        let headers = [headers, &[claim]].concat();
        Client::to(edge, "/ws", &headers).await.vanish();
        let open = app.next_of("open").await;
        assert_eq!(open.field("user_name"), name, "{claim:?}");
        app.next_of("close").await;
    }
}

fn basic(name_and_password: &str) -> String {
    format!("Basic {}", STANDARD.encode(name_and_password))
}

#[tokio::test]
async fn nginx_says_who_has_signed_in() {
    let mut app = App::start().await;
    let gateway = behind_a_proxy(&app).await;
    let users = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(users.path(), "ann:{PLAIN}secret\n").unwrap();
    let start = async |recipe: &str| {
        Nginx::serving(|address| {
            let names = [
                ("listen 80;", format!("listen {address};")),
                (
                    "http://app.default.svc",
                    format!("http://{}", gateway.clients),
                ),
            ];
            here(recipe, &names)
        })
        .await
    };
    let users = users.path().display().to_string();
    let whole = here(&recipe("nginx"), &[("/etc/nginx/users", users)]);
    let nginx = start(&whole).await;
    let ann = basic("ann:secret");
    let ann = [("Authorization", ann.as_str())];
    is_always("ann", nginx.address, &mut app, &ann).await;
    let admin = basic("admin:guessed");
    let admin = [("Authorization", admin.as_str())];
    for headers in [&admin[..], &CLAIMS] {
        let refused = http::upgrade(nginx.address, "/ws", headers).await;
        assert_eq!(refused.status, 401);
    }
    // What the page warns of.
    let lines = whole.lines().filter(|line| !line.contains("auth_basic"));
    let open = start(&lines.collect::<Vec<_>>().join("\n")).await;
    is_always("admin", open.address, &mut app, &admin).await;
}

struct Envoy {
    address: SocketAddr,
    _child: Child,
    _folder: tempfile::TempDir,
}

impl Envoy {
    async fn start(recipe: &str, app: SocketAddr, auth: SocketAddr) -> Self {
        let port = free_port();
        let service = |name: &str| format!("address: {name}, port_value: 80");
        let address = |to: SocketAddr| format!("address: {}, port_value: {}", to.ip(), to.port());
        let names = [
            (&*service("app.default.svc"), address(app)),
            (&*service("auth.default.svc"), address(auth)),
            (
                "address: 0.0.0.0, port_value: 8080",
                address(([127, 0, 0, 1], port).into()),
            ),
        ];
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("envoy.yaml");
        std::fs::write(&file, here(recipe, &names)).unwrap();
        let child = Command::new(set_up().await)
            .arg("--config-path")
            .arg(&file)
            .args(["--concurrency", "1", "--disable-hot-restart"])
            .args(["--log-level", "error"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        eventually("Envoy", async || TcpStream::connect(address).await.ok()).await;
        Self {
            address,
            _child: child,
            _folder: folder,
        }
    }
}

/// Envoy's path.
async fn set_up() -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/edges/setup");
    let output = tokio::time::timeout(PATIENCE, Command::new(script).kill_on_drop(true).output());
    let output = output.await.expect("pip takes too long").unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn envoy_says_who_has_signed_in() {
    let mut app = App::start().await;
    let gateway = behind_a_proxy(&app).await;
    let auth = App::start().await;
    auth.answer(|call| match call.header("cookie") {
        Some("session=anns") => Answer::ok().with_header("X-BFL-USER", "ann"),
        // Let in, as nobody.
        Some("session=guest") => Answer::ok(),
        _ => Answer::status(401),
    });
    let envoy = Envoy::start(&recipe("Envoy"), gateway.clients, auth.address).await;
    for (session, name) in [("session=anns", "ann"), ("session=guest", "")] {
        is_always(name, envoy.address, &mut app, &[("Cookie", session)]).await;
    }
    let refused = http::upgrade(envoy.address, "/ws", &CLAIMS).await;
    assert_eq!(refused.status, 401);
    assert!(auth.calls().iter().all(|call| call.path == "/verify/ws"));

    // What the page warns of: nothing removed first, and removed by the route.
    let removed = ("[{remove: x-bfl-user}]", "[]".to_owned());
    let claimed = here(&recipe("Envoy"), &[removed]);
    let open = Envoy::start(&claimed, gateway.clients, auth.address).await;
    let guest = [("Cookie", "session=guest"), CLAIMS[0]];
    Client::to(open.address, "/ws", &guest).await.vanish();
    assert_eq!(app.next_of("open").await.field("user_name"), "admin");
    app.next_of("close").await;
    let late = "{name: app, request_headers_to_remove: [x-bfl-user], domains";
    let names = [("{name: app, domains", late.to_owned())];
    let late = Envoy::start(&here(&claimed, &names), gateway.clients, auth.address).await;
    is_always("", late.address, &mut app, &[("Cookie", "session=anns")]).await;
}
