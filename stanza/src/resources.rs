//! A container's `resources`, checked for shape here and for meaning by the API server.

use serde_json::Value as Json;

use crate::field::Field;
use crate::node::{Node, Value};
use crate::quantity::Amount;

/// `{requests: {cpu: 10m, …}, limits: {…}}` as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Resources(pub Json);

impl Field for Resources {
    const ALLOWED: &'static str =
        "requests and limits such as {requests: {cpu: 10m, memory: 16Mi}}";

    fn read(node: &Node) -> Option<Self> {
        let shape = matches!(node.value, Value::Map(_))
            && node.entries().all(|(key, side)| {
                matches!(key.name.as_str(), "requests" | "limits")
                    && matches!(side.value, Value::Map(_))
                    && side.entries().all(|(_, quantity)| is_quantity(quantity))
            });
        shape.then(|| Self(node.to_json()))
    }

    fn to_json(&self) -> Json {
        self.0.clone()
    }
}

fn is_quantity(node: &Node) -> bool {
    match &node.value {
        Value::Integer(number) => *number >= 0,
        Value::Float(number) => *number >= 0.0,
        Value::Text(text) => Amount::read(text).is_some_and(|amount| amount >= Amount::default()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(yaml: &str) -> bool {
        Resources::read(&Node::from_yaml(yaml).unwrap()).is_some()
    }

    #[test]
    fn shapes() {
        assert!(accepted(
            "{requests: {cpu: 10m, memory: 16Mi}, limits: {cpu: 0.5}}"
        ));
        for suffix in [
            "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei",
        ] {
            assert!(
                accepted(&format!("{{limits: {{memory: 1{suffix}}}}}")),
                "{suffix}"
            );
        }
        // Exponents, as Kubernetes spells them too.
        assert!(accepted("{limits: {memory: 1e3, cpu: '1E3'}}"));
        assert!(accepted("{limits: {memory: '1e-3', cpu: '1E+3'}}"));
        for wrong in ["1Xi", "'-1'", "-0.5"] {
            assert!(
                !accepted(&format!("{{limits: {{memory: {wrong}}}}}")),
                "{wrong}"
            );
        }
        assert!(!accepted("{request: {cpu: 10m}}"));
        assert!(!accepted("{requests: {cpu: fast}}"));
        assert!(!accepted("{requests: [cpu]}"));
    }
}
