"""Checks what a built module asks of the server and what it offers.

It must ask for nothing that httpd 2.4.49, the oldest supported, does not have: one missing function and the module does
not load there. So every `ap_*` and `apr_*` symbol stands in symbols.txt, looked up once by whoever added it
(`symbols.py --write MODULE`), and none is among those that the server's own ap_mmn.h says came later.
It must offer `md_module` only, or two Rust modules in one server could bind to each other's runtime.
What is optimised, and may be installed somewhere else, must not name a folder of whoever built it.
"""
import os
import re
import subprocess
import sys
from pathlib import Path

OLDEST = (2, 4, 49)
LIST = Path(__file__).with_name("symbols.txt")


def symbols(module, *which):
    """Names in a module's dynamic symbol table."""
    out = subprocess.run(["nm", "-D", *which, "--format=posix", module], check=True, capture_output=True, text=True).stdout
    return {line.split()[0].split("@")[0] for line in out.splitlines()}


def newer_than_oldest(mmn):
    """Functions that ap_mmn.h lists under a version after the oldest supported one."""
    found = set()
    for version, text in re.findall(r"\* 2012\d+\.\d+ \(2\.4\.(\d+)-dev\)(.*?)(?=\* 2012|\*/)", mmn, re.S):
        if (2, 4, int(version)) > OLDEST:
            found |= set(re.findall(r"\b(apr?_\w+)", text))
    return found


def folders():
    """Folders that tell who built a module and where."""
    home = Path.home()
    return {str(folder) for folder in (home, Path(os.environ.get("CARGO_HOME", home / ".cargo")), Path.cwd()) if folder.is_dir() and len(folder.parts) > 1}


def names_of(folders, binary):
    """The paths below these folders that stand in a module or program."""
    found = re.findall(rb"(?:%s)/[ -~]*" % b"|".join(re.escape(os.fsencode(folder)) for folder in sorted(folders)), binary) if folders else []
    return sorted({path.decode()[:100] for path in found})


def complaints(asked, offered, listed, newer):
    """What is wrong, in one line each."""
    lines = [f"{name}: needs an httpd newer than 2.4.49" for name in sorted(asked & newer)]
    lines += [f"{name}: not in symbols.txt; see since when httpd has it, then run symbols.py --write" for name in sorted(asked - listed - newer)]
    lines += [f"{name}: exported, but only md_module may be" for name in sorted(offered - {"md_module"})]
    if "md_module" not in offered:
        lines.append("md_module: not exported, httpd cannot load this")
    return lines


def main(args):
    """Checks a module, or with --write makes symbols.txt anew."""
    module = args[-1]
    asked = {name for name in symbols(module, "--undefined-only") if re.match(r"apr?_", name)}
    if "--write" in args:
        LIST.write_text("".join(f"{name}\n" for name in sorted(asked)))
        return 0
    include = subprocess.run(["apxs", "-q", "INCLUDEDIR"], check=True, capture_output=True, text=True).stdout.strip()
    newer = newer_than_oldest(Path(include, "ap_mmn.h").read_text(errors="replace"))
    wrong = complaints(asked, symbols(module, "--defined-only"), set(LIST.read_text().split()), newer)
    if (profile := Path(module).with_name("profile")).exists() and profile.read_text().strip() == "release":
        for built in (Path(module), Path(module).with_name("a2md")):
            wrong += [f"{built.name}: names {path}, a folder of this machine" for path in names_of(folders(), built.read_bytes())]
    print("\n".join(wrong) if wrong else f"{len(asked)} symbols of the server used, all in httpd 2.4.49; only md_module exported")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
