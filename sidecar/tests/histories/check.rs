//! What must hold of a history.

use std::collections::BTreeMap;

use super::app::{App, Taken};
use super::client::{Exit, Story};

/// `Err`: what does not hold, and of which connection. `pressed`: so little may be buffered that
/// what a client left behind may be dropped.
pub(crate) fn check(
    app: &App,
    stories: &BTreeMap<String, Story>,
    pressed: bool,
) -> Result<(), String> {
    let lossy = app.is_lossy() || pressed;
    if let Some(id) = app.overlap() {
        return Err(format!("{id} had two callbacks at once"));
    }
    let log = app.log();
    let opens_in_doubt = app.opens_in_doubt();
    for (id, story) in stories {
        let mut events: Vec<&Taken> = log.iter().filter(|event| event.conn_id == *id).collect();
        // One in doubt is told again, under the same id.
        events.dedup_by(|again, close| close.action == "close" && again.seq == close.seq);
        let told = describe(&events);
        let wrong = |what: &str| {
            Err(format!(
                "{id}: {what}; the app heard {told}; the client {story:?}"
            ))
        };
        let Some((first, rest)) = events.split_first() else {
            if story.sent > 0 && story.exit == Exit::Orderly && !lossy {
                return wrong("nothing arrived");
            }
            continue;
        };
        let dropped = pressed && first.code == Some(1013);
        let in_doubt = opens_in_doubt.contains(id) || dropped;
        if first.action == "close" && rest.is_empty() && in_doubt {
            // The app may have had the open, so it was told of the end.
            continue;
        }
        if first.action != "open" || first.seq != 0 {
            return wrong("the first event is not the open");
        }
        if rest.iter().any(|event| event.action == "open") {
            return wrong("there is a second open");
        }
        if events.windows(2).any(|pair| pair[0].seq >= pair[1].seq) {
            return wrong("the numbers do not grow");
        }
        let closes = rest.iter().filter(|event| event.action == "close").count();
        if closes > 1 || (closes == 0 && !app.may_be_given_up(id)) {
            return wrong("there is not exactly one close");
        }
        if closes == 1 && events.last().is_some_and(|event| event.action != "close") {
            return wrong("the close is not the last event");
        }
        let messages = rest.iter().filter(|event| event.action == "message");
        let arrived: Vec<u64> = messages.map(|event| event.data.as_u64().unwrap()).collect();
        if arrived
            .iter()
            .enumerate()
            .any(|(index, number)| *number != index as u64)
        {
            return wrong("messages are missing, repeated or out of order");
        }
        let complete = arrived.len() as u64 == story.sent;
        // Whom the gateway sent away has no claim to what was still on its way.
        let left_by_itself = events
            .last()
            .is_some_and(|end| matches!(end.code, Some(1000 | 1005 | 1006)));
        if !complete && left_by_itself && story.exit == Exit::Orderly && !lossy {
            return wrong("messages are missing and nobody was told");
        }
        if arrived.len() as u64 > story.sent + 1 {
            return wrong("more arrived than was sent");
        }
    }
    Ok(())
}

fn describe(events: &[&Taken]) -> String {
    let one = |event: &&Taken| match event.code {
        Some(code) => format!("{}#{} ({code})", event.action, event.seq),
        None => format!("{}#{}", event.action, event.seq),
    };
    events.iter().map(one).collect::<Vec<_>>().join(", ")
}
