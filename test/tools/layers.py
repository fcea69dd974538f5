"""Checks that the sources keep to their layers: who may use whom, who may touch the outside world, where unsafe code is.

Run it at the top of the tree, or give it another tree. The rules are the tables below; what reads Rust knows just enough
of it: comments and literals, `use` trees, inline modules, and paths that begin with crate, self, super or mod_md.
"""
import re
import sys
from pathlib import Path

VALUES = {"model", "clock", "cancel", "log"}
EDGES = VALUES | {"crypto", "http", "net", "dns", "fleet", "exec", "store"}
PROTOCOLS = EDGES | {"acme", "issuance", "ocsp", "tailscale"}


def tower(*rooms):
    """Rooms that stand on each other, the lowest first, with what each may use."""
    return {room: PROTOCOLS | set(rooms[:height]) for height, room in enumerate(rooms)}


DOMAINS = tower("counts", "schedule", "documents", "events", "accounts", "sets", "challenges", "stapling", "live", "registry", "ari", "line", "renewals")
CORE = PROTOCOLS | set(DOMAINS)

# Layer -> the layers it may use beside itself. Tests of the rooms of domains may use all of these. A layer is a module of the library, or the program a2md, which is all in cli.
MAY_USE = {
    "model": set(),
    "clock": VALUES,
    "cancel": set(),
    "log": VALUES,
    "crypto": VALUES,
    "http": VALUES,
    "net": VALUES,
    "dns": VALUES | {"net"},
    "fleet": VALUES | {"crypto", "net"},
    "exec": VALUES,
    "store": VALUES,
    "tailscale": VALUES | {"crypto", "http"},
    "acme": VALUES | {"crypto", "http", "tailscale"},
    "issuance": VALUES | {"crypto", "http", "acme"},
    "ocsp": VALUES | {"crypto", "http"},
    **DOMAINS,
    "status": CORE,
    "serving": CORE | {"status"},
    # cli only for httpd/a2md.rs: the archive of the module has the program too.
    "httpd": CORE | {"status", "serving", "cli"},
    "cli": CORE | {"status"},
    "a2md": {"cli"},
    "lib": set(),
    # Tests of every layer may use it, which the compiler knows as well.
    "testing": CORE | {"status"},
}

# What belongs to few: path prefix -> the layers (or folders of one) that may name it, and why it is so.
# The store may ask the system's clock, as it is what the dates of files come from.
RESERVED = {
    "apache_sys": ({"httpd"}, "only src/httpd talks to the server"),
    "openssl": ({"crypto", "httpd/ssl", "testing"}, "only crypto talks to the crypto library"),
    "openssl_sys": ({"crypto", "httpd/ssl"}, "only crypto talks to the crypto library"),
    "x509_parser": ({"crypto"}, "only crypto reads certificates"),
    "curl": ({"http"}, "only http talks to curl"),
    "curl_sys": ({"http"}, "only http talks to curl"),
    "prometheus_client": ({"status"}, "only status writes metrics"),
    "clap": ({"cli"}, "only a2md has a command line"),
    "strsim": ({"cli"}, "only a2md guesses what was meant"),
    "indicatif": ({"cli"}, "only a2md has a terminal"),
    "simple_dns": ({"dns"}, "only dns reads messages of the DNS"),
    "resolv_conf": ({"dns"}, "only dns knows name servers"),
    "rustix": ({"dns", "exec", "store", "httpd", "cli"}, "system calls are for exec and store"),
    "libc": ({"exec", "store", "http", "httpd", "cli"}, "system calls are for exec and store"),
    "std::fs": ({"dns", "exec", "http", "store", "httpd", "cli"}, "files are the store's, and http's to say what is wrong with a CA file"),
    "std::process": ({"exec", "store", "httpd", "cli", "a2md"}, "processes are exec's"),
    "redis": ({"fleet"}, "only fleet speaks the protocol of Redis"),
    "std::net": ({"dns", "http", "net", "httpd", "cli"}, "the network is for http, net and dns"),
    "std::time::SystemTime::now": ({"clock", "store"}, "time is a parameter, or comes from a Clock"),
    "jiff::Timestamp::now": ({"clock"}, "time is a parameter, or comes from a Clock"),
    "jiff::Zoned::now": ({"clock"}, "time is a parameter, or comes from a Clock"),
    "std::time::Instant::now": (EDGES - {"model", "crypto"} | set(DOMAINS) - {"schedule"} | {"serving", "httpd", "cli"}, "decisions know no clock"),
    "std::thread::sleep": (EDGES - {"model", "crypto"} | {"httpd", "cli"}, "a worker never sleeps"),
}
# Values that live in a reserved module, but touch nothing.
HARMLESS = {"std::net::SocketAddr", "std::net::IpAddr", "std::net::Ipv4Addr", "std::net::Ipv6Addr", "std::net::AddrParseError"}
# Tests of a layer may have files, a fake server or a real command.
FREE_IN_TESTS = {"std::fs", "std::process", "std::net", "std::thread::sleep", "std::time::SystemTime::now", "std::time::Instant::now",
                 "rustix", "libc"}

