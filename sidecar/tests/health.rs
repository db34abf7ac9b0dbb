//! What load balancers ask on the clients' port (`health.path`).
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use support::{Answer, App, Client, Gate, Gateway, Launch, http};

async fn status(gateway: &Gateway, path: &str) -> u16 {
    http::get(gateway.clients, path).await.status
}

#[tokio::test]
async fn a_probe_on_the_clients_port() {
    let app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let probed = http::get(gateway.clients, "/healthz").await;
    assert_eq!((probed.status, probed.text().as_str()), (200, "ok\n"));
    for elsewhere in ["/", "/readyz", "/metrics", "/healthz/more"] {
        assert_eq!(status(&gateway, elsewhere).await, 404, "{elsewhere}");
    }
    assert!(app.calls().is_empty());
}

#[tokio::test]
async fn at_a_path_of_its_own() {
    let app = App::start().await;
    // Some load balancers ask the path that they lead to.
    for path in ["/", "/ws"] {
        let gateway = Launch::for_app(&app).set("health.path", path).start().await;
        assert_eq!(status(&gateway, path).await, 200, "{path}");
        assert_eq!(status(&gateway, "/healthz").await, 404, "{path}");
        Client::connect(&gateway).await;
    }
}

/// In front of the app its paths are its own, if nobody says otherwise.
#[tokio::test]
async fn an_apps_own_path_stays_its_own() {
    let app = App::start().await;
    app.answer(|_| Answer::status(418));
    let in_front = || {
        Launch::for_app(&app)
            .arg("--upstream-port", &app.port().to_string())
            .arg("--pod-ip", "127.0.0.1")
    };
    let gateway = in_front().start().await;
    assert_eq!(status(&gateway, "/healthz").await, 418);
    let gateway = in_front().set("health.path", "/up").start().await;
    assert_eq!(status(&gateway, "/up").await, 200);
    assert_eq!(status(&gateway, "/healthz").await, 418);
}

/// A load balancer leads nobody to a gateway that lets nobody in; why is not for strangers.
#[tokio::test]
async fn who_shuts_down_says_so() {
    let mut app = App::start().await;
    let gate = Gate::closed();
    let hold = gate.clone();
    app.answer(move |call| match call.action() {
        "close" => Answer::ok().once_open(&hold),
        _ => Answer::ok(),
    });
    let mut gateway = Gateway::start(&app).await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    gateway.terminate();
    assert_eq!(client.close_code().await, 1001);
    let probed = http::get(gateway.clients, "/healthz").await;
    assert_eq!(
        (probed.status, probed.text().as_str()),
        (503, "unavailable\n")
    );
    gate.open();
    assert!(gateway.exited().await.success());
}
