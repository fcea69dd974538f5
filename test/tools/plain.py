"""Checks that the sources can be read a line at a time: subjects of doc comments, tuple-lets, long functions.

Counts doc comments whose first word hides their subject, `let` that packs values into a literal tuple and takes them out
again, and functions longer than a page or with too many parameters. Run it at the top of the tree, or give it another
tree; `-v` lists every place. The limits and words are the tables below.
"""
import re
import sys
from collections import Counter
from pathlib import Path

from layers import tokens

# A doc comment that begins with one of these makes sense only beside its neighbours.
HIDES_SUBJECT = """
    It, We, You, He, She, They, My, Our, Your, His, Her, Its, Their, Theirs, This, That, These, Those,
    Who, Whom, Whose, Whoever, Which, Whichever, What, Whatever, Same, The same, Such, One, Ones, None, No one,
    Nobody, Nothing, Everybody, Everyone, Everything, Somebody, Someone, Something, Anybody, Anyone, Anything
"""
MOST_HIDDEN_PERCENT = 3
MOST_TUPLE_LETS = 20
MOST_LINES = 60
MOST_PARAMETERS = 6

# Functions that may be longer because they are a table, as `file::name`, and what the table is of.
TABLES = {}

# Folders and files that are all tests.
TESTING = {"tests", "testing"}

HIDDEN = re.compile("(" + "|".join(re.split(r",\s+", HIDES_SUBJECT.strip())) + r")\b")
OPENING, CLOSING = "([{", ")]}"


def doc_comments(source):
    """(line, text of the first line) of each block of doc comments."""
    marker = None
    for number, line in enumerate(source.splitlines(), 1):
        found = re.match(r"\s*(///(?!/)|//!)\s?(.*)", line)
        if found and found[1] != marker:
            yield number, found[2].strip()
        marker = found and found[1]


def closing(toks, at):
    """The place of the bracket that closes the one at toks[at]."""
    depth = 0
    for place in range(at, len(toks)):
        depth += (toks[place][1] in OPENING) - (toks[place][1] in CLOSING)
        if depth == 0:
            return place
    return len(toks) - 1


def commas(toks):
    """How many commas stand outside of brackets and generic arguments."""
    depth, count, before = 0, 0, ""
    for _, token in toks:
        depth += (token in OPENING or token == "<") - (token in CLOSING or token == ">" and before not in ("-", "="))
        count += token == "," and depth == 0
        before = token
    return count


def tuple_lets(toks):
    """Lines of `let (..) = (.., ..);`, with a type or without."""
    for at, (line, token) in enumerate(toks[:-1]):
        if token != "let" or toks[at + 1][1] != "(":
            continue
        equals = closing(toks, at + 1) + 1
        while equals < len(toks) and toks[equals][1] not in "=;{":
            equals = closing(toks, equals) + 1 if toks[equals][1] in OPENING else equals + 1
        if equals + 1 >= len(toks) or toks[equals][1] != "=" or toks[equals + 1][1] != "(":
            continue
        end = closing(toks, equals + 1)
        if toks[end + 1:end + 2] and toks[end + 1][1] == ";" and commas(toks[equals + 2:end]):
            yield line


def functions(toks):
    """(name, line, lines, parameters) of each function that has a body and is not a test's."""
    at, test_next = 0, False
    while at < len(toks) - 1:
        line, token = toks[at]
        if token.startswith("#"):
            test_next |= bool(re.match(r"#\[(cfg\(test|cfg\(all\(test|test\b)", token))
        elif token in ("{", ";") and test_next:
            at, test_next = closing(toks, at) if token == "{" else at, False
        elif token == "fn" and re.match(r"\w", toks[at + 1][1]) and not test_next:
            start = next(place for place in range(at, len(toks)) if toks[place][1] == "(")
            end = closing(toks, start)
            body = end
            while toks[body][1] not in "{;":
                body = closing(toks, body) + 1 if toks[body][1] in "([" else body + 1
            if toks[body][1] == "{":
                parameters = commas(toks[start + 1:end]) + (end > start + 1 and toks[end - 1][1] != ",")
                yield toks[at + 1][1], line, toks[closing(toks, body)][0] - line + 1, parameters
        at += 1


