//! Whether this is Olares: whether the API server knows Olares' record of its apps. Asked by
//! discovery, which everybody may, so that it needs no right; it may come and go while we run.

use std::time::Duration;

use kube::Client;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::cluster::chain;

const API: &str = "app.bytetrade.io/v1alpha1";
const KIND: &str = "ApplicationManager";
/// One tiny request.
const ASK_AGAIN: Duration = Duration::from_secs(10);

pub struct Platform {
    client: Client,
    olares: watch::Sender<bool>,
}

impl Platform {
    /// Asks once, so that the first decision is right.
    pub async fn find(client: Client) -> kube::Result<Self> {
        let olares = ask(&client).await?;
        Ok(Self {
            client,
            olares: watch::Sender::new(olares),
        })
    }

    pub fn is_olares(&self) -> watch::Receiver<bool> {
        self.olares.subscribe()
    }

    /// Works for ever.
    pub async fn run(&self, on_change: impl Fn()) {
        info!(
            olares = *self.olares.borrow(),
            "whether this cluster is Olares is known"
        );
        loop {
            tokio::time::sleep(ASK_AGAIN).await;
            match ask(&self.client).await {
                Ok(now) if now != self.olares.send_replace(now) => {
                    info!(olares = now, "whether this cluster is Olares has changed");
                    on_change();
                }
                Ok(_) => {}
                // What was known remains.
                Err(error) => {
                    warn!(error = %chain(&error), "cannot find out whether this cluster is Olares");
                }
            }
        }
    }
}

async fn ask(client: &Client) -> kube::Result<bool> {
    match client.list_api_group_resources(API).await {
        Ok(list) => Ok(list.resources.iter().any(|resource| resource.kind == KIND)),
        Err(kube::Error::Api(error)) if error.code == 404 => Ok(false),
        Err(error) => Err(error),
    }
}
