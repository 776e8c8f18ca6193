"""Certificates for tests: an authority, and whatever it can be made to sign."""

from __future__ import annotations

import datetime
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from distributed import Security

_BOTH = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


class Authority:
    """Signs certificates of a cluster."""

    def __init__(self, name: str = "authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _builder(self._name, self._name, self._key, 3600)
        builder = builder.add_extension(x509.BasicConstraints(True, 0), critical=True)
        self._certificate = builder.sign(self._key, hashes.SHA256())

    def security(
        self,
        *uris: str,
        common_name: str = "a node",
        seconds: float = 3600,
        usages: tuple[x509.ObjectIdentifier, ...] = _BOTH,
        trusts: Authority | None = None,
    ) -> Security:
        """A `Security` whose scheduler certificate has these URIs."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        builder = _builder(name, self._name, key, seconds)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if uris:
            names = [x509.UniformResourceIdentifier(uri) for uri in uris]
            builder = builder.add_extension(
                x509.SubjectAlternativeName([x509.DNSName("localhost"), *names]),
                critical=False,
            )
        certificate = builder.sign(self._key, hashes.SHA256())
        return Security(
            require_encryption=True,
            tls_ca_file=(trusts or self).pem,
            tls_scheduler_cert=_pem(certificate),
            tls_scheduler_key=key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ).decode(),
        )

    def node(self, node: int, cluster: str = "lab") -> Security:
        """What a node of a cluster should have."""
        return self.security(f"dtf://{cluster}/node/{node}")

    @property
    def pem(self) -> str:
        return _pem(self._certificate)


@cache
def lab() -> Authority:
    """The authority of the cluster that most tests have."""
    return Authority()


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    seconds: float,
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(seconds=seconds))
    )
