"""Builder of an httpd configuration."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

from .module import Missing, Module
from .sandbox import USER, Sandbox

_MPM = {
    "event": ["StartServers 2", "ServerLimit 12", "ThreadsPerChild 8", "MaxRequestWorkers 32", "MinSpareThreads 8", "MaxSpareThreads 32"],
    "prefork": ["StartServers 2", "ServerLimit 24", "MaxRequestWorkers 16", "MinSpareServers 1", "MaxSpareServers 8"],
}
_MPM["worker"] = _MPM["event"]
_MODULES = ["authz_core", "socache_shmcb", "ssl", "dir", "alias", "status", "headers", "rewrite", "setenvif"]


@cache
def apxs(what: str) -> str:
    """A fact of the installed httpd, such as LIBEXECDIR."""
    try:
        return subprocess.run(["apxs", "-q", what], capture_output=True, text=True, check=True).stdout.strip()
    except FileNotFoundError:
        raise Missing("apxs is missing: run `make deps`, or install apache2-dev") from None


def binary() -> str:
    """The path of httpd."""
    return f"{apxs('sbindir')}/{apxs('progname')}"


class Config:
    """Collects what a test wants and renders the file; every method returns the builder.

    `defaults` come before what the test adds, so that a test can override them.
    """

    def __init__(self, sandbox: Sandbox, module: Module, http: int, https: int, admin: int, mpm: str) -> None:
        self.sandbox, self.module, self.mpm = sandbox, module, mpm
        self.http_port, self.https_port, self.admin_port = http, https, admin
        self.log_level = f"info ssl:info{' md:debug' if module.is_loaded else ''}"
        self.defaults: list[str] = []
        self._modules = list(_MODULES)
        self._global: list[str] = []
        self._vhosts: list[str] = []

    def load(self, *modules: str) -> Config:
        """Load further httpd modules, by their names without `mod_`."""
        self._modules += modules
        return self

    def add(self, *lines: str) -> Config:
        """Add lines to the main server."""
        self._global += lines
        return self

    def md(self, *names: str) -> Config:
        """`MDomain name...`"""
        return self.add(f"MDomain {' '.join(names)}")

    def md_set(self, name: str, *lines: str) -> Config:
        """`<MDomainSet name>` with its lines."""
        return self.add(f"<MDomainSet {name}>", *(f"  {line}" for line in lines), "</MDomainSet>")

    def http(self, name: str, *lines: str, aliases: list[str] | None = None) -> Config:
        """A virtual host on the http port that serves its name as its page."""
        return self._host(self.http_port, name, aliases, lines)

    def https(self, name: str, *lines: str, aliases: list[str] | None = None) -> Config:
        """A virtual host on the https port that serves its name as its page."""
        return self._host(self.https_port, name, aliases, ("SSLEngine on", *lines))

    def managed(self, *names: str) -> Config:
        """Adds a managed domain with these names, and an http and an https host for it: the usual case."""
        aliases = list(names[1:])
        return self.md(*names).http(names[0], aliases=aliases).https(names[0], aliases=aliases)

    def clear(self) -> Config:
        """Forget what the test added, keep the defaults."""
        self._global, self._vhosts = [], []
        return self

    def _host(self, port: int, name: str, aliases: list[str] | None, lines: tuple[str, ...]) -> Config:
        docs = self.sandbox.docs / name.replace("*", "_")
        docs.mkdir(exist_ok=True)
        (docs / "index.html").write_text(name, errors="surrogateescape")
        alias = [f"ServerAlias {' '.join(aliases)}"] if aliases else []
        body = [f"ServerName {name}", *alias, f'DocumentRoot "{docs}"', *lines]
        self._vhosts += [f"<VirtualHost *:{port}>", *(f"  {line}" for line in body), "</VirtualHost>"]
        return self

    def text(self) -> str:
        """The whole file."""
        box = self.sandbox
        lines = [
            f'ServerRoot "{box.root}"',
            f'DefaultRuntimeDir "{box.run}"',
            f'PidFile "{box.run}/httpd.pid"',
            f'ErrorLog "{box.error_log}"',
            f'CoreDumpDirectory "{box.cores}"',
            f"LogLevel {self.log_level}",
            f"LoadModule mpm_{self.mpm}_module {_so(f'mpm_{self.mpm}')}",
            *(f"LoadModule {name}_module {_so(name)}" for name in dict.fromkeys(self._modules)),
            *([f"LoadModule md_module {self.module.path}"] if self.module.is_loaded else []),
            *_MPM[self.mpm],
            f"User {USER}",
            f"Group {USER}",
            "ServerName server.invalid",
            f'SSLSessionCache "shmcb:{box.run}/ssl_scache(131072)"',
            "GracefulShutdownTimeout 5",
            *(f"Listen 127.0.0.1:{port}" for port in (self.http_port, self.https_port, self.admin_port)),
            "DirectoryIndex index.html",
            f'DocumentRoot "{box.docs}"',
            f'<Directory "{box.docs}">',
            "  Require all granted",
            "</Directory>",
            *self.defaults,
            *self._global,
            f"<VirtualHost *:{self.admin_port}>",
            "  ServerName admin.invalid",
            "  <Location /md-status>",
            "    SetHandler md-status",
            "  </Location>",
            "  <Location /md-metrics>",
            "    SetHandler md-metrics",
            "  </Location>",
            "  <Location /server-status>",
            "    SetHandler server-status",
            "  </Location>",
            "</VirtualHost>",
            *self._vhosts,
        ]
        return "\n".join(lines) + "\n"

    def write(self) -> Path:
        self.sandbox.conf.write_text(self.text(), errors="surrogateescape")
        return self.sandbox.conf


def _so(name: str) -> Path:
    return Path(apxs("LIBEXECDIR")) / f"mod_{name}.so"