# Layers with unsafe code; http has it in one file, for one curl option that its crate does not offer.
UNSAFE = {"httpd"}
ONE_FENCED_FILE = {"http"}

COMMENT_OR_LITERAL = re.compile(
    r"""//[^\n]*|/\*(?:[^*]|\*(?!/))*\*/|b?r(\#*)".*?"\1|b?"(?:\\.|[^"\\])*"|b?'(?:\\.[^']*|[^'\\\n])'""", re.S
)
TOKEN = re.compile(r"\r?\n|#!?\[[^\]\n]*\]|[A-Za-z_]\w*|::|[{}();,*]|\S")


def blank(source):
    """The source without comments and literals, line numbers kept; a lifetime is not a literal."""
    return COMMENT_OR_LITERAL.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), source)


def tokens(source):
    """(line, token) of the code; attributes are one token."""
    line = 1
    for match in TOKEN.finditer(blank(source)):
        if match[0].endswith("\n"):
            line += 1
        else:
            yield line, match[0]


def use_tree(toks, at, prefix):
    """Reads a tree of `use` from toks[at] and returns its paths as (line, names, alias) and the place behind it."""
    paths, path, line, alias = [], list(prefix), toks[at][0], None
    while at < len(toks):
        number, token = toks[at]
        if token == "{":
            at += 1
            while toks[at][1] != "}":
                inner, at = use_tree(toks, at, path)
                paths += inner
                at += toks[at][1] == ","
            return paths, at + 1
        if token in ",;}":
            break
        if token == "as":
            alias, at = toks[at + 1][1], at + 1
        elif token != "::":
            line = number
            path.append(token)
        at += 1
    return [*paths, (line, path, alias)], at


def code_path(toks, at):
    """Reads a path such as `a::b::c` from toks[at]; generic arguments end it."""
    path = [toks[at][1]]
    while at + 2 < len(toks) and toks[at + 1][1] == "::" and re.match(r"[A-Za-z_]", toks[at + 2][1]):
        at += 2
        path.append(toks[at][1])
    return path, at + 1


