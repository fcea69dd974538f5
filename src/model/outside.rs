//! Text from outside: from authorities, responders and proxies, and from files that others may have written. It has a limit, and
//! no character that a terminal, a log or a page takes for more than text.

use std::borrow::Cow;

use serde::de::{DeserializeOwned, Error};
use serde_json::Value;

use super::without_passwords;

/// The most bytes of a text.
pub const LONGEST: usize = 1 << 10;
/// The most bytes of the detail of a problem.
pub const LONGEST_DETAIL: usize = 4 << 10;
/// The most bytes of a text in a file: sentences of this module are put together from several texts.
const LONGEST_STORED: usize = 16 << 10;
/// The most values in a JSON document: each takes much more memory than its text.
const MOST_VALUES: usize = 20_000;
/// The end of a text that was cut.
const CUT: &str = "...";

/// Returns a text that can be shown, of at most [`LONGEST`] bytes, with single quotes.
#[must_use]
pub fn text(text: &str) -> String {
    plain(&shown(text, LONGEST))
}

/// Returns the value of a header, of at most [`LONGEST`] bytes and with its quotes, which stand around parameters (RFC 8288).
#[must_use]
pub fn header(value: &str) -> String {
    shown(value, LONGEST).into_owned()
}

/// Returns the detail of a problem so that it can be shown, with at most [`LONGEST_DETAIL`] bytes and with single quotes.
#[must_use]
pub fn detail(text: &str) -> String {
    plain(&shown(text, LONGEST_DETAIL))
}

/// Reads a JSON document of an authority. Its texts can be shown, and each has its limit.
///
/// # Errors
/// If it is not JSON of that type, or has too many values.
pub fn json<T: DeserializeOwned>(document: &[u8]) -> serde_json::Result<T> {
    let longest = |member: &str| if member == "detail" { LONGEST_DETAIL } else { LONGEST };
    let value = changed(bounded(document)?, "", &|member, text| shown(text, longest(member)).into_owned());
    serde_json::from_value(value)
}

/// Reads a JSON document of the store, which somebody else may have put there. Its texts can be shown.
///
/// # Errors
/// If it is not JSON of that type, or has too many values.
pub fn stored<T: DeserializeOwned>(document: &[u8]) -> serde_json::Result<T> {
    // Most files have nothing to replace, and a server with many domains reads many.
    if document.len() <= LONGEST_STORED
        && !document.iter().any(|byte| *byte == b'\\' || !byte.is_ascii() || *byte == 0x7f)
    {
        return serde_json::from_slice(document);
    }
    let value = changed(bounded(document)?, "", &|_, text| shown(text, LONGEST_STORED).into_owned());
    serde_json::from_value(value)
}

/// Returns a text from outside with single quotes in place of double ones, which would end a string of an ErrorLogFormat in JSON.
#[must_use]
pub fn plain(text: &str) -> String {
    text.replace('"', "'")
}

/// Makes all texts in a JSON value from outside [`plain`], names of members too.
#[must_use]
pub fn plain_value(value: &Value) -> Value {
    changed(value.clone(), "", &|_, text| plain(text))
}

/// Changes all texts in a JSON value, names of members too. `change` gets the name of the member that a text stands in, and the
/// text.
fn changed(value: Value, member: &str, change: &impl Fn(&str, &str) -> String) -> Value {
    match value {
        Value::String(text) => change(member, &text).into(),
        Value::Array(values) => values.into_iter().map(|value| changed(value, member, change)).collect(),
        Value::Object(members) => {
            members.into_iter().map(|(name, value)| (change("", &name), changed(value, &name, change))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

fn bounded(document: &[u8]) -> serde_json::Result<Value> {
    if values(document) > MOST_VALUES {
        return Err(Error::custom(format!("more than {MOST_VALUES} values")));
    }
    serde_json::from_slice(document)
}

/// Counts the values of a JSON document, those in lists and objects included.
fn values(document: &[u8]) -> usize {
    let mut in_text = false;
    let mut is_escaped = false;
    let mut count = 1;
    for byte in document {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = in_text,
            b'"' => in_text = !in_text,
            b'[' | b'{' | b',' if !in_text => count += 1,
            _ => {}
        }
    }
    count
}

fn shown(text: &str, longest: usize) -> Cow<'_, str> {
    if text.len() <= longest {
        return printable(text);
    }
    let most = longest - CUT.len();
    let end = (0..=most).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    Cow::Owned(format!("{}{CUT}", printable(&text[..end])))
}

/// Returns a line for a log or a terminal, whatever its parts are: without control characters, and without the users and passwords
/// of URLs.
#[must_use]
pub fn line(text: &str) -> String {
    printable(&without_passwords(text)).into_owned()
}

/// Replaces the characters that are not shown as they are: a blank stands for those that begin a line or move to a column, a
/// question mark for the others.
fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| replacement(c).is_none()) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| replacement(c).unwrap_or(c)).collect())
}

