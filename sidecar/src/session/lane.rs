//! One connection's events on their way to the app: strictly one after the other, open first,
//! close last, exactly one close for an open that the app may have heard of.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use stanza::settings;

use crate::callback::event::{ClientMessage, Event, EventKind, OpenRequest, Outgoing};
use crate::callback::{Action, Actions, Outcome, Transport};
use crate::connection::Connection;
use crate::gateway::{App, Gateway};
use crate::identity::ConnectionId;
use crate::protocol::CloseReason;

/// Bounded by `callback.queue` messages and [`MAX_WAITING`] bytes (one message is always taken),
/// and [`AHEAD`] beyond, which are taken so that the pings among them are heard; then reading from
/// the client stops.
pub(super) struct Lane {
    /// The open that is still to be told.
    open: Option<Box<OpenRequest>>,
    /// There only while something waits: most connections are idle.
    #[allow(clippy::box_collection, reason = "24 bytes less in every idle session")]
    waiting: Option<Box<VecDeque<Waiting>>>,
    /// The close, to be told when everything before is.
    close: Option<Box<Ending>>,
    in_flight: Option<InFlight>,
    /// Bytes of `waiting` and of what is in flight.
    held: usize,
    /// What was held when no more was to wait.
    held_when_over: usize,
    next_seq: u64,
    /// How much a client that is behind with reading may still ask of the app.
    credit: u32,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Messages are taken.
    Open,
    /// No more messages; what waits is still told.
    Closing,
    /// The app is told nothing: it never heard of the connection, or there is no app.
    Silent { accepting: bool },
}

struct Waiting {
    message: ClientMessage,
    cost: usize,
}

struct InFlight {
    action: Action,
    cost: usize,
    future: Pin<Box<dyn Future<Output = Outcome> + Send>>,
}

#[derive(Debug)]
struct Ending {
    code: u16,
    reason: Box<str>,
}

pub(super) enum Step {
    Answered(Action, Option<Box<Actions>>),
    /// An event did not arrive, or may not have: the client has to be told.
    Lost,
}

/// A callback's body of so many bytes waits for its turn among others.
const LARGE: usize = 256 << 10;
const MAX_WAITING: usize = 256 << 10;
const AHEAD: usize = 64 << 10;
const MESSAGE_OVERHEAD: usize = 64;
/// What a message of a client that is behind with reading takes of its credit. Each byte that the
/// client takes gives one back: so it is heard, and what it asks for does not pile up.
const MESSAGE_CREDIT: u32 = 16 << 10;
const MOST_CREDIT: u32 = 16 * MESSAGE_CREDIT;

impl Lane {
    pub(super) fn opening(request: OpenRequest) -> Self {
        Self::new(Some(Box::new(request)), Phase::Open)
    }

    /// For a gateway that has no app.
    pub(super) fn leading_nowhere() -> Self {
        Self::new(None, Phase::Silent { accepting: true })
    }

    fn new(open: Option<Box<OpenRequest>>, phase: Phase) -> Self {
        let held = open.as_ref().map_or(0, |request| request.size());
        Self {
            open,
            waiting: None,
            close: None,
            in_flight: None,
            held,
            held_when_over: 0,
            next_seq: 0,
            credit: MOST_CREDIT,
            phase,
        }
    }

    pub(super) fn push(&mut self, message: ClientMessage, settings: &settings::Gateway) {
        if self.phase != Phase::Open {
            return;
        }
        let was_over = self.is_over(settings);
        // As long as it will be for the app, which may be six times as long as it came.
        let cost = message.written_size() + MESSAGE_OVERHEAD;
        self.held += cost;
        self.waiting
            .get_or_insert_default()
            .push_back(Waiting { message, cost });
        if !was_over {
            self.held_when_over = self.held;
        }
    }

    /// Whether nothing more may be read, with so many bytes that are no message yet.
    pub(super) fn is_full(&self, settings: &settings::Gateway, coming: usize) -> bool {
        self.is_over(settings) && self.held + coming >= self.held_when_over + AHEAD
    }

