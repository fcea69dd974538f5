//! Text from outside, such as a CA's problem documents, as messages and reports have it.

use serde_json::Value;

/// Returns a text from outside with single quotes in place of double ones, which would end a string of an ErrorLogFormat in JSON.
#[must_use]
pub fn plain(text: &str) -> String {
    text.replace('"', "'")
}

/// Makes all texts in a JSON value from outside [`plain`], names of members too.
#[must_use]
pub fn plain_value(value: &Value) -> Value {
    match value {
        Value::String(text) => plain(text).into(),
        Value::Array(items) => items.iter().map(plain_value).collect(),
        Value::Object(members) => members.iter().map(|(name, value)| (plain(name), plain_value(value))).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_from_outside_has_no_double_quotes_at_any_depth() {
        for (text, expected) in [("", ""), ("no \"x\"", "no 'x'"), ("it's", "it's"), ("\u{e4}\"", "\u{e4}'")] {
            assert_eq!(plain(text), expected);
        }
        let value = json!({ "a \"b\"": ["\"", 7, { "c": "\"d\"", "e": null }], "f": true });
        assert_eq!(plain_value(&value), json!({ "a 'b'": ["'", 7, { "c": "'d'", "e": null }], "f": true }));
    }
}
