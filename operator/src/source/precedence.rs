//! Which source wins where several tell of the same app (pure): who says more on purpose. A person
//! who writes an AppManifest means it; a label was written for us; a chart's manifest was written
//! for Olares, and so was what Olares made of it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::app::App;

/// Lower comes first. `None`: by hand.
pub fn rank(source: Option<&str>) -> u8 {
    match source {
        None => 0,
        Some(super::pod_label::SOURCE) => 1,
        Some(super::helm_release::SOURCE) => 2,
        // Olares' ApplicationManagers know less of a stanza than its chart does.
        Some(_) => 3,
    }
}

/// The source in words.
pub fn winner(source: Option<&str>) -> &str {
    source.unwrap_or("by hand")
}

/// Apps of one namespace that may claim pods, the first of them first, and those that may not.
pub struct Settled {
    pub claiming: Vec<Arc<App>>,
    pub overruled: Vec<Overruled>,
}

/// Two apps name the same Service: one gateway is enough.
#[derive(Clone)]
pub struct Overruled {
    pub app: Arc<App>,
    pub by: Arc<App>,
}

/// Of several apps that name one Service the first has its pods.
pub fn settle(mut apps: Vec<Arc<App>>) -> Settled {
    apps.retain(|app| !app.leaving);
    apps.sort_by(|a, b| a.precedence().cmp(&b.precedence()));
    let mut first: HashMap<&str, &Arc<App>> = HashMap::new();
    let winners: Vec<Option<Arc<App>>> = apps
        .iter()
        .map(|app| {
            let winner = *first.entry(app.service()?).or_insert(app);
            (!Arc::ptr_eq(winner, app)).then(|| Arc::clone(winner))
        })
        .collect();
    let mut settled = Settled {
        claiming: Vec::with_capacity(apps.len()),
        overruled: Vec::new(),
    };
    for (app, winner) in apps.into_iter().zip(winners) {
        match winner {
            Some(by) => settled.overruled.push(Overruled { app, by }),
            None => settled.claiming.push(app),
        }
    }
    settled
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// `name source service created`
    fn app(text: &str) -> Arc<App> {
        let words: Vec<&str> = text.split(' ').collect();
        let source = (words[1] != "-").then_some(words[1]);
        let object = json!({
            "metadata": {
                "name": words[0], "namespace": "a",
                "creationTimestamp": format!("2026-01-01T00:00:{}Z", words[3]),
                "labels": {"ws.olares.com/source": source},
            },
            "spec": {
                "entrances": [{"host": words[2]}],
                "options": {"websocket": {"url": "/ws", "port": 80}},
            },
        });
        let mut object = object;
        if source.is_none() {
            object["metadata"]["labels"] = json!({});
        }
        Arc::new(App::read(serde_json::from_value(object).unwrap()))
    }

    #[track_caller]
    fn check(apps: &[&str], claiming: &[&str], overruled: &[&str]) {
        let settled = settle(apps.iter().map(|text| app(text)).collect());
        let names: Vec<_> = settled.claiming.iter().map(|app| &app.id.name).collect();
        assert_eq!(names, claiming);
        let lost: Vec<_> = settled
            .overruled
            .iter()
            .map(|lost| format!("{} by {}", lost.app.id.name, lost.by.id.name))
            .collect();
        assert_eq!(lost, overruled);
    }

    #[test]
    fn one_service_has_one_app() {
        check(
            &[
                "olares application-manager web 00",
                "chart helm web 01",
                "chat label web 02",
                "mine - web 03",
            ],
            &["mine"],
            &["chat by mine", "chart by mine", "olares by mine"],
        );
        check(&["b helm web 05", "a helm web 06"], &["b"], &["a by b"]);
        check(&["b helm web 05", "a - api 06"], &["a", "b"], &[]);
    }

    #[test]
    fn by_hand_then_label_then_helm_then_olares() {
        let order = [
            None,
            Some("label"),
            Some("helm"),
            Some("application-manager"),
        ];
        assert!(order.map(rank).is_sorted_by(|a, b| a < b));
    }
}
