//! What is said of one object, for people and for programs.

use std::fmt::Write;

use serde_json::{Value as Json, json};

use crate::reason::Reason;

/// What is to be said of one object.
pub(super) struct Finding {
    pub(super) object: String,
    pub(super) reason: Reason,
    pub(super) message: String,
    /// The app that it is a matter of.
    pub(super) app: Option<String>,
    /// Whose word on users' names the app's gateways take, as the operator says.
    pub(super) identity: Option<String>,
    /// Its pods, or its status' conditions.
    pub(super) parts: Vec<Part>,
}

pub(super) struct Part {
    pub(super) name: String,
    pub(super) reason: String,
    pub(super) message: String,
}

impl Finding {
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |words: String| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{}", words.trim_end_matches([' ', ':']));
        };
        line(format!(
            "{}: {}: {}",
            self.object, self.reason, self.message
        ));
        if let Some(app) = &self.app {
            line(format!("  app: {app}"));
        }
        line(format!("  {}", self.reason.about().trim()));
        if let Some(identity) = &self.identity {
            line(format!("  identity: {identity}"));
        }
        for part in &self.parts {
            line(format!(
                "  {}: {}: {}",
                part.name, part.reason, part.message
            ));
        }
        text
    }

    pub(super) fn json(&self) -> Json {
        let parts = self
            .parts
            .iter()
            .map(|part| json!({"name": part.name, "reason": part.reason, "message": part.message}));
        json!({
            "object": self.object,
            "reason": self.reason.code(),
            "message": self.message,
            "about": self.reason.about().trim(),
            "app": self.app,
            "identity": self.identity,
            "parts": parts.collect::<Json>(),
        })
    }
}
