//! Which source wins where several tell of the same app (pure): who says more on purpose. A person
//! who writes an AppManifest means it; a label was written for us; a chart's manifest was written
//! for Olares, and so was what Olares made of it.

/// Lower comes first. `None`: by hand.
pub fn rank(source: Option<&str>) -> u8 {
    match source {
        None => 0,
        Some(super::pod_label::SOURCE) => 1,
        Some(super::helm_release::SOURCE) => 2,
        Some(_) => 3,
    }
}

/// The source in words.
pub fn winner(source: Option<&str>) -> &str {
    source.unwrap_or("a hand-written AppManifest")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand_then_label_then_helm_then_olares() {
        let order = [
            None,
            Some("label"),
            Some("helm"),
            Some("application-manager"),
        ];
        assert!(order.map(rank).is_sorted_by(|a, b| a < b));
    }
}
