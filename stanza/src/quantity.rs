//! Kubernetes' quantities, exactly: `100m`, `1.5Gi`, `2e3`.

/// What a quantity says, in billionths: finer ones are rounded away from zero, and larger ones than
/// 2^63-1 are that, as the API server has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(i128);

const BILLION: i128 = 1_000_000_000;
const MOST: i128 = (i64::MAX as i128) * BILLION;

/// As powers of ten.
const DECIMAL: [(&str, i32); 10] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];
/// Each 1024 times the one before.
const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/// Further from the point no digit counts, but that it is there.
const FAR: i32 = 64;

impl Amount {
    /// `None`: not as Kubernetes writes them.
    pub fn read(text: &str) -> Option<Self> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
            return None;
        }
        let (power, factor) = scale(suffix)?;
        let digits: Vec<i128> = whole
            .bytes()
            .chain(fraction.bytes())
            .map(|digit| i128::from(digit - b'0'))
            .collect();
        let billionths = billionths(&digits, whole.len(), power, factor * BILLION);
        Some(Self(if negative { -billionths } else { billionths }))
    }

    pub const fn billionths(self) -> i128 {
        self.0
    }

    /// `None`: less than nothing, not a whole number, or more than there can be.
    pub fn whole(self) -> Option<u64> {
        (self.0 % BILLION == 0 && self.0 < MOST).then(|| u64::try_from(self.0 / BILLION).ok())?
    }
}

/// A power of ten, and a factor.
fn scale(suffix: &str) -> Option<(i32, i128)> {
    if let Some(place) = BINARY.iter().position(|name| *name == suffix) {
        return Some((0, 1 << (10 * (place + 1))));
    }
    if let Some((_, power)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        return Some((*power, 1));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?;
    Some((exponent.parse().ok()?, 1))
}

/// Digits with a point behind the first `point` of them, times ten to `power` and `factor`.
fn billionths(digits: &[i128], point: usize, power: i32, factor: i128) -> i128 {
    let leading = digits.iter().take_while(|digit| **digit == 0).count();
    let digits = &digits[leading..];
    if digits.is_empty() {
        return 0;
    }
    // From the first digit that is not 0.
    let point = i32::try_from(point)
        .unwrap_or(i32::MAX)
        .saturating_sub(i32::try_from(leading).unwrap_or(i32::MAX))
        .saturating_add(power);
    if point > FAR {
        return MOST;
    }
    if point < -FAR {
        return 1;
    }
    let before = usize::try_from(point).unwrap_or_default();
    let zeros = usize::try_from(-point).unwrap_or_default();
    let mut whole = 0_i128;
    for place in 0..before {
        let digit = digits.get(place).copied().unwrap_or_default();
        whole = whole.saturating_mul(10).saturating_add(digit);
    }
    // From the last digit on: what a digit leaves behind the point decides no more than whether
    // something is left.
    let (mut part, mut left) = (0, false);
    let behind = digits.get(before..).unwrap_or_default();
    for digit in std::iter::repeat_n(&0, zeros).chain(behind).rev() {
        part += digit * factor;
        left |= part % 10 != 0;
        part /= 10;
    }
    let all = whole.saturating_mul(factor).saturating_add(part);
    all.saturating_add(i128::from(left)).min(MOST)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> Option<i128> {
        Amount::read(text).map(Amount::billionths)
    }

    #[track_caller]
    fn same(one: &str, other: &str) {
        assert!(of(one).is_some(), "{one}");
        assert_eq!(of(one), of(other), "{one} {other}");
    }

    #[test]
    fn quantities_are_read_as_kubernetes_writes_them() {
        assert_eq!(of("100m"), Some(100_000_000));
        same("1.5", "1500m");
        same("1Ki", "1024");
        same("2e3", "2000");
        same("1E", "1000000000000000000");
        same("1Ei", "1152921504606846976");
        for (suffix, power) in BINARY.iter().zip(1..) {
            same(&format!("1{suffix}"), &1024_u64.pow(power).to_string());
        }
        for (suffix, power) in DECIMAL {
            same(&format!("7{suffix}"), &format!("7e{power}"));
            same(&format!("7{suffix}"), &format!("+7E{power:+}"));
        }
        same(".5", "0.5");
        same("5.", "5");
        same("-1.5Gi", "-1610612736");
        assert!(Amount::read("-1") < Amount::read("0"));
    }

    #[test]
    fn nothing_else_is_one() {
        for wrong in [
            "",
            "fast",
            "Mi",
            ".",
            "1.2.3",
            "1KiB",
            "1 Ki",
            "--1",
            "+-1",
            "1e",
            "1e1.5",
            "0x10",
            "inf",
            "NaN",
            "1K",
            "1mi",
            "1e99999999999",
        ] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }

    /// A float would have lost the last digits.
    #[test]
    fn they_are_exact() {
        assert!(of("9007199254740993") > of("9007199254740992"));
        same("0.1Ki", "102.4");
        same(
            "1.000000000000000000000000000001Ei",
            "1152921504606846976.000000001",
        );
        same(
            "0.0000000000000000000000000000000000000000000000000000000000000000001",
            "1n",
        );
        same("0.1n", "1n");
        same("-0.1n", "-1n");
        same("1e99", "9223372036854775807");
        same("1e-99", "1n");
        same("8Ei", "9223372036854775807");
        same("0e99", "0");
        same(&"9".repeat(400), "9223372036854775807");
        assert_eq!(
            Amount::read("1.5Mi").and_then(Amount::whole),
            Some(1_572_864)
        );
        assert_eq!(Amount::read("100m").and_then(Amount::whole), None);
        assert_eq!(Amount::read("-1").and_then(Amount::whole), None);
        assert_eq!(Amount::read("8Ei").and_then(Amount::whole), None);
    }

    proptest! {
        #[test]
        fn thousandths_are_counted(whole in 0_u32.., part in 0_u32..1000) {
            let text = format!("{whole}.{part:03}");
            let wanted = (i128::from(whole) * 1000 + i128::from(part)) * 1_000_000;
            prop_assert_eq!(of(&text), Some(wanted));
            prop_assert_eq!(of(&format!("{text}k")), Some(wanted * 1000));
            prop_assert_eq!(of(&format!("{text}Ki")), Some(wanted * 1024));
        }

        #[test]
        fn whatever_is_written_ends(text in ".{0,40}") {
            Amount::read(&text);
        }
    }
}