class File:
    """One source file: its layer, and the absolute paths, attributes and unsafe words in it."""

    def __init__(self, root, path):
        self.name = str(path.relative_to(root))
        parts = list(path.relative_to(root / "src").with_suffix("").parts)
        parts = parts[:-1] if parts[-1] == "mod" else parts
        self.module = [] if parts == ["lib"] else parts[1:] if parts[0] == "bin" else parts
        self.layer = parts[0] if parts[0] != "bin" else parts[1]
        self.folder = "/".join(parts[:2])
        self.paths, self.unsafe, self.forbids = [], [], False
        # Names that `use` brings in, with their paths, and those of `pub use`; modules in files of their own, and whether these
        # are for tests.
        self.names, self.passed_on, self.children = {}, [], {}
        self.read(list(tokens(path.read_text())))

    def read(self, toks):
        """Walks the tokens with the stack of inline modules and what is meant for tests."""
        stack, depth, names, test_next, at = [], 0, self.names, False, 0
        while at < len(toks):
            line, token = toks[at]
            inline = [name for name, _, _ in stack if name]
            testing = bool({"tests", "testing"} & {*self.module}) or any(test for _, _, test in stack)
            if token.startswith("#"):
                self.forbids |= token.replace(" ", "") == "#![forbid(unsafe_code)]"
                test_next |= bool(re.match(r"#\[(cfg\(test|cfg\(all\(test|test\b)", token))
            elif token == "use" and toks[at + 1][1] != "<":
                is_public = at > 0 and toks[at - 1][1] in ("pub", ")")
                found, at = use_tree(toks, at + 1, [])
                for number, path, alias in found:
                    full = [name for name in self.absolute(path, inline, {}) if name != "self"]
                    self.paths.append((number, full, testing or test_next))
                    names[alias or full[-1]] = full
                    if is_public:
                        self.passed_on.append((number, full))
                test_next = False
                continue
            elif token == "mod" and toks[at + 2][1] == "{":
                depth += 1
                stack.append((toks[at + 1][1], depth, test_next))
                test_next, at = False, at + 2
            elif token == "mod" and toks[at + 2][1] == ";":
                self.children[toks[at + 1][1]] = test_next
            elif token == "{":
                depth += 1
                if test_next:
                    stack.append((None, depth, True))
                    test_next = False
            elif token == "}":
                depth -= 1
                while stack and stack[-1][1] > depth:
                    stack.pop()
            elif token == ";":
                test_next = False
            elif token == "unsafe":
                self.unsafe.append(line)
            elif re.match(r"[A-Za-z_]", token) and toks[at - 1][1] not in (".", "::", "fn", "mod"):
                path, at = code_path(toks, at)
                if len(path) > 1:
                    self.paths.append((line, self.absolute(path, inline, names), testing))
                continue
            at += 1

    def absolute(self, path, inline, names):
        """The path from the crate's root (`crate::...`) or from another crate, as far as this file tells."""
        here = ["crate", *self.module, *inline]
        if path[0] in names:
            return [*names[path[0]], *path[1:]]
        if path[0] in self.children:
            return [*here, *path]
        if path[0] == "mod_md":
            return ["crate", *path[1:]]
        if not self.module and path[0] in MAY_USE:
            return ["crate", *path]
        if path[0] in ("self", "super"):
            while path and path[0] in ("self", "super"):
                here = here[:-1] if path[0] == "super" else here
                path = path[1:]
            return [*here, *path]
        return path


def reserved_for(path):
    """The rule that a path comes under, if any."""
    text = "::".join(name for name in path if name != "*")
    if any(text == value or text.startswith(value + "::") for value in HARMLESS):
        return None
    return next((rule for rule in RESERVED if text == rule or text.startswith(rule + "::")), None)


def complaints_of(file):
    """What is wrong in one file, as (line, words)."""
    if file.layer not in MAY_USE:
        yield 1, f"{file.layer} is not a known layer: give it its place in {Path(__file__).name}"
        return
    allowed = MAY_USE[file.layer] | {file.layer, "testing"}
    for line, path, in_test in file.paths:
        if path[0] == "crate":
            if len(path) == 1 or path[1] == "*":
                yield line, "the whole crate under one name hides which layer is used"
            elif path[1] in MAY_USE and path[1] not in (allowed | CORE if in_test and file.layer in DOMAINS else allowed):
                yield line, f"{file.layer} must not use {path[1]}"
        rule = reserved_for(path)
        if rule and not (in_test and rule in FREE_IN_TESTS):
            layers, why = RESERVED[rule]
            if not {file.layer, file.folder} & layers:
                yield line, f"{file.layer} must not use {rule}: {why}"
    if file.layer not in UNSAFE | ONE_FENCED_FILE:
        for line in file.unsafe:
            yield line, f"unsafe code in {file.layer}: it lives in apache-sys and src/httpd"


def complaints_of_layer(layer, files):
    """What is wrong in a layer as a whole: where unsafe code is forbidden, the compiler is told."""
    fenced = [file for file in files if file.unsafe]
    if layer in ONE_FENCED_FILE:
        for file in fenced[1:]:
            yield file.name, file.unsafe[0], f"a second file with unsafe code in {layer}; {fenced[0].name} is its one"
    elif layer not in UNSAFE:
        top = min(files, key=lambda file: len(file.module))
        if not top.forbids:
            yield top.name, 1, f"{layer} lacks #![forbid(unsafe_code)]"


def check(root):
    """All complaints about a tree, each as `file:line: words`."""
    files = [File(root, path) for path in sorted((root / "src").rglob("*.rs"))]
    found = [(file.name, line, words) for file in files for line, words in complaints_of(file)]
    for layer in sorted({file.layer for file in files} - {"lib"}):
        found += complaints_of_layer(layer, [file for file in files if file.layer == layer])
    return [f"{name}:{line}: {words}" for name, line, words in sorted(set(found))], len(files)


def main(args):
    """Checks the tree in args, or the one here."""
    found, count = check(Path(args[0] if args else ".").resolve())
    print("\n".join(found) if found else f"{count} files keep to their layers")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
