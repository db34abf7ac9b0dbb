//! Settings that are one word out of a few.

use serde_json::Value as Json;

use crate::field::Field;
use crate::node::Node;

macro_rules! choice {
    ($(#[$outer:meta])* $name:ident: $allowed:literal { $($(#[$inner:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$inner])* $variant,)+ }

        impl $name {
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl Field for $name {
            const ALLOWED: &'static str = $allowed;

            fn read(node: &Node) -> Option<Self> {
                match node.as_text()? { $($word => Some(Self::$variant),)+ _ => None }
            }

            fn to_json(&self) -> Json {
                Json::from(self.as_str())
            }
        }
    };
}

choice! {
    /// How clients reach the gateway.
    Expose: "entrance, service or none" {
        /// The entrance Service's port leads to the gateway, which proxies everything else to the app.
        Entrance = "entrance",
        /// A companion Service `<entrance>-ws` for an Ingress or HTTPRoute path.
        Service = "service",
        /// The platform routes.
        None = "none",
    }
}

choice! {
    /// Where the gateway stands in the pod.
    Placement: "container or native" {
        Container = "container",
        /// An init container with `restartPolicy: Always` (Kubernetes 1.29 or later).
        Native = "native",
    }
}

choice! {
    /// What a changed stanza does to running pods.
    Rollout: "auto or notify" {
        Auto = "auto",
        Notify = "notify",
    }
}

choice! {
    /// Who says under which namespace a connection is filed.
    Namespaces: "client or hook" {
        /// `?namespace=`: the client's own word, so that it selects nobody by itself.
        Client = "client",
        /// The auth hook, or the open answer.
        Hook = "hook",
    }
}

choice! {
    /// What a client hears of a message that the app refused.
    OnError: "ignore, tell or close" {
        /// Nothing.
        Ignore = "ignore",
        /// A frame of type `error` with the status.
        Tell = "tell",
        /// Its connection is closed.
        Close = "close",
    }
}

choice! {
    /// Where a request may carry a token.
    TokenPlace: "header, cookie, query or subprotocol, or a list of them" {
        /// `Authorization: Bearer`.
        Header = "header",
        Cookie = "cookie",
        /// A parameter of the query.
        Query = "query",
        /// One of the offered WebSocket subprotocols.
        Subprotocol = "subprotocol",
    }
}