/// Returns what stands for a control character, or for one that changes the direction of the text around it (Unicode Standard
/// Annex 9).
fn replacement(c: char) -> Option<char> {
    match c {
        '\t' | '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => Some(' '),
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => Some('?'),
        _ => c.is_control().then_some('?'),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn characters_that_are_more_than_text_are_replaced() {
        let rows = [
            ("It's fine: Größe 10 °C, 証明書, \u{1f512}", "It's fine: Größe 10 °C, 証明書, \u{1f512}"),
            ("two\r\nlines\tand\u{2028}more\u{2029}\u{85}", "two  lines and more  "),
            ("\u{1b}[2J\u{1b}]0;title\u{7}\u{9b}1m\0\u{7f}", "?[2J?]0;title??1m??"),
            ("a\u{202e}b\u{202a}\u{2066}c\u{2069}\u{200e}\u{200f}\u{61c}", "a?b??c????"),
        ];
        for (given, expected) in rows {
            assert_eq!(text(given), expected);
            assert_eq!(printable(expected), expected);
        }
        let replaced = (0..=u32::from(char::MAX)).filter_map(char::from_u32).filter(|c| replacement(*c).is_some());
        assert_eq!(replaced.count(), 65 + 2 + 12, "control characters, separators, direction");
    }

    #[test]
    fn a_line_is_one_line_without_passwords() {
        let given = "at https://user:secret@ca.test/\n[error] forged\u{1b}[0m";
        assert_eq!(line(given), "at https://***@ca.test/ [error] forged?[0m");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        for (given, expected) in [
            ("x".repeat(1024), "x".repeat(1024)),
            ("x".repeat(1025), format!("{}...", "x".repeat(1021))),
            ("é".repeat(513), format!("{}...", "é".repeat(510))),
        ] {
            assert_eq!(text(&given), expected);
            assert_eq!(detail(&given), given);
        }
        assert_eq!(detail(&"x".repeat(1 << 20)).len(), LONGEST_DETAIL);
    }

    #[test]
    fn all_texts_of_a_document_can_be_shown() {
        let document = json!({
            "a\nb": ["\u{1b}", { "c": "\u{202e}", "detail": "x".repeat(5000) }, 1, null],
            "url": "x".repeat(5000),
        });
        let document = document.to_string().into_bytes();
        let read: Value = json(&document).unwrap();
        assert_eq!(read["a b"][0], "?");
        assert_eq!(read["a b"][1]["c"], "?");
        assert_eq!(read["a b"][1]["detail"].as_str().unwrap().len(), LONGEST_DETAIL);
        assert_eq!((&read["a b"][2], &read["a b"][3]), (&json!(1), &Value::Null));
        assert_eq!(read["url"].as_str().unwrap().len(), LONGEST);
        let read: Value = stored(&document).unwrap();
        assert_eq!((&read["a b"][0], read["url"].as_str().unwrap().len()), (&json!("?"), 5000));
    }

    #[test]
    fn a_file_is_cleaned_however_it_has_its_characters() {
        for raw in [r#"{"a":"x\u001b"}"#, r#"{"a":"x\n"}"#, "{\"a\":\"x\u{9b}\"}", "{\"a\":\"x\u{7f}\"}"] {
            let read: Value = stored(raw.as_bytes()).unwrap();
            assert!(matches!(read["a"].as_str(), Some("x?" | "x ")), "{raw:?}");
        }
        assert_eq!(stored::<Value>(br#"{"a":"C:\\x \"y\" \u00fc"}"#).unwrap()["a"], "C:\\x \"y\" ü");
        assert!(stored::<Value>(b"{").is_err());
    }

    #[test]
    fn values_are_counted_outside_of_texts() {
        for (document, expected) in [("7", 1), ("[]", 2), ("[1,[2],{}]", 6), (r#"["a,[{\",", "\\"]"#, 3)] {
            assert_eq!(values(document.as_bytes()), expected, "{document}");
        }
        let list = |count: usize| format!("[{}0]", "0,".repeat(count)).into_bytes();
        assert!(json::<Value>(&list(MOST_VALUES - 2)).is_ok());
        let err = json::<Value>(&list(MOST_VALUES)).unwrap_err();
        assert_eq!(err.to_string(), "more than 20000 values");
    }

    #[test]
    fn text_from_outside_has_no_double_quotes_at_any_depth() {
        for (text, expected) in [("", ""), ("no \"x\"", "no 'x'"), ("it's", "it's"), ("\u{e4}\"", "\u{e4}'")] {
            assert_eq!(plain(text), expected);
            assert_eq!(
                (super::text(text), detail(text), header(text)),
                (expected.into(), expected.into(), text.into())
            );
        }
        let value = json!({ "a \"b\"": ["\"", 7, { "c": "\"d\"", "e": null }], "f": true });
        assert_eq!(plain_value(&value), json!({ "a 'b'": ["'", 7, { "c": "'d'", "e": null }], "f": true }));
    }
}
