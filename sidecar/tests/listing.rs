//! The list of connections: filters and pages.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use std::collections::BTreeSet;

use serde_json::json;
use support::{App, Client, Gateway, http};

#[tokio::test]
async fn the_list_can_be_filtered() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (mut clients, mut ids) = (Vec::new(), Vec::new());
    let token = ("Cookie", "auth_token=t");
    for (path, headers) in [
        ("/ws?namespace=one", vec![("X-BFL-USER", "ann"), token]),
        ("/ws?namespace=two", vec![("X-BFL-USER", "ann")]),
        ("/ws?namespace=one", vec![("X-BFL-USER", "bob"), token]),
        ("/ws", vec![]),
    ] {
        let (client, open) = Client::open_with(&gateway, &mut app, path, &headers).await;
        clients.push(client);
        ids.push(open["conn_id"].clone());
    }
    let names = async |query: &str| {
        let list = gateway.list(query).await;
        let users = list["data"].as_array().unwrap().clone();
        users
            .iter()
            .map(|user| {
                (
                    user["name"].as_str().unwrap().to_owned(),
                    user["conns_number"].as_u64().unwrap(),
                )
            })
            .collect::<Vec<_>>()
    };
    let all = [("", 1), ("ann", 2), ("bob", 1)].map(|(name, count)| (name.to_owned(), count));
    assert_eq!(names("").await, all);
    assert_eq!(names("?user=ann").await, all[1..2]);
    assert_eq!(names("?user=").await, all[..1]);
    assert_eq!(
        names("?namespace=one").await,
        [("ann".to_owned(), 1), ("bob".to_owned(), 1)]
    );
    assert_eq!(
        names("?user=ann&namespace=two").await,
        [("ann".to_owned(), 1)]
    );
    assert_eq!(names("?user=nobody%20there").await, []);
    let ann = gateway.list("?user=ann").await["data"][0].clone();
    assert_eq!(
        (&ann["public_conns_number"], &ann["public_conns"][0]["id"]),
        (&json!(1), &ids[1])
    );
}

#[tokio::test]
async fn the_list_in_pages() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let mut clients = Vec::new();
    for n in 0..25 {
        let user = format!("user{}", n % 3);
        clients.push(Client::open_with(&gateway, &mut app, "/ws", &[("X-BFL-USER", &user)]).await);
    }
    let (mut seen, mut pages, mut query) = (BTreeSet::new(), 0, "?limit=10".to_owned());
    loop {
        let page = gateway.list(&query).await;
        pages += 1;
        let users = page["data"].as_array().unwrap();
        let ids: Vec<_> = users
            .iter()
            .flat_map(|user| user["conns"].as_array().unwrap().clone())
            .collect();
        assert!(ids.len() <= 10);
        for entry in ids {
            assert!(
                seen.insert(entry["id"].as_str().unwrap().to_owned()),
                "listed twice"
            );
        }
        match page["continue"].as_str() {
            Some(next) => query = format!("?limit=10&continue={next}"),
            None => break,
        }
    }
    assert_eq!((seen.len(), pages), (25, 3));
    for wrong in ["?limit=0", "?limit=x", "?limit=-1", "?continue=x"] {
        let answer = http::get(gateway.clients, &format!("/tapr/ws/conn/list{wrong}")).await;
        assert_eq!(answer.status, 400);
        assert!(answer.text().contains(&wrong[1..6]), "{}", answer.text());
    }
}

/// What apps of the original read beside the page's fields, and with a slash more.
#[tokio::test]
async fn tokens_and_tags_of_agents_are_listed_and_a_slash_more_is_the_call() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let headers = [("Cookie", "auth_token=t1"), ("User-Agent", "curl/8.0")];
    let (mut client, _) = Client::open_with(&gateway, &mut app, "/ws", &headers).await;
    let (_other, open) = Client::open_with(&gateway, &mut app, "/ws", &[]).await;
    let prefix = "/tapr/ws/conn";
    let list = http::get(gateway.clients, &format!("{prefix}/list/")).await;
    let mut conns = list.json()["data"][0]["conns"].as_array().unwrap().clone();
    // Two of one millisecond come in any order.
    conns.sort_by_key(|conn| conn["token"] != "t1");
    assert_eq!(
        (&conns[0]["token"], &conns[0]["userAgentTag"]),
        (&json!("t1"), &json!("299e8ec99a2920b1b3aa0b619e1565bd"))
    );
    assert_eq!(
        (&conns[1]["token"], &conns[1]["userAgentTag"]),
        (&open["token"], &json!(""))
    );
    for (call, body) in [
        ("send", json!({"tokens": [conns[0]["token"]], "payload": 1})),
        (
            "close",
            json!({"tokens": [conns[0]["token"]], "code": 4000}),
        ),
    ] {
        let (path, body) = (format!("{prefix}/{call}/"), body.to_string());
        let answer = http::call(gateway.clients, "POST", &path, &[], body.as_bytes()).await;
        assert_eq!(
            (answer.status, &answer.json()["data"]["matched"]),
            (200, &json!(1)),
            "{call}"
        );
    }
    assert_eq!(client.text().await, "1");
    assert_eq!(client.close_code().await, 4000);
    for path in ["list//", "/list", ""] {
        let answer = http::get(gateway.clients, &format!("{prefix}/{path}")).await;
        assert_eq!(answer.status, 404, "{path}");
    }
}
