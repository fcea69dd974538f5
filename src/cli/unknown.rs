//! Words that are not known, with the known word that may have been meant.

use std::fmt;

/// A word that is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// The word as it was given.
    pub word: String,
    /// The known word that is most like it, if one is like it.
    pub near: Option<String>,
}

impl Unknown {
    /// Finds the known word that differs by a slip: by one letter, and by one more for every five letters, at most by three. The
    /// first letter is the same: people see that one, and `a.org` is no slip of `b.org`.
    pub fn among<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let most = (1 + word.chars().count() / 5).min(3);
        let lower = word.to_lowercase();
        let known = known.into_iter().filter(|known| known.to_lowercase().chars().next() == lower.chars().next());
        let distances = known.map(|known| (strsim::osa_distance(&lower, &known.to_lowercase()), known));
        let near = distances.filter(|(distance, _)| (1..=most).contains(distance)).min();
        Self { word: word.to_owned(), near: near.map(|(_, known)| known.to_owned()) }
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.word)?;
        self.near.as_ref().map_or(Ok(()), |near| write!(f, "; did you mean {near}?"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_nearly_known_leads_to_the_known_one() {
        let known = ["status", "store list", "drive", "a.example.org", "b.example.org"];
        for (word, near) in [
            ("stauts", "; did you mean status?"),
            ("DRVIE", "; did you mean drive?"),
            ("aexample.org", "; did you mean a.example.org?"),
            ("store lits", "; did you mean store list?"),
            ("frob", ""),
            ("", ""),
            ("c.example.org", ""),
        ] {
            assert_eq!(Unknown::among(word, known).to_string(), format!("{word}{near}"));
        }
    }
}
