//! What `ws-operator roll` may restart (pure): the controller's own steps up to its decision, for
//! pods of an older gateway image too.

use super::dereference::dereference;
use super::due::due_by_hand;
use super::obstacle::{Surroundings, obstacle};
use super::trigger::{Trigger, trigger};
use super::validate::validate;
use crate::app::AppId;
use crate::cluster::Cluster;
use crate::injection::Rules;
use crate::reason::Reason;
use crate::shape::Workload;

/// A workload with pods that are not as new ones would be.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    pub app: AppId,
    pub workload: Workload,
    pub reason: Reason,
    /// How many pods, and what is with them.
    pub message: String,
    pub next: Next,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    Go(Trigger),
    /// Not now, or not by us.
    Blocked {
        reason: Reason,
        message: String,
    },
}

/// The candidates of one app.
pub fn candidates(
    cluster: &Cluster,
    rules: &Rules,
    app: &AppId,
    webhook_up: bool,
) -> Vec<Candidate> {
    let validated = validate(dereference(cluster, app), rules);
    let around = Surroundings {
        held: validated.app.as_ref().is_some_and(|app| app.held),
        budgets: &validated.budgets,
        ground: &validated.ground,
        disabled: validated.disabled,
        webhook_up,
    };
    let candidate = |member| {
        let due = due_by_hand(member, &validated.id.name, &validated.image)?;
        let next = match obstacle(member, &due, around) {
            Some(verdict) => Next::Blocked {
                reason: verdict.reason,
                message: verdict.message,
            },
            None => Next::Go(trigger(&member.workload, due.goal.as_deref())),
        };
        Some(Candidate {
            app: validated.id.clone(),
            workload: member.workload.workload.clone(),
            reason: due.reason,
            message: due.words(),
            next,
        })
    };
    validated.members.iter().filter_map(candidate).collect()
}