    fn is_over(&self, settings: &settings::Gateway) -> bool {
        let most = settings.callback.queue.get() as usize;
        let waiting = self.waiting.as_ref().map_or(0, |waiting| waiting.len());
        waiting >= most || (waiting > 0 && self.held >= MAX_WAITING)
    }

    /// The client has taken so many bytes.
    pub(super) fn earn(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.credit = self.credit.saturating_add(bytes).min(MOST_CREDIT);
    }

    /// Lets go of all that is not yet known to have arrived. What the app may have of it is in
    /// doubt; the client is told by its close. Whether something was under way.
    pub(super) fn let_go(&mut self) -> Option<Action> {
        self.drop_waiting();
        let in_flight = self.in_flight.take_if(|it| it.action != Action::Close)?;
        self.held -= in_flight.cost;
        Some(in_flight.action)
    }

    fn drop_waiting(&mut self) {
        let dropped = self.waiting.take().unwrap_or_default();
        self.held -= dropped.iter().map(|waiting| waiting.cost).sum::<usize>();
    }

    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Everything that was given to it so far is answered.
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_none() && self.waiting.is_none() && self.in_flight.is_none()
    }

    /// Everything the app is to hear was heard.
    pub(super) fn is_done(&self) -> bool {
        let no_more = matches!(
            self.phase,
            Phase::Closing | Phase::Silent { accepting: false }
        );
        self.is_idle() && self.close.is_none() && no_more
    }

    pub(super) fn close(&mut self, reason: &CloseReason) {
        match &mut self.phase {
            Phase::Silent { accepting } => *accepting = false,
            Phase::Closing => {}
            Phase::Open => {
                self.phase = Phase::Closing;
                let ending = Ending {
                    code: reason.code(),
                    reason: reason.reason().into(),
                };
                self.close = Some(Box::new(ending));
            }
        }
    }

    /// Moves the events on. `Pending` also when there is nothing to do.
    pub(super) fn poll<T: Transport>(
        &mut self,
        context: &mut Context<'_>,
        gateway: &Arc<Gateway<T>>,
        connection: &Arc<Connection>,
    ) -> Poll<Step> {
        loop {
            if let Some(in_flight) = &mut self.in_flight {
                let Poll::Ready(outcome) = in_flight.future.as_mut().poll(context) else {
                    return Poll::Pending;
                };
                let (action, cost) = (in_flight.action, in_flight.cost);
                self.in_flight = None;
                self.held -= cost;
                // An end that was not delivered is left to the journal.
                if action == Action::Close && !matches!(outcome, Outcome::NotDelivered) {
                    forget(gateway, connection);
                }
                return Poll::Ready(self.finish(action, outcome, || forget(gateway, connection)));
            }
            let Some((kind, cost)) = self.take_next(connection) else {
                return Poll::Pending;
            };
            let event = Event {
                seq: self.next_seq,
                kind,
            };
            self.next_seq += 1;
            self.held -= cost;
            self.start(event, cost, gateway, connection);
        }
    }

    fn start<T: Transport>(
        &mut self,
        event: Event,
        cost: usize,
        gateway: &Arc<Gateway<T>>,
        connection: &Arc<Connection>,
    ) {
        let action = event.kind.action();
        if cost > LARGE {
            let (gateway, connection) = (Arc::clone(gateway), Arc::clone(connection));
            self.held += cost;
            self.in_flight = Some(InFlight {
                action,
                cost,
                future: Box::pin(tell_large(event, cost, gateway, connection)),
            });
            return;
        }
        let outgoing = gateway
            .app
            .as_ref()
            .map(|app| event.outgoing(&app.target, connection));
        let kinds = event.into_message_kinds();
        let cost = outgoing.as_ref().map_or(0, Outgoing::size) + MESSAGE_OVERHEAD;
        let future = tell(connection.id, action, outgoing, kinds, Arc::clone(gateway));
        self.held += cost;
        self.in_flight = Some(InFlight {
            action,
            cost,
            future: Box::pin(future),
        });
    }

    fn take_next(&mut self, connection: &Connection) -> Option<(EventKind, usize)> {
        if let Some(request) = self.open.take() {
            let cost = request.size();
            return Some((EventKind::Open { request }, cost));
        }
        if self.waiting.is_some() && !self.may_ask(connection) {
            return None;
        }
        if let Some(waiting) = &mut self.waiting {
            let next = waiting.pop_front();
            if waiting.is_empty() {
                self.waiting = None;
            }
            if let Some(Waiting { message, cost }) = next {
                return Some((EventKind::Message(message), cost));
            }
        }
        let Ending { code, reason } = *self.close.take()?;
        Some((EventKind::Close { code, reason }, 0))
    }

    /// Whether the app may hear one more message, whose answer may be for this client.
    fn may_ask(&mut self, connection: &Connection) -> bool {
        if self.phase != Phase::Open {
            return true;
        }
        if !connection.is_unread() {
            self.credit = MOST_CREDIT;
            return true;
        }
        let left = self.credit.checked_sub(MESSAGE_CREDIT);
        self.credit = left.unwrap_or(self.credit);
        left.is_some()
    }

    fn finish(&mut self, action: Action, outcome: Outcome, forget: impl Fn()) -> Step {
        match (action, outcome) {
            (_, Outcome::Delivered(actions)) => return Step::Answered(action, actions),
            (Action::Open, Outcome::NotDelivered) => {
                // It never heard of the connection, so it hears of no close either.
                self.phase = Phase::Silent { accepting: false };
                self.close = None;
                forget();
            }
            (_, Outcome::NotDelivered | Outcome::InDoubt) => {}
        }
        // What is behind a lost event must not arrive without it.
        self.drop_waiting();
        Step::Lost
    }
}

