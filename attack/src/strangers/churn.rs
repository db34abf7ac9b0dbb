use std::sync::Arc;

use tokio::task::JoinSet;

use super::Kind;
use super::tools::Target;

pub(super) const KIND: Kind = Kind {
    name: "churn",
    about: "100 who connect, become WebSockets and vanish, as fast as they can",
    flags: &[],
    work: |target| Box::pin(work(target)),
};

/// Unlike a crowd they take no breath.
async fn work(target: Arc<Target>) {
    let mut all = JoinSet::new();
    for _ in 0..100 {
        let target = Arc::clone(&target);
        all.spawn(async move {
            loop {
                if target.open("/ws", "").await.is_err() {
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    all.join_next().await;
}
