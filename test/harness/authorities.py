"""The ACME servers of others that the tests run."""

from __future__ import annotations

from .acmeeh import Acmeeh
from .authority import Authority
from .caddy import Caddy, OldCaddy
from .python_authorities import Acme2Certifier, Serles

AUTHORITIES: list[type[Authority]] = [Caddy, OldCaddy, Acme2Certifier, Serles, Acmeeh]