fn forget<T: Transport>(gateway: &Gateway<T>, connection: &Connection) {
    if let Some(journal) = &gateway.journal {
        journal.closed(connection.id);
    }
}

/// The same for an event whose body is large: only so many of those are written at once, as one may
/// be six times as long as the message that it is made of.
async fn tell_large<T: Transport>(
    event: Event,
    cost: usize,
    gateway: Arc<Gateway<T>>,
    connection: Arc<Connection>,
) -> Outcome {
    let _place = gateway.large_body(cost).await;
    let app = gateway.app.as_ref();
    let outgoing = app.map(|app| event.outgoing(&app.target, &connection));
    let (action, kinds) = (event.kind.action(), event.into_message_kinds());
    tell(connection.id, action, outgoing, kinds, Arc::clone(&gateway)).await
}

/// Delivers one event, to the paths of `types` as well.
async fn tell<T: Transport>(
    id: ConnectionId,
    action: Action,
    outgoing: Option<Outgoing>,
    kinds: Box<[Box<str>]>,
    gateway: Arc<Gateway<T>>,
) -> Outcome {
    let (Some(app), Some(outgoing)) = (&gateway.app, outgoing) else {
        return Outcome::Delivered(None);
    };
    let first = if action == Action::Close {
        let (metrics, draining) = (&gateway.metrics, gateway.draining());
        let told = app.delivery.end(id, &outgoing, metrics, draining);
        act(&gateway, told.await).await
    } else {
        deliver(&gateway, app, &outgoing, action).await
    };
    let mut all = match first {
        Outcome::Delivered(actions) => actions,
        lost => return lost,
    };
    for start in app.target.also(&kinds) {
        match deliver(&gateway, app, &outgoing.to_path(start), action).await {
            Outcome::Delivered(actions) => all = Actions::both(all, actions),
            lost => return lost,
        }
    }
    Outcome::Delivered(all)
}

/// Delivers to one path, and does what the answer asks for others.
async fn deliver<T: Transport>(
    gateway: &Gateway<T>,
    app: &App<T>,
    outgoing: &Outgoing,
    action: Action,
) -> Outcome {
    let delivery = app.delivery.deliver(outgoing, action, &gateway.metrics);
    act(gateway, delivery.await).await
}

async fn act<T: Transport>(gateway: &Gateway<T>, mut outcome: Outcome) -> Outcome {
    if let Outcome::Delivered(Some(actions)) = &mut outcome
        && let Some((selector, message)) = actions.broadcast.take()
    {
        gateway.broadcast(&selector, message).await;
    }
    outcome
}
