"""The documents say what the sources say."""
import re
import tomllib
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent


DOCUMENTS = sorted([*TOP.glob("*.md"), *TOP.glob("docs/*.md"), *TOP.glob("test/*.md")])


def common():
    """The table of common directives as pairs: name, and whether it may stand in the section of a domain."""
    table = (TOP / "docs/start.md").read_text().split("## The common directives")[1].split("\n## ")[0]
    for line in table.splitlines():
        if line.startswith(("| `MD", "| `<MD")):
            cell = line.replace("\\|", "/").split("|")[1].strip()
            for name in re.findall(r"`(<?MD\w+)", cell):
                yield name, cell.endswith("*")


def described():
    """Pairs of directive and place, from the sections of docs/directives.md."""
    sections = re.findall(r"^### `(<?MD\w+)>?`$.*?^- Context: (.*?)$", (TOP / "docs/directives.md").read_text(), re.M | re.S)
    return {(name, "`<MDomainSet>`" in context) for name, context in sections}


def anchors(text):
    """The targets that GitHub gives the headings of a document; the second of the same name gets a number."""
    found = []
    for heading in re.findall(r"^#+ (.+)$", re.sub(r"^ *```.*?^ *```$", "", text, flags=re.M | re.S), re.M):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        times = sum(bool(re.fullmatch(rf"{re.escape(slug)}(-\d+)?", each)) for each in found)
        found.append(f"{slug}-{times}" if times else slug)
    return found


def test_the_common_directives_are_listed_as_they_are_described():
    listed = set(common())
    assert listed
    assert listed <= described()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(TOP)))
