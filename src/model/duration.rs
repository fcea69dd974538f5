//! Durations as directives and stored files write them: a number and a unit.

use jiff::SignedDuration;

/// The unit of a number that is written without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// 24 hours.
    Days,
    /// A second.
    Seconds,
}

/// A text that is not a duration.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("unrecognized duration format, or more than 100 years")]
pub struct DurationError;

const DAY: i64 = 24 * 3600;
/// The longest duration. Longer ones are mistakes, and would lead beyond the calendar.
const LONGEST: i64 = 100 * 366 * DAY;
const UNITS: [(&str, i64); 4] = [("d", DAY), ("h", 3600), ("mi", 60), ("s", 1)];

/// Parses `<int>[unit]`: `d`, `h`, `mi`, `s` or `ms` in any case, where only the first letters of the unit count
/// (`10days`, `3minutes`). A leading `-` is understood; whether it makes sense is up to the directive.
///
/// # Errors
/// If there is no number, the unit is not known, or the value does not fit.
pub fn parse_duration(text: &str, default: Unit) -> Result<SignedDuration, DurationError> {
    let digits = text.strip_prefix('-').unwrap_or(text).bytes().take_while(u8::is_ascii_digit).count();
    let split = digits + text.len() - text.strip_prefix('-').unwrap_or(text).len();
    let number: i64 = text[..split].parse().map_err(|_| DurationError)?;
    let unit = text[split..].to_ascii_lowercase();
    if unit.starts_with("ms") {
        return bounded(SignedDuration::from_millis(number));
    }
    let seconds = match unit.as_str() {
        "" if default == Unit::Days => DAY,
        "" => 1,
        unit => UNITS.iter().find(|(prefix, _)| unit.starts_with(prefix)).ok_or(DurationError)?.1,
    };
    number.checked_mul(seconds).map(SignedDuration::from_secs).ok_or(DurationError).and_then(bounded)
}

fn bounded(value: SignedDuration) -> Result<SignedDuration, DurationError> {
    if value.unsigned_abs().as_secs() > LONGEST.unsigned_abs() { Err(DurationError) } else { Ok(value) }
}

/// Formats as directives write it: in the biggest unit that divides the whole seconds; `ms` only for a fraction.
#[must_use]
pub fn format_duration(value: SignedDuration) -> String {
    let seconds = value.as_secs();
    if value.subsec_nanos() != 0 {
        return format!("{}ms", value.as_millis());
    }
    UNITS
        .iter()
        .find(|(_, size)| seconds % size == 0)
        .map_or_else(String::new, |(unit, size)| format!("{}{unit}", seconds / size))
}

/// Formats for people: `2 days 3 hours`, parts that are 0 left out.
#[must_use]
pub fn format_human(value: SignedDuration) -> String {
    if value.as_secs() == 0 && value.subsec_nanos() != 0 {
        return format!("{} ms", value.as_millis());
    }
    let mut rest = value.as_secs();
    let mut parts = Vec::new();
    for (name, size) in [("days", DAY), ("hours", 3600), ("minutes", 60), ("seconds", 1)] {
        if rest / size != 0 {
            parts.push(format!("{} {name}", rest / size));
        }
        rest %= size;
    }
    if parts.is_empty() { "0 seconds".to_owned() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn number_and_unit() {
        let rows = [
            ("10days", Unit::Seconds, Some(10 * DAY * 1000)),
            ("14", Unit::Days, Some(14 * DAY * 1000)),
            ("14", Unit::Seconds, Some(14_000)),
            ("3Minutes", Unit::Days, Some(180_000)),
            ("5mi", Unit::Days, Some(300_000)),
            ("2H", Unit::Days, Some(7_200_000)),
            ("1500ms", Unit::Days, Some(1500)),
            ("-3s", Unit::Days, Some(-3000)),
            ("3m", Unit::Days, None),
            ("1y", Unit::Days, None),
            ("1w", Unit::Days, None),
            ("d", Unit::Days, None),
            ("", Unit::Days, None),
            ("-", Unit::Days, None),
            ("9223372036854775807d", Unit::Days, None),
            ("99999999999999999999", Unit::Days, None),
            ("36500d", Unit::Days, Some(36_500 * DAY * 1000)),
            ("36601d", Unit::Days, None),
            ("-36601d", Unit::Days, None),
        ];
        for (text, unit, millis) in rows {
            let parsed = parse_duration(text, unit).ok().map(|d| i64::try_from(d.as_millis()).unwrap());
            assert_eq!(parsed, millis, "{text}");
        }
    }

    #[test]
    fn canonical_form_reads_back() {
        for (text, canonical) in [("14d", "14d"), ("24h", "1d"), ("90mi", "90mi"), ("45s", "45s"), ("500ms", "500ms")] {
            let value = parse_duration(text, Unit::Seconds).unwrap();
            assert_eq!(format_duration(value), canonical);
            assert_eq!(parse_duration(canonical, Unit::Seconds), Ok(value));
        }
    }

    proptest! {
        #[test]
        fn any_duration_reads_back(millis in -3_000_000_000_000_i64..3_000_000_000_000) {
            let value = SignedDuration::from_millis(millis);
            prop_assert_eq!(parse_duration(&format_duration(value), Unit::Seconds), Ok(value));
            prop_assert!(!format_human(value).is_empty());
        }

        #[test]
        fn only_the_first_letters_of_a_unit_count(number in 0_i64..1000, unit in "(d|h|mi|s|ms)", rest in "[a-z]{0,5}") {
            let exact = parse_duration(&format!("{number}{unit}"), Unit::Days);
            prop_assume!(unit != "s" && unit != "mi" || rest.is_empty() || !rest.starts_with('s'));
            let longer = format!("{number}{}{rest}", unit.to_uppercase());
            prop_assert_eq!(parse_duration(&longer, Unit::Seconds), exact);
        }

        #[test]
        fn no_text_is_too_odd(text in "-?[0-9]{0,22}\\PC{0,4}") {
            if let Ok(value) = parse_duration(&text, Unit::Days) {
                prop_assert!(value.unsigned_abs().as_secs() <= LONGEST.unsigned_abs());
            }
        }
    }

    #[test]
    fn human_form_leaves_out_zeros() {
        assert_eq!(format_human(SignedDuration::from_secs(DAY + 61)), "1 days 1 minutes 1 seconds");
        assert_eq!(format_human(SignedDuration::ZERO), "0 seconds");
        assert_eq!(format_human(SignedDuration::from_millis(20)), "20 ms");
    }
}
