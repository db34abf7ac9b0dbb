//! Who is meant: the same keys with the same rules in `send`, `close` and `broadcast`.
//!
//! A narrowing that was not understood never widens: an unknown key is refused, and an empty list
//! or text selects nobody. Only no selector key at all can mean everybody, in `broadcast`.

use serde::Deserialize;
use stanza::choice::Namespaces;

use super::body::{BodyError, Fields};
use crate::identity::ConnectionId;
use crate::selector::{Access, Criteria, Selector};

/// Every key that selects or narrows.
pub const KEYS: &[&str] = &[
    "conn_id",
    "conns",
    "users",
    "tokens",
    "users_access_type",
    "namespace",
    "all",
    "except",
];

/// Those that select; the others only narrow.
const SELECTING: [&str; 6] = ["conn_id", "conns", "users", "tokens", "namespace", "all"];

const ACCESS_TYPES: &str = "0 (all), 1 (private) or 2 (public)";

/// What no selector key means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Otherwise {
    Refused,
    /// Midway's `@WSBroadCast` names nobody and means everybody.
    Everybody,
}

pub fn selector(
    fields: &Fields<'_>,
    otherwise: Otherwise,
    namespaces: Namespaces,
) -> Result<Selector, BodyError> {
    let mut criteria = read(fields)?;
    if namespaces == Namespaces::Client && criteria.rest_on_namespace() {
        // Clients say themselves that they are of it.
        return Err(BodyError::NamespaceAlone);
    }
    if !SELECTING.iter().any(|key| fields.has(key)) {
        match otherwise {
            Otherwise::Refused => return Err(BodyError::NobodySelected),
            Otherwise::Everybody => criteria.all = true,
        }
    }
    Ok(Selector::new(criteria).unwrap_or_else(Selector::nobody))
}

fn read(fields: &Fields<'_>) -> Result<Criteria, BodyError> {
    let mut id = words(fields, "conn_id", "a string", |text: String| vec![text])?;
    let mut users = list(fields, "users")?;
    // Existing apps send both keys and fill one.
    match (&id, &users) {
        (Some(empty), Some(users)) if is_empty(empty) && !users.is_empty() => id = None,
        (Some(filled), Some(none)) if !is_empty(filled) && none.is_empty() => users = None,
        _ => {}
    }
    let conns = match (id, list(fields, "conns")?) {
        (Some(id), Some(conns)) => Some(conns.into_iter().filter(|it| id.contains(it)).collect()),
        (id, conns) => id.or(conns),
    };
    let namespace = words(fields, "namespace", "a string", |text: String| vec![text])?;
    Ok(Criteria {
        all: fields.get("all", "true or false")?.unwrap_or(false),
        // An id that is none of ours selects nobody.
        conns: conns.map(|ids: Vec<String>| {
            ids.iter()
                .filter_map(|id| ConnectionId::parse(id))
                .collect()
        }),
        users,
        tokens: list(fields, "tokens")?,
        namespace: namespace.map(|names| names.concat()),
        access: access(fields)?,
        except: list(fields, "except")?
            .unwrap_or_default()
            .iter()
            .filter_map(|id| ConnectionId::parse(id))
            .collect(),
    })
}

fn access(fields: &Fields<'_>) -> Result<Access, BodyError> {
    let field = "users_access_type";
    match fields.get::<u8>(field, ACCESS_TYPES)? {
        None if fields.has(field) => Err(wrong(field, ACCESS_TYPES)),
        None | Some(0) => Ok(Access::Any),
        Some(1) => Ok(Access::Private),
        Some(2) => Ok(Access::Public),
        Some(_) => Err(wrong(field, ACCESS_TYPES)),
    }
}

fn list(fields: &Fields<'_>, field: &'static str) -> Result<Option<Vec<String>>, BodyError> {
    words(fields, field, "a list of strings", |list| list)
}

/// `null` is what Go writes for a list that was never filled. Beside a key that is, it is absent;
/// where nothing else is filled, nobody is named.
fn words<T: for<'de> Deserialize<'de>>(
    fields: &Fields<'_>,
    field: &'static str,
    allowed: &'static str,
    to_list: impl FnOnce(T) -> Vec<String>,
) -> Result<Option<Vec<String>>, BodyError> {
    Ok(fields.get(field, allowed)?.map(to_list))
}

