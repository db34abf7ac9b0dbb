//! When a certificate expires: the one thing we want to know of certificates that others made.

use time::{Date, Month, OffsetDateTime, Time};

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0]`, the version, which the first version of X.509 leaves out.
const VERSION: u8 = 0xa0;

/// `notAfter` of a certificate in DER; `None`: it is none.
pub fn not_after(der: &[u8]) -> Option<OffsetDateTime> {
    let (certificate, _) = element(der, SEQUENCE)?;
    let (mut rest, _) = element(certificate, SEQUENCE)?;
    if let Some((_, after)) = element(rest, VERSION) {
        rest = after;
    }
    // Serial number, signature algorithm, issuer.
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        (_, rest) = element(rest, tag)?;
    }
    let (validity, _) = element(rest, SEQUENCE)?;
    let (_, rest) = moment(validity)?;
    moment(rest).map(|(at, _)| at)
}

/// RFC 5280, 4.1.2.5: to the second, in UTC; two-digit years end with 2049.
fn moment(der: &[u8]) -> Option<(OffsetDateTime, &[u8])> {
    let (year, text, rest) = if let Some((text, rest)) = element(der, UTC_TIME) {
        let (year, text) = number(text, 2)?;
        (year + if year < 50 { 2000 } else { 1900 }, text, rest)
    } else {
        let (text, rest) = element(der, GENERALIZED_TIME)?;
        let (year, text) = number(text, 4)?;
        (year, text, rest)
    };
    let (month, text) = number(text, 2)?;
    let (day, text) = number(text, 2)?;
    let (hour, text) = number(text, 2)?;
    let (minute, text) = number(text, 2)?;
    let (second, text) = number(text, 2)?;
    let small = |number: u16| u8::try_from(number).ok();
    let month = Month::try_from(small(month)?).ok()?;
    let date = Date::from_calendar_date(year.into(), month, small(day)?).ok()?;
    let time = Time::from_hms(small(hour)?, small(minute)?, small(second)?).ok()?;
    (text == b"Z").then_some((OffsetDateTime::new_utc(date, time), rest))
}

fn number(text: &[u8], digits: usize) -> Option<(u16, &[u8])> {
    let (digits, rest) = text.split_at_checked(digits)?;
    let digits = std::str::from_utf8(digits).ok()?;
    Some((digits.parse().ok()?, rest))
}

/// The content of the first element if it has that tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    if found != tag {
        return None;
    }
    let length = if first < 0x80 {
        usize::from(first)
    } else {
        // More than four bytes of length are no certificate.
        let (bytes, after) = rest.split_at_checked(usize::from(first & 0x7f).min(5))?;
        rest = after;
        (bytes.len() <= 4).then(|| {
            bytes
                .iter()
                .fold(0, |sum, byte| (sum << 8) | usize::from(*byte))
        })?
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn certificate(expires: OffsetDateTime) -> Vec<u8> {
        let mut params = CertificateParams::new(["x".to_owned()]).unwrap();
        params.not_after = expires;
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn both_forms_of_time_are_read() {
        for year in [1999, 2026, 2049, 2050, 2124] {
            let expires = rcgen::date_time_ymd(year, 2, 28);
            assert_eq!(not_after(&certificate(expires)), Some(expires), "{year}");
        }
    }

    proptest! {
        #[test]
        fn bytes_that_are_no_certificate_are_none(bytes: Vec<u8>) {
            prop_assert_eq!(not_after(&bytes), None);
        }

        #[test]
        fn a_broken_certificate_is_no_panic(place: usize, byte: u8) {
            let mut der = certificate(rcgen::date_time_ymd(2030, 1, 1));
            let place = place % der.len();
            der[place] = byte;
            let _ = not_after(&der);
            let _ = not_after(&der[..place]);
        }
    }
}
