"""A certificate as tests want to read it."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n?", re.S)


class Certificate:
    """Reads one X.509 certificate; two are equal if their bytes are."""

    def __init__(self, cert: x509.Certificate) -> None:
        self.x509 = cert

    @classmethod
    def from_pem(cls, text: str) -> Certificate:
        return cls(x509.load_pem_x509_certificate(text.encode()))

    @classmethod
    def from_der(cls, der: bytes) -> Certificate:
        return cls(x509.load_der_x509_certificate(der))

    @classmethod
    def chain(cls, text: str | Path) -> list[Certificate]:
        """All certificates of a text or file, in order; anything else in it is skipped."""
        text = text.read_text() if isinstance(text, Path) else text
        return [cls.from_pem(pem) for pem in _PEM.findall(text)]

    @property
    def names(self) -> list[str]:
        """Names and addresses of the subjectAltName, sorted."""
        try:
            san = self.x509.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return []
        return sorted(str(name.value) for name in san)

    @property
    def common_name(self) -> str | None:
        found = self.x509.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        return str(found[0].value) if found else None

    @property
    def issuer(self) -> str:
        found = self.x509.issuer.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        return str(found[0].value) if found else self.x509.issuer.rfc4514_string()

    @property
    def serial(self) -> str:
        """Upper-case hex with an even number of digits, as in md-status."""
        digits = f"{self.x509.serial_number:X}"
        return digits.zfill(len(digits) + len(digits) % 2)

    @property
    def not_before(self) -> datetime:
        return self.x509.not_valid_before_utc

    @property
    def not_after(self) -> datetime:
        return self.x509.not_valid_after_utc

    @property
    def key_type(self) -> str:
        """`rsa2048`, `secp384r1`, ..."""
        key = self.x509.public_key()
        if isinstance(key, rsa.RSAPublicKey):
            return f"rsa{key.key_size}"
        return key.curve.name if isinstance(key, ec.EllipticCurvePublicKey) else type(key).__name__

    @property
    def sha256(self) -> str:
        return self.x509.fingerprint(hashes.SHA256()).hex()

    @property
    def pem(self) -> str:
        return self.x509.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def must_staple(self) -> bool:
        try:
            self.x509.extensions.get_extension_for_class(x509.TLSFeature)
        except x509.ExtensionNotFound:
            return False
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Certificate) and self.x509 == other.x509

    def __hash__(self) -> int:
        return hash(self.x509)

    def __repr__(self) -> str:
        return f"<{', '.join(self.names) or self.common_name} by {self.issuer}, serial {self.serial}>"
