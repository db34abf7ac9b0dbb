//! Events, which whoever may write them in a namespace makes us keep: how much of them, and whose
//! word they are.

use k8s_openapi::api::core::v1::Event;

use super::store::Room;

/// The namespace that has most loses its oldest.
pub(super) const ROOM: Room = Room {
    each: 64,
    all: 4096,
};
/// Of names and uids in an Event: the API server looks at neither.
pub(super) const LONGEST: usize = 253;

/// Whether nobody but `author` is named as the Event's.
pub(super) fn is_by(event: &Event, author: &str) -> bool {
    let source = event.source.as_ref();
    let component = source.and_then(|source| source.component.as_deref());
    let mut named = [component, event.reporting_component.as_deref()]
        .into_iter()
        .flatten()
        .filter(|name| !name.is_empty())
        .peekable();
    named.peek().is_some() && named.all(|name| name == author)
}
