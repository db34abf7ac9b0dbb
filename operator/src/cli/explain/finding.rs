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

/// What to do about it, by the reason's name.
fn remedy(name: &str, message: &str) -> Option<&'static str> {
    Reason::named(name)?.remedy(message)
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
        let said = self.reason.remedy(&self.message);
        if let Some(remedy) = said {
            line(format!("  remedy: {remedy}"));
        }
        if let Some(identity) = &self.identity {
            line(format!("  identity: {identity}"));
        }
        for part in &self.parts {
            line(format!(
                "  {}: {}: {}",
                part.name, part.reason, part.message
            ));
            // Nobody has to read it twice.
            let own = remedy(&part.reason, &part.message);
            if let Some(own) = own.filter(|own| !part.message.contains(own) && Some(*own) != said) {
                line(format!("    remedy: {own}"));
            }
        }
        text
    }

    pub(super) fn json(&self) -> Json {
        let parts = self.parts.iter().map(|part| {
            json!({
                "name": part.name, "reason": part.reason, "message": part.message,
                "remedy": remedy(&part.reason, &part.message),
            })
        });
        json!({
            "object": self.object,
            "reason": self.reason.name(),
            "message": self.message,
            "about": self.reason.about().trim(),
            "remedy": self.reason.remedy(&self.message),
            "app": self.app,
            "identity": self.identity,
            "parts": parts.collect::<Json>(),
        })
    }
}
