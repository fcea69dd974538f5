"""The signer of serles in the tests: certifies what the request has, for a day. Run by the servers' own Python."""

from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization


class Backend:
    def __init__(self, config):
        own = config["backend"]
        self.issuer = Path(own["certificate"]).read_text()
        self.key = serialization.load_pem_private_key(Path(own["key"]).read_bytes(), None)

    def sign(self, csr, subject, names, email):
        request = x509.load_pem_x509_csr(csr)
        issuer, now = x509.load_pem_x509_certificate(self.issuer.encode()), datetime.now(timezone.utc)
        builder = x509.CertificateBuilder(issuer.subject, request.subject, request.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(minutes=1)).not_valid_after(now + timedelta(days=1))
        san = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        builder = builder.add_extension(san, critical=not list(request.subject)).add_extension(x509.BasicConstraints(False, None), True)
        certificate = builder.sign(self.key, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM).decode() + self.issuer, None
