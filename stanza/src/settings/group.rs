//! What a table of settings becomes: a struct with its defaults, and what is known of each key.

use serde_json::Value as Json;

use crate::node::Node;

/// What is known of one setting without a value for it.
pub struct Declaration {
    /// The key in its group: `serverPing`.
    pub key: &'static str,
    pub about: &'static str,
    /// What is allowed, as the end of "expected …".
    pub allowed: &'static str,
    /// `true` for settings that a flag without a value switches on.
    pub switch: bool,
    /// What was found in its place is never shown.
    pub hidden: bool,
}

/// Settings that stand together under one key of the stanza.
pub trait Group: Default {
    const DECLARATIONS: &'static [Declaration];
    /// `None`: no such key. `Some(Err(expected))`: the value is wrong.
    fn set(&mut self, key: &str, node: &Node) -> Option<Result<(), String>>;
    /// The canonical value of a declared key.
    fn value(&self, key: &str) -> Json;
}

macro_rules! group {
    (
        $(#[$outer:meta])*
        $name:ident {
            $( $(#[doc = $about:literal])+ $key:literal $field:ident: $kind:ty = $default:expr; )+
        }
    ) => {
        $(#[$outer])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $( $(#[doc = $about])+ pub $field: $kind, )+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )+ }
            }
        }

        impl Group for $name {
            const DECLARATIONS: &'static [Declaration] = &[
                $( Declaration {
                    key: $key,
                    about: concat!($($about),+),
                    allowed: <$kind as Field>::ALLOWED,
                    switch: is_switch(stringify!($kind)),
                    hidden: <$kind as Field>::HIDDEN,
                }, )+
            ];

            fn set(&mut self, key: &str, node: &Node) -> Option<Result<(), String>> {
                match key {
                    $( $key => Some(match <$kind as Field>::read(node) {
                        Some(value) => { self.$field = value; Ok(()) }
                        None => Err(<$kind as Field>::expected(node)),
                    }), )+
                    _ => None,
                }
            }

            fn value(&self, key: &str) -> Json {
                match key {
                    $( $key => self.$field.to_json(), )+
                    _ => Json::Null,
                }
            }
        }
    };
}

pub(super) const fn is_switch(kind: &str) -> bool {
    matches!(kind.as_bytes(), b"bool")
}
