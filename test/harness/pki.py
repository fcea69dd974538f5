"""A private PKI: authorities and certificates as files, right or wrong as the test wants."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from .certificate import Certificate

_USAGES = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "ocsp": ExtendedKeyUsageOID.OCSP_SIGNING}
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


@dataclass(frozen=True)
class Leaf:
    """A certificate with its key, in memory and as files. `chain_file` has the leaf and its intermediates."""

    certificate: Certificate
    key: Key
    cert_file: Path
    key_file: Path
    chain_file: Path


@dataclass(frozen=True)
class Issuer:
    """Certificate and key with which another program's authority signs."""

    certificate: Certificate
    key: Key


class Ca:
    """A certificate authority: a root, or below another one."""

    def __init__(self, folder: Path, name: str, parent: Ca | None = None) -> None:
        self._folder, self.name, self.parent = folder, name, parent
        self.key: Key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = Certificate(self._certify_self())
        self.cert_file = folder / f"{_file(name)}.pem"
        self.cert_file.write_text(self.certificate.pem)
        self._count = 0

    def intermediate(self, name: str) -> Ca:
        return Ca(self._folder, name, self)

    def leaf(self, *names: str, key: str = "p256", **how: Any) -> Leaf:
        """A server certificate for names and addresses, with a new key.

        `key` is `p256`, `p384` or `rsa<bits>`; `how` are the options of `certify`.
        """
        private = _new_key(key)
        return self._save(names[0], self.certify(private.public_key(), *names, **how), private)

    def certify(
        self,
        public: PublicKey,
        *names: str,
        days: float = 90,
        not_before: datetime | None = None,
        ocsp_url: str | None = None,
        must_staple: bool = False,
        serial: int | None = None,
        san: bool = True,
        usage: str = "server",
        signed_by: Ca | None = None,
    ) -> Certificate:
        """A certificate for a public key.

        `not_before` defaults to a minute ago; `san=False` leaves the names to the subject; `usage` is `server` or
        `ocsp` (a delegated responder); `signed_by` makes the signature another authority's: it names this issuer and
        does not verify.
        """
        start = not_before or _now() - timedelta(minutes=1)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(names[0][:64]))
            .issuer_name(self.certificate.x509.subject)
            .public_key(public)
            .serial_number(serial or x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + timedelta(days=days))
            .add_extension(x509.BasicConstraints(False, None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([_USAGES[usage]]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if san:
            builder = builder.add_extension(x509.SubjectAlternativeName([_general(each) for each in names]), False)
        if ocsp_url:
            place = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(ocsp_url))
            builder = builder.add_extension(x509.AuthorityInformationAccess([place]), critical=False)
        if must_staple:
            builder = builder.add_extension(x509.TLSFeature([x509.TLSFeatureType.status_request]), critical=False)
        return Certificate(builder.sign((signed_by or self).key, hashes.SHA256()))

    @property
    def chain(self) -> list[Ca]:
        """The authority and those above it, without the root."""
        return [self, *self.parent.chain] if self.parent else []

    def _save(self, name: str, cert: Certificate, key: Key) -> Leaf:
        self._count += 1
        stem = self._folder / f"{_file(self.name)}-{self._count}-{_file(name)}"
        leaf = Leaf(cert, key, stem.with_suffix(".crt"), stem.with_suffix(".key"), stem.with_suffix(".chain"))
        leaf.cert_file.write_text(cert.pem)
        leaf.key_file.write_text(pem_key(key))
        leaf.chain_file.write_text(cert.pem + "".join(ca.certificate.pem for ca in self.chain))
        return leaf

    def _certify_self(self) -> x509.Certificate:
        issuer = self.parent or self
        subject = _name(self.name)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.parent.certificate.x509.subject if self.parent else subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_now() - timedelta(days=1))
            .not_valid_after(_now() + timedelta(days=3650))
            .add_extension(x509.BasicConstraints(True, None), critical=True)
            .add_extension(x509.KeyUsage(True, False, False, False, False, True, True, False, False), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
            .sign(issuer.key, hashes.SHA256())
        )


class Pki:
    """Makes authorities with their files in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def ca(self, name: str = "Test Root") -> Ca:
        return Ca(self.folder, name)


def pem_key(key: Key) -> str:
    """Unencrypted PKCS#8."""
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def _new_key(kind: str) -> Key:
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, int(kind.removeprefix("rsa")))
    return ec.generate_private_key({"p256": ec.SECP256R1(), "p384": ec.SECP384R1()}[kind])


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _file(name: str) -> str:
    return name.replace(" ", "-").replace("*", "_").replace(":", "_").lower()


def _now() -> datetime:
    return datetime.now(UTC)
