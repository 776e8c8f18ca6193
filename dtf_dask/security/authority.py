"""The authority of a cluster: who signs the certificates of its nodes and clients.

One key that stays where it was made. A certificate names its owner in one URI,
``dtf://CLUSTER/node/ID``, ``.../client/NAME`` or ``.../worker/NAME``; nothing else is
believed. Workers serve each other, but are no clients of the ledger.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import re
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from dtf_dask.errors import ConfigurationError, UsageError

AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 365

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_SINCE = datetime.timedelta(hours=1)  # clocks differ


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where a certificate is, its key, and that of the authority."""

    authority: Path
    certificate: Path
    key: Path


class Authority:
    """Signs certificates of one cluster.

    Parameters
    ----------
    folder
        Where its key and certificate are: ``authority.key`` and ``authority.pem``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificate_file = folder / "authority.pem"
        self._key_file = folder / "authority.key"

    def create(self, cluster: str) -> None:
        """Make the key and its certificate.

        Raises
        ------
        UsageError
            The name is none.
        ConfigurationError
            There is an authority already, or the folder cannot be written.
        """
        _check_name(cluster, "a cluster")
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"dtf {cluster}")])
        builder = _builder(name, name, key.public_key(), AUTHORITY_DAYS)
        builder = builder.add_extension(x509.BasicConstraints(True, 0), critical=True)
        builder = builder.add_extension(_SIGNS, critical=True)
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write_new(self._key_file, _private(key), mode=0o600)
            certificate = builder.sign(key, hashes.SHA256())
            _write_new(self.certificate_file, _public(certificate), mode=0o644)
        except FileExistsError as error:
            raise ConfigurationError(
                f"{error.filename} exists: an authority is made once"
            ) from error
        except OSError as error:
            raise ConfigurationError(f"{self.folder}: {error}") from error

    def issue(
        self, uri: str, folder: Path, hosts: tuple[str, ...] = ("localhost",)
    ) -> CertificateFiles:
        """Sign a certificate and put it, its key and the authority's into a folder.

        Parameters
        ----------
        uri
            Whose it is.
        folder
            Where ``certificate.pem``, ``certificate.key``, ``authority.pem`` go.
        hosts
            Names and addresses at which its owner is reached.

        Raises
        ------
        UsageError
            The URI is not of a node, a client or a worker.
        ConfigurationError
            There is no authority, or a file cannot be read or written.
        """
        cluster, kind, name = _owner(uri)
        try:
            signer = serialization.load_pem_private_key(
                self._key_file.read_bytes(), password=None
            )
            own = x509.load_pem_x509_certificate(self.certificate_file.read_bytes())
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"the authority in {self.folder} cannot be read: {error}"
            ) from error
        if not isinstance(signer, ec.EllipticCurvePrivateKey):
            raise ConfigurationError(f"{self._key_file} holds a key of another kind")
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, f"{cluster} {kind} {name}")]
        )
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if kind in ("node", "worker"):
            usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
        names = [x509.UniformResourceIdentifier(uri), *map(_host, hosts)]
        builder = _builder(subject, own.subject, key.public_key(), CERTIFICATE_DAYS)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        builder = builder.add_extension(
            x509.SubjectAlternativeName(names), critical=False
        )
        files = CertificateFiles(
            folder / "authority.pem",
            folder / "certificate.pem",
            folder / "certificate.key",
        )
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write(files.key, _private(key), mode=0o600)
            signed = builder.sign(signer, hashes.SHA256())
            _write(files.certificate, _public(signed), mode=0o644)
            _write(files.authority, _public(own), mode=0o644)
        except OSError as error:
            raise ConfigurationError(f"{folder}: {error}") from error
        return files


_SIGNS = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


def _owner(uri: str) -> tuple[str, str, str]:
    match = re.fullmatch(r"dtf://([^/]+)/(node|client|worker)/([^/]+)", uri)
    if match is None:
        raise UsageError(
            f"{uri!r} is no owner of a certificate: dtf://CLUSTER/node/ID,"
            " dtf://CLUSTER/client/NAME or dtf://CLUSTER/worker/NAME"
        )
    cluster, kind, name = match.groups()
    _check_name(cluster, "a cluster")
    _check_name(name, f"a {kind}")
    return cluster, kind, name


def _check_name(name: str, what: str) -> None:
    if _NAME.fullmatch(name) is None:
        raise UsageError(
            f"{name!r} is no name for {what}: letters, digits, and after the first also"
            " . _ -, 63 at most"
        )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SINCE)
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _public(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _write_new(path: Path, content: bytes, *, mode: int) -> None:
    """A file that is not there yet, readable by whom it is for from the start."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(fd, "wb") as file:
        file.write(content)


def _write(path: Path, content: bytes, *, mode: int) -> None:
    """The file, whole, or as it was."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.unlink(missing_ok=True)
    _write_new(temporary, content, mode=mode)
    temporary.replace(path)