def test_links_lead_somewhere(document):
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if re.match(r"\w+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            broken.append(link)
    assert not broken


def test_monitoring_lists_the_problems_that_the_sources_have():
    """Each is a word in one of the functions that name problems; `ocsp` and `command` failures have theirs in a row."""
    table = (TOP / "docs/monitoring.md").read_text().split("## Problems of renewals")[1].split("\n## ")[0]
    listed = {name for row in re.findall(r"^\| (`.*?) \|", table, re.M) for name in re.findall(r"`([^`]+)`", row)} - {"problem"}
    known = {"unknown", "urn:org:apache:httpd:log:AH10108:", "urn:org:apache:httpd:log:AH10109:"}
    for source in ("acme/error.rs", "http/error.rs", "tailscale/error.rs", "ocsp/fetch.rs", "acme/ports.rs"):
        text = (TOP / "src" / source).read_text()
        functions = re.findall(r"^    (?:pub )?fn (?:own_)?problem\(.*?^    }$", text, re.M | re.S)
        names = [name for function in functions for name in re.findall(r'"([^"]+)"', function)]
        names += re.findall(r'const PROBLEM: &str = "([^"]+)"', text)
        assert names, source
        known |= {name for name in names if not name.startswith("urn:ietf:")}
    assert listed == known


def test_no_message_has_the_number_of_another_in_its_text():
    """A search for a number in the log finds that message only. Pages and a2md may name one: they are not in the log."""
    numbers = set(re.findall(r"^    (\w+) [A-Z]\w+ \"", (TOP / "src/log.rs").read_text(), re.M))
    assert {"AH10059", "MD0007"} <= numbers
    sources = {path.relative_to(TOP / "src"): path.read_text() for path in (TOP / "src").rglob("*.rs")}
    of_tests = {name for text in sources.values() for name in re.findall(r"#\[cfg\(test\)\]\n(?:pub(?:\(\w+\))? )?mod (\w+);", text)}
    found = []
    for part, text in sources.items():
        if part.parts[0] in ("status", "cli") or of_tests & set(part.with_suffix("").parts):
            continue
        text = text.partition("#[cfg(test)]\nmod tests {")[0].replace("'\"'", "")
        for literal in re.findall(r'"((?:[^"\\]|\\.)*)"', text, re.S):
            found += [(str(part), number) for number in re.findall(r"\b(?:AH|MD)\d+", literal) if number in numbers]
    assert not found


def test_debians_changelog_opens_with_the_version_that_is_built():
    version = tomllib.loads((TOP / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    assert re.match(r"mod-md-rs \((.*)-\d+\)", (TOP / "debian/changelog").read_text())[1] == version


def test_changelog_opens_with_the_version_that_is_built():
    version = tomllib.loads((TOP / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    assert re.findall(r"^## (\S+)", (TOP / "CHANGELOG.md").read_text(), re.M)[0] == version


def crates(manifest):
    """The names of all dependencies in a Cargo.toml, those of this workspace left out."""
    tables = tomllib.loads((TOP / manifest).read_text())
    kinds = ("dependencies", "build-dependencies", "dev-dependencies")
    return {name for kind in kinds for name in tables.get(kind, {}) if name != "apache-sys"}


def test_each_dependency_has_its_reason():
    rows = re.findall(r"^\| (`.*?) \|", (TOP / "docs/dependencies.md").read_text(), re.M)
    listed = {name for row in rows for name in re.findall(r"`([\w-]+)`", row)} - {"apache-sys"}
    assert listed == crates("Cargo.toml") | crates("apache-sys/Cargo.toml")


def test_files_that_the_architecture_names_are_there():
    """So the page changes with a file that is moved."""
    text = "".join((TOP / "docs" / page).read_text() for page in ("architecture.md", "dependencies.md"))
    named = set(re.findall(r"`((?:src|c-shim|apache-sys|test|docs|conf|contrib)/[\w./-]*)`", text))
    assert len(named) > 50
    assert [path for path in sorted(named) if not (TOP / path).exists()] == []


def test_the_architecture_names_each_room():
    rooms = {f"src/{path.name}/" if path.is_dir() else f"src/{path.name}" for path in (TOP / "src").iterdir()}
    table = (TOP / "docs/architecture.md").read_text().split("## The code")[1].split("\n## ")[0]
    assert rooms - set(re.findall(r"`([^`]+)`", table)) == {"src/bin/", "src/lib.rs"}


def test_functions_that_the_architecture_names_are_in_their_files():
    """As in "`src/x.rs`, `function`" and "`Type::function` in `src/x.rs`"."""
    text = (TOP / "docs/architecture.md").read_text()
    named = re.findall(r"`(src/[\w/]+\.rs)`, `(?:\w+::)?(\w+)`", text)
    named += [(file, name) for name, file in re.findall(r"`(?:\w+::)?(\w+)` in `(src/[\w/]+\.rs)`", text)]
    assert len(named) > 12
    is_there = lambda file, name: re.search(rf"\b(?:fn|trait|struct|enum) {name}\b", (TOP / file).read_text())  # noqa: E731
    assert [pair for pair in named if not is_there(*pair)] == []


def test_tests_that_the_architecture_names_are_there():
    """In backquotes, as what finds a forgotten place."""
    sources = [*(TOP / "src").rglob("*.rs"), *(TOP / "test").glob("*.py")]
    text = "".join(path.read_text() for path in sources)
    steps = (TOP / "docs/architecture.md").read_text().split("## How to add")[1].split("## Threat model")[0]
    named = set(re.findall(r"`((?:test|the|what|numbers|commands|each)_\w{12,})`", steps))
    assert len(named) > 6
    assert [name for name in sorted(named) if not re.search(rf"\b(?:fn|def) {name}\b", text)] == []


def test_each_word_of_the_glossary_has_its_place():
    """In the order of the alphabet, each once."""
    rows = re.findall(r"^\| ([^|]+) \|", (TOP / "docs/architecture.md").read_text().split("## Glossary")[1], re.M)[1:]
    assert len(rows) > 20
    assert rows == sorted(set(rows))


def test_events_are_described():
    names = set(names_of_events().values())
    table = (TOP / "docs/directives.md").read_text().split("### `MDMessageCmd`")[1].split("\n### ")[0]
    described = {name.partition(":")[0] for name in re.findall(r"^\| `([^`]+)`", table, re.M)}
    assert len(names) > 10
    assert described == names


# The events of the C module's manual.
EVENTS_OF_C = {"renewing", "challenge-setup", "renewed", "installed", "expiring", "errored", "ocsp-renewed", "ocsp-errored"}


def names_of_events():
    """The name of each variant of `Event`, as `EVENTS` has it."""
    [names] = re.findall(r"const EVENTS: .*?^];$", source_of("events.rs"), re.M | re.S)
    [function] = re.findall(r"fn position\(.*?^    }$", source_of("events.rs"), re.M | re.S)
    names = re.findall(r'"([\w-]+)"', names)
    positions = re.findall(r"Self::(\w+)(?:\(_\))? => (\d+)", function)
    assert sorted(int(position) for _, position in positions) == list(range(len(names)))
    return {variant: names[int(position)] for variant, position in positions}


def test_each_event_is_raised_and_has_its_rows():
    """The compiler does not miss an event that nobody raises, as the enum is public."""
    code, _, tests = source_of("events.rs").partition("#[cfg(test)]\nmod tests {")
    [body] = re.findall(r"^pub enum Event<'a> \{(.*?)^}", code, re.M | re.S)
    variants = set(re.findall(r"^    (\w+)(?:\(.*\))?,$", body, re.M))
    assert variants == set(names_of_events())
    of_tests = {"testing", "tests", "tests.rs", "events.rs"}
    sources = [path.read_text() for path in (TOP / "src").rglob("*.rs") if not of_tests & set(path.relative_to(TOP / "src").parts)]
    raised = {name for text in sources for name in re.findall(r"\braise\([^;]*?\bEvent::(\w+)", text.partition("#[cfg(test)]\nmod tests {")[0])}
    assert variants - raised == set()
    for test in ("an_event_is_raised_once_within_its_pause", "commands_get_their_arguments_and_success_is_recorded"):
        [function] = re.findall(rf"fn {test}\(.*?^    }}$", tests, re.M | re.S)
        assert variants - set(re.findall(r"\(Event::(\w+)", function)) == set(), test


def test_events_that_the_c_module_does_not_have_are_told_in_each_document():
    directives, differences = (TOP / "docs/directives.md").read_text(), (TOP / "docs/differences.md").read_text()
    names = names_of_events()
    [function] = re.findall(r"fn is_compatible\(.*?^    }$", source_of("events.rs"), re.M | re.S)
    [arm] = re.findall(r"^ +(Self::.*?) => false", function, re.M)
    not_compatible = {names[variant] for variant in re.findall(r"Self::(\w+)", arm)}
    table = directives.split("### `MDMessageCmd`")[1].split("\n### ")[0]
    assert set(re.findall(r"^\| `([\w-]+)[^|]*` \(all\) \|", table, re.M)) == not_compatible
    section = directives.split("### `MDMessageEvents`")[1].split("\n### ")[0]
    assert set(re.findall(r"`([\w-]+)`", section.split("`all` adds")[1])) == not_compatible
    ours = set(names.values()) - EVENTS_OF_C
    assert not_compatible < ours
    changelog = (TOP / "CHANGELOG.md").read_text()
    assert [name for name in sorted(ours) if f"`{name}`" not in changelog] == []
    assert ours - set(re.findall(r"^\| `([^`]+)` \|", differences, re.M)) == set()


def test_challenge_types_are_described():
    """And every type can be configured: it is in the list of all."""
    text = (TOP / "src/acme/challenge/mod.rs").read_text()
    [body] = re.findall(r"pub enum ChallengeType \{(.*?)^}", text, re.M | re.S)
    [listed] = re.findall(r"const ALL: .*? = \[(.*?)\];", text)
    variants = re.findall(r"^    (\w+),", body, re.M)
    assert variants and sorted(re.findall(r"Self::(\w+)", listed)) == sorted(variants)
    [function] = re.findall(r"fn properties\(.*?^    }$", text, re.M | re.S)
    names = re.findall(r'name: "([^"]+)"', function)
    section = (TOP / "docs/directives.md").read_text().split("### `MDCAChallenges`")[1].split("\n### ")[0]
    assert re.findall(r"^\| `([^`]+)` \|", section, re.M) == names
    # What answers them only a CA can tell.
    assert [name for name in names if not (TOP / f"test/test_{name.replace('-', '_')}.py").exists()] == []
    changelog, switching = (TOP / "CHANGELOG.md").read_text(), (TOP / "docs/switching.md").read_text()
    assert [name for name in names if name not in changelog] == []
    [command] = re.findall(r"^grep -rnE .*$", switching, re.M)
    unknown_to_c = set(names) - {"http-01", "dns-01", "tls-alpn-01"}
    assert [name for name in unknown_to_c if name not in command or f"| `MDCAChallenges {name}` |" not in switching] == []


def test_changelog_names_what_the_c_module_does_not_have():
    """All directives and all message numbers of our own: an administrator finds there what is new."""
    changelog = (TOP / "CHANGELOG.md").read_text()
    directives = re.findall(r'ours\(row\(c"<?(\w+)', (TOP / "src/model/directive.rs").read_text())
    messages = re.findall(r"^    (MD\d{4}) ", (TOP / "src/log.rs").read_text(), re.M)
    assert len(directives) > 5 and len(messages) > 30
    assert [name for name in [*directives, *messages] if name not in changelog] == []


def test_each_list_of_directives_that_the_c_module_does_not_have_is_complete():
    """At the top of docs/directives.md, and on the way back: the command that finds them, and the table."""
    ours = sorted(re.findall(r'ours\(row\(c"<?(\w+)', (TOP / "src/model/directive.rs").read_text()))
    top = (TOP / "docs/directives.md").read_text().partition("\n- ")[0]
    switching = (TOP / "docs/switching.md").read_text()
    [command] = re.findall(r"^grep -rnE .*?\(MD\((.*?)\)", switching, re.M)
    [row] = re.findall(r"^\| (.*?) \| invalid command", switching, re.M)
    assert sorted(re.findall(r"`(MD\w+)`", top)) == ours
    assert sorted(f"MD{name}" for name in command.split("|")) == ours
    assert sorted(re.findall(r"`(MD\w+)`(?! is the same)", row)) == ours


def source_of(name):
    """The text of the one file in src with this name."""
    [path] = (TOP / "src").rglob(name)
    return path.read_text()


def test_each_message_is_in_the_page_of_messages_with_its_level():
    """And no other number, so that a search for what the log says finds a row."""
    words = {"Critical": "crit", "Warning": "warn"}
    known = re.findall(r"^    ((?:AH|MD)\d+) (\w+) \"", (TOP / "src/log.rs").read_text(), re.M)
    levels = {number: words.get(level, level.lower()) for number, level in known}
    to_act_on, closer = (TOP / "docs/messages.md").read_text().split("## Messages to act on")[1].split("## Messages for a closer look")
    rows = [re.findall(r"^\| ((?:AH|MD)\d+) \| (\w+) \|", part, re.M) for part in (to_act_on, closer)]
    assert dict(rows[0] + rows[1]) == levels
    for part in rows:
        assert part == sorted(set(part))
    assert {level for _, level in rows[0]} == {"crit", "error", "warn", "notice"}


# Words in the tables of docs/troubleshooting.md that are the system's or httpd's.
OF_OTHERS = {": Permission denied", "No space left on device", "Invalid command 'MDomain'", "Invalid command 'MDActivation'",
             "AH02572: Failed to configure at least one certificate and key", "No TXT record found at _acme-challenge",
             "NXDOMAIN looking up TXT", "Incorrect TXT record", "too many failed authorizations"}


def test_words_of_the_log_in_the_troubleshooting_page_are_those_of_the_sources():
    """The first column of tables with the heading "In the log"; dots stand for what differs from case to case."""
    tables = re.findall(r"^\| In the log.*?\n(.*?)(?:\n\n|\Z)", (TOP / "docs/troubleshooting.md").read_text(), re.M | re.S)
    cells = [row.split(" | ")[0] for table in tables for row in table.splitlines()[1:]]
    quoted = {part.strip(" ") for cell in cells for words in re.findall(r"`([^`]+)`", cell) for part in words.split("…")}
    text = "".join(path.read_text() for path in (TOP / "src").rglob("*.rs"))
    text = re.sub(r"\\\n\s*", "", text)
    assert len(quoted) > 40
    assert sorted(part for part in quoted - OF_OTHERS if part not in text) == []


def test_the_page_of_the_store_has_each_directory_and_file():
    """With the modes and owners of `Group` and `Aspect` in src/store/paths.rs."""
    text, page = (TOP / "src/store/paths.rs").read_text(), (TOP / "docs/store.md").read_text()
    owner = {"true": "server", "false": "root"}
    rules = re.findall(r'Self::\w+ +=> \("(\w+)", +0o(\d+), 0o(\d+), (true|false)\)', text)
    rows = re.findall(r"^\| `(\w+)/` \| (\w+) \| (\d+), (\d+) \|", page, re.M)
    assert len(rules) > 8
    assert sorted(rows) == sorted((name, owner[of_server], f"0{of_dir}", f"0{of_file}") for name, of_dir, of_file, of_server in rules)
    [function] = re.findall(r"pub fn file_name\(.*?^    }$", text, re.M | re.S)
    files = set(re.findall(r'=> "([^"]+)"\.to_owned', function)) | {f"{name}.pem" for name in re.findall(r'pem\("([\w-]+)"', function)}
    table = page.split("## Files")[1].split("\n## ")[0]
    listed = {name for row in re.findall(r"^\| (`.*?) \|", table, re.M) for name in re.findall(r"`([^`]+)`", row)}
    assert listed - files == {"md_store.json", "httpd.json", "store.lock", "change.lock", "server.lock", ".generation", "ocsp-….json"}
    assert files - listed == set()


def test_every_page_is_reached_from_the_readme():
    """By links from page to page."""
    reached, open_pages = set(), [TOP / "README.md"]
    while open_pages:
        page = open_pages.pop()
        if page not in reached:
            reached.add(page)
            links = re.findall(r"\]\(([^)#\s]+\.md)(?:#[^)]*)?\)", page.read_text())
            open_pages += [(page.parent / link).resolve() for link in links if not re.match(r"\w+:", link)]
    assert {page.resolve() for page in TOP.glob("docs/*.md")} - reached == set()