fn is_empty(id: &[String]) -> bool {
    id.iter().all(String::is_empty)
}

fn wrong(field: &'static str, allowed: &'static str) -> BodyError {
    BodyError::Wrong { field, allowed }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn select(body: &str, otherwise: Otherwise) -> Result<Selector, BodyError> {
        selector(
            &Fields::parse(body.as_bytes()).unwrap(),
            otherwise,
            Namespaces::Client,
        )
    }

    fn criteria(body: &str) -> Criteria {
        read(&Fields::parse(body.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn no_key_at_all_is_refused_or_everybody() {
        for body in ["{}", r#"{"users_access_type":1}"#, r#"{"except":["x"]}"#] {
            let refused = select(body, Otherwise::Refused);
            assert_eq!(refused, Err(BodyError::NobodySelected), "{body}");
        }
        assert!(select("{}", Otherwise::Everybody).unwrap().is_everyone());
        let narrowed = select(r#"{"users_access_type":1}"#, Otherwise::Everybody).unwrap();
        assert!(!narrowed.is_everyone() && !narrowed.is_nobody());
    }

    #[test]
    fn what_is_empty_selects_nobody() {
        for body in [
            r#"{"users":[]}"#,
            r#"{"users":null}"#,
            r#"{"conn_id":""}"#,
            r#"{"conn_id":"","users":[]}"#,
            r#"{"conn_id":"1"}"#,
            r#"{"conns":[]}"#,
            r#"{"conns":[],"users":["ann"]}"#,
            r#"{"tokens":[]}"#,
            r#"{"tokens":null,"users":null}"#,
            r#"{"namespace":"","users":["ann"]}"#,
            r#"{"all":false}"#,
        ] {
            for otherwise in [Otherwise::Refused, Otherwise::Everybody] {
                assert!(select(body, otherwise).unwrap().is_nobody(), "{body}");
            }
        }
    }

    #[test]
    fn of_an_id_and_users_the_empty_one_is_absent_beside_the_other() {
        let ann = criteria(r#"{"users":["ann"]}"#);
        assert_eq!(criteria(r#"{"users":["ann"],"conn_id":""}"#), ann);
        assert_eq!(criteria(r#"{"users":["ann"],"conn_id":null}"#), ann);
        assert_eq!(criteria(r#"{"users":["ann"],"tokens":null}"#), ann);
        let id = ConnectionId::random();
        let one = criteria(&format!(r#"{{"conn_id":"{id}"}}"#));
        assert_eq!(one.conns, Some(vec![id]));
        assert_eq!(
            criteria(&format!(r#"{{"conn_id":"{id}","users":[]}}"#)),
            one
        );
        assert_eq!(criteria(&format!(r#"{{"conns":["{id}"]}}"#)), one);
        let neither = criteria(&format!(r#"{{"conn_id":"{id}","conns":["x"]}}"#));
        assert_eq!(
            neither.conns,
            Some(Vec::new()),
            "given together they intersect"
        );
    }

    #[test]
    fn errors_name_the_field() {
        for (body, words) in [
            (r#"{"users":"ann"}"#, "users: expected a list of strings"),
            (r#"{"conn_id":["x"]}"#, "conn_id: expected a string"),
            (
                r#"{"all":true,"users_access_type":null}"#,
                "users_access_type: expected 0 (all), 1 (private) or 2 (public)",
            ),
        ] {
            let error = select(body, Otherwise::Refused).unwrap_err();
            assert_eq!(error.to_string(), words, "{body}");
        }
    }

    #[test]
    fn a_clients_own_word_selects_nobody() {
        for alone in [
            r#"{"namespace":"a"}"#,
            r#"{"namespace":"a","all":true}"#,
            r#"{"namespace":"a","users_access_type":1}"#,
        ] {
            let fields = Fields::parse(alone.as_bytes()).unwrap();
            let select = |namespaces| selector(&fields, Otherwise::Refused, namespaces);
            assert_eq!(select(Namespaces::Client), Err(BodyError::NamespaceAlone));
            assert!(!select(Namespaces::Hook).unwrap().is_nobody(), "{alone}");
        }
        let narrowed = select(r#"{"namespace":"a","users":["ann"]}"#, Otherwise::Refused);
        assert!(!narrowed.unwrap().is_nobody());
    }
}
