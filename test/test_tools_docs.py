"""The documents say what the sources say."""
import re
import tomllib
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent


def documented():
    """README's table of directives as pairs: name, and whether it may stand in the section of a domain."""
    table = (TOP / "README.md").read_text().split("## Directives")[1].split("\n## ")[0]
    for line in table.splitlines():
        if line.startswith(("| `MD", "| `<MD")):
            cell = line.replace("\\|", "/").split("|")[1].strip()
            for name in re.findall(r"`(<?MD\w+)", cell):
                yield name, cell.endswith("*")


def implemented():
    """The same pairs from the table of the sources."""
    rows = re.findall(r'row\(c"(<?MD\w+)",\s*Args::\w+,\s*Place::(\w+)', (TOP / "src/model/directive.rs").read_text())
    return [(name, place == "Anywhere") for name, place in rows]


def test_readme_lists_the_directives_that_there_are():
    assert sorted(documented()) == sorted(implemented())


def test_changelog_opens_with_the_version_that_is_built():
    version = tomllib.loads((TOP / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    assert re.findall(r"^## (\S+)", (TOP / "CHANGELOG.md").read_text(), re.M)[0] == version
