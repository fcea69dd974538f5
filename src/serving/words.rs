//! Words of a directive's line, split as httpd does (`ap_getword_conf`).

/// Returns the words of a line. Quotes that begin a word hold it together; a backslash before that quote, or before another
/// backslash, goes.
#[must_use]
pub fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start_matches(is_blank);
    while let Some(first) = rest.chars().next() {
        let quote = Some(first).filter(|c| matches!(c, '"' | '\''));
        let text = &rest[quote.map_or(0, char::len_utf8)..];
        let (word, after) = text.split_at(word_end(text, quote));
        words.push(unescaped(word, quote));
        rest = after.strip_prefix(|c| Some(c) == quote).unwrap_or(after).trim_start_matches(is_blank);
    }
    words
}

/// Returns the words between the name of a section and its closing `>`.
///
/// # Errors
/// If there is no `>` or no word.
pub fn section_words(name: &str, rest: &str) -> Result<Vec<String>, String> {
    let Some(inner) = rest.trim_end().strip_suffix('>') else {
        return Err(format!("{name}: directive missing closing '>'"));
    };
    Some(words(inner))
        .filter(|words| !words.is_empty())
        .ok_or_else(|| format!("{name}: section must specify a unique domain name"))
}

/// Checks for white space, as C defines it.
fn is_blank(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\x0b'
}

fn word_end(text: &str, quote: Option<char>) -> usize {
    let Some(quote) = quote else { return text.find(is_blank).unwrap_or(text.len()) };
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        if character == quote {
            return at;
        }
        if character == '\\' {
            characters.next_if(|(_, next)| *next == quote || *next == '\\');
        }
    }
    text.len()
}

fn unescaped(word: &str, quote: Option<char>) -> String {
    let mut characters = word.chars().peekable();
    std::iter::from_fn(|| match characters.next() {
        Some('\\') => characters.next_if(|next| *next == '\\' || Some(*next) == quote).or(Some('\\')),
        other => other,
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_as_httpd_splits_them() {
        let rows: [(&str, &[&str]); 14] = [
            ("", &[]),
            (" \t ", &[]),
            ("a.org b.org", &["a.org", "b.org"]),
            ("  a.org\tb.org\x0b ", &["a.org", "b.org"]),
            (r#""a b" 'c "d"'"#, &["a b", r#"c "d""#]),
            (r#""" ''"#, &["", ""]),
            (r#""a"b"#, &["a", "b"]),
            (r#"a"b c""#, &[r#"a"b"#, r#"c""#]),
            (r#""never closed"#, &["never closed"]),
            (r#""a \" b" 'a \' b'"#, &[r#"a " b"#, "a ' b"]),
            (r#""a\\" "b\c""#, &[r"a\", r"b\c"]),
            (r#"a\\b a\b a\ b a\"b"#, &[r"a\b", r"a\b", r"a\", "b", r#"a\"b"#]),
            (r#""a\"#, &[r"a\"]),
            ("'bücher.example' é", &["bücher.example", "é"]),
        ];
        for (line, expected) in rows {
            assert_eq!(words(line), expected, "{line:?}");
        }
    }

    #[test]
    fn a_section_names_a_domain_and_is_closed() {
        assert_eq!(section_words("<MDomain", "a.org 'b c' > ").unwrap(), ["a.org", "b c"]);
        assert_eq!(section_words("<MDomain", "a.org>").unwrap(), ["a.org"]);
        assert_eq!(section_words("<MDomain", "a.org").unwrap_err(), "<MDomain: directive missing closing '>'");
        for empty in [">", " > "] {
            let refusal = section_words("<MDomain", empty).unwrap_err();
            assert_eq!(refusal, "<MDomain: section must specify a unique domain name");
        }
    }
}
