"""ACME servers written in Python, in the environment of `test/interop/requirements.txt`: acme2certifier and serles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

from cryptography import x509

from .authority import KNOWN, REFUSED, REFUSED_ADDRESS, Authority
from .certificate import Certificate
from .module import BUILD
from .pki import Ca, pem_key
from .sandbox import Sandbox

_SERVE = Path(__file__).with_name("servers") / "serve_wsgi.py"

_ACME2CERTIFIER = """
[DEFAULT]
debug: True
[CAhandler]
handler_module: acme2certifier.cahandlers.openssl_ca_handler
issuing_ca_key: {folder}/issuer.key
issuing_ca_cert: {issuer}
issuing_ca_crl: {folder}/crl.pem
ca_cert_chain_list: ["{root}"]
cert_validity_days: 90
cert_save_path: {folder}/certificates
allowed_domainlist: []
blocked_domainlist: ["{refused}"]
[DBhandler]
handler_module: acme2certifier.dbhandlers.wsgi_handler
dbfile: {folder}/acme.db
[Challenge]
dns_server_list: ["127.0.0.1"]
dns_persist_01_support: True
dns_persist_allow_policy_wildcard: True
[Authorization]
prevalidated_domainlist: ["{known}", "*.{known}"]
dns_persist_01_support: True
dns_persist_allow_policy_wildcard: True
[Directory]
caaidentities: ["ca.example.net"]
"""
_EAB = """
[EABhandler]
eab_handler_module: acme2certifier.eabhandlers.json_handler
key_file: {folder}/eab.json
"""
_SERLES = """
[serles]
database = sqlite:///{folder}/serles.db
backend = serles_backend:Backend
excludeServerIpRanges = {refused}/32
subjectNameTemplate = CN={{SAN[0]}}
allowWildcards = true
allowIpIdentifiers = true
[backend]
key = {folder}/issuer.key
certificate = {issuer}
"""


class PythonAuthority(Authority):
    """A server that is an application of WSGI, and has the certificate and key of its authority in files."""

    application: ClassVar[str]
    """Module and name."""
    python: ClassVar[Path] = BUILD / "authorities" / "bin" / "python"

    def __init__(self, sandbox: Sandbox, tls: Ca) -> None:
        super().__init__(sandbox, tls)
        root = Ca(self.folder, "Root")
        self.issuer = root.intermediate("Issuer")
        (self.folder / "issuer.key").write_text(pem_key(self.issuer.key))
        self.root.write_text(root.certificate.pem)

    @classmethod
    def missing(cls) -> str:
        return "" if cls.python.exists() else f"{cls.python} is missing: run `make deps`"

    def command(self) -> tuple[list[str], dict[str, str]]:
        serve = [str(self.python), str(_SERVE), self.application, str(self.port)]
        return [*serve, str(self.leaf.chain_file), str(self.leaf.key_file)], self.configure()

    def configure(self) -> dict[str, str]:
        """Writes the configuration and returns the environment that names it."""
        raise NotImplementedError


class Acme2Certifier(PythonAuthority):
    """acme2certifier with an authority in files."""

    name = "acme2certifier"
    application = "acme2certifier.share.acme2certifier_wsgi:application"
    refusals = {"serverInternal"}
    lacks = {
        "accounts without a contact": "newAccount answers 'Contact information is missing'",
        "revocation by the key of the certificate": "revokeCert answers 403 'accountDoesNotExist'",
        "reasons of failed validations": "its challenges have no error",
    }
    eab: ClassVar[dict[str, str]] = {}
    """kid -> HMAC key (base64url): external account binding is required if there is any."""

    def configure(self) -> dict[str, str]:
        (self.folder / "certificates").mkdir(exist_ok=True)
        file = self.folder / "acme_srv.cfg"
        files = {"folder": self.folder, "issuer": self.issuer.cert_file, "root": self.root}
        text = _ACME2CERTIFIER.format(**files, refused=REFUSED, known=KNOWN)
        if self.eab:
            (self.folder / "eab.json").write_text(json.dumps(self.eab))
            text += _EAB.format(folder=self.folder)
        file.write_text(text)
        return {"ACME_SRV_CONFIGFILE": str(file)}

    def is_revoked(self, certificate: Certificate) -> bool:
        file = self.folder / "crl.pem"
        if not file.exists():
            return False
        crl = x509.load_pem_x509_crl(file.read_bytes())
        return crl.get_revoked_certificate_by_serial_number(certificate.x509.serial_number) is not None


class BoundAcme2Certifier(Acme2Certifier):
    """acme2certifier that registers accounts for holders of a key only."""

    name = "acme2certifier-eab"
    eab = {"kid-a": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"}


class Serles(PythonAuthority):
    """serles with a signer of the tests: its own leaves out the names."""

    name = "serles"
    application = "serles:create_app()"
    lacks = {
        "addresses by tls-alpn-01": "it wants the reverse name in the certificate, and an address is in its place (RFC 8738, 6)",
        "revocation": "revokeCert answers 403 'not offered'",
        "revocation by the key of the certificate": "revokeCert answers 403 'not offered'",
        "key roll-over": "keyChange answers 403 'not offered'",
        "deactivation": "the account stays valid",
        "external accounts": "it has no setting for them",
        "dns-persist-01": "not among its challenges",
        "proven names": "each authorization is new",
        "renewal information": "no renewalInfo in the directory",
    }

    def configure(self) -> dict[str, str]:
        file = self.folder / "config.ini"
        file.write_text(_SERLES.format(folder=self.folder, issuer=self.issuer.cert_file, refused=REFUSED_ADDRESS))
        return {"CONFIG": str(file)}