def only_for_tests(path, source_of):
    """Whether a file is a test's: by its name, its folder, or the `mod` that declares it."""
    if TESTING & {*path.with_suffix("").parts}:
        return True
    folder = path.parent
    for parent in (folder / "mod.rs", folder / "lib.rs", Path(f"{folder}.rs")):
        if re.search(rf"#\[cfg\(test\)\]\s*(pub(\([^)]*\))? )?mod {path.stem};", source_of.get(parent, "")):
            return True
    return False


class Count:
    """What is counted over a tree: places as (folder, file, line, words)."""

    def __init__(self, root):
        found = [root / "build.rs", *(root / "apache-sys").rglob("*.rs"), *(root / "src").rglob("*.rs")]
        self.source_of = {file.relative_to(root): file.read_text() for file in sorted(found) if file.is_file()}
        self.docs, self.hidden, self.tuples, self.long = Counter(), [], [], []
        self.longest = (0, "")
        for path, source in self.source_of.items():
            self.read(path, source)

    def read(self, path, source):
        """Adds one file."""
        folder = "/".join(path.parts[:2])
        for line, text in doc_comments(source):
            self.docs[folder] += 1
            if HIDDEN.match(text):
                self.hidden.append((folder, path, line, text))
        toks = list(tokens(source))
        if path.parts[0] == "src":
            self.tuples += [(folder, path, line, "packs values into a tuple: write a let each") for line in tuple_lets(toks)]
        if only_for_tests(path, self.source_of):
            return
        for name, line, lines, parameters in functions(toks):
            if f"{path}::{name}" in TABLES:
                continue
            self.longest = max(self.longest, (lines, f"{path}::{name}"))
            if lines > MOST_LINES or parameters > MOST_PARAMETERS:
                self.long.append((folder, path, line, f"{name} has {lines} lines, {parameters} parameters"))

    def too_much(self):
        """The lists that are over their limit."""
        limits = ((self.hidden, self.docs.total() * MOST_HIDDEN_PERCENT / 100), (self.tuples, MOST_TUPLE_LETS), (self.long, 0))
        return [places for places, most in limits if len(places) > most]

    def summary(self):
        """The figures, one line each."""
        share = 100 * len(self.hidden) / max(self.docs.total(), 1)
        yield (f"{len(self.hidden)} of {self.docs.total()} doc comments ({share:.1f} %) begin with a word that hides their "
               f"subject; at most {MOST_HIDDEN_PERCENT} %")
        yield f"{len(self.tuples)} tuple-lets; at most {MOST_TUPLE_LETS}"
        yield f"{len(self.long)} functions over {MOST_LINES} lines or {MOST_PARAMETERS} parameters; longest: {self.longest[1]}, {self.longest[0]} lines"

    def by_folder(self):
        """The same figures per folder."""
        for folder in sorted(self.docs):
            mine = [sum(place[0] == folder for place in places) for places in (self.hidden, self.tuples, self.long)]
            yield f"{folder}: {mine[0]} of {self.docs[folder]} doc comments, {mine[1]} tuple-lets, {mine[2]} functions"


def main(args):
    """Checks the tree in args, or the one here."""
    verbose = "-v" in args
    roots = [arg for arg in args if arg != "-v"]
    count = Count(Path(roots[0] if roots else ".").resolve())
    too_much = count.too_much()
    for places in (count.hidden, count.tuples, count.long) if verbose else too_much:
        for _, path, line, words in places:
            print(f"{path}:{line}: {words}")
    if verbose:
        print(*count.by_folder(), sep="\n")
    print(*count.summary(), sep="\n")
    return 1 if too_much else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
