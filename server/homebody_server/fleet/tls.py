"""Certificates of a fleet's TLS: one authority, the server's certificate, each node's loopback.

EC P-384 with SHA-384, X.509 v3 (RFC 5280) with the extensions that strict checking asks for. The
authority signs servers and nothing else; a SuperNode signs in with a plain key
(``supernode_keys``).
"""

import datetime as dt
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from homebody_privacy.errors import InvalidFileError

AUTHORITY_DAYS: Final = 3650
"""Days a fleet's authority holds: whoever changes it visits every node."""
SERVER_DAYS: Final = 365
"""Days a server's certificate holds; ``homebody fleet rotate`` makes a new one."""
_BACK: Final = dt.timedelta(minutes=5)  # clocks of nodes may be a little behind


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its private key.

    Attributes:
        certificate: Public.
        key: Secret; not shown by ``repr``.
    """

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def certificate_pem(self) -> bytes:
        """The certificate, PEM. Public."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The private key, PKCS #8 PEM. Secret."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @classmethod
    def load(cls, certificate: Path, key: Path) -> Self:
        """Read a certificate and its key.

        Raises:
            InvalidFileError: If one is missing or damaged, or the key is of another certificate.
        """
        found = load_certificate(certificate)
        try:
            private = load_pem_private_key(key.read_bytes(), None)
        except OSError as error:
            raise InvalidFileError(f"{key}: cannot be read: {error.strerror}") from error
        except (TypeError, ValueError) as error:
            raise InvalidFileError(f"{key}: no private key in PEM") from error
        if not isinstance(private, ec.EllipticCurvePrivateKey):
            raise InvalidFileError(f"{key}: not an elliptic-curve key")
        if private.public_key() != found.public_key():
            raise InvalidFileError(f"{key}: the key does not belong to {certificate.name}")
        return cls(found, private)


def load_certificate(path: Path) -> x509.Certificate:
    """Read a certificate in PEM.

    Raises:
        InvalidFileError: If it is missing or damaged.
    """
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise InvalidFileError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InvalidFileError(f"{path}: no certificate in PEM") from error


def make_authority(name: str, now: dt.datetime, *, days: float = AUTHORITY_DAYS) -> Issued:
    """Make a certificate authority.

    Args:
        name: Common name, for people.
        now: Time it is made, UTC.
        days: Days it holds.
    """
    key = ec.generate_private_key(ec.SECP384R1())
    subject = _subject(name)
    builder = (
        _builder(subject, subject, key.public_key(), now, days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .add_extension(_authority_id(key.public_key()), critical=False)
    )
    return Issued(builder.sign(key, hashes.SHA384()), key)


def issue_server(
    authority: Issued, names: Iterable[str], now: dt.datetime, *, days: float = SERVER_DAYS
) -> Issued:
    """Make a server's certificate.

    Args:
        authority: Signs it.
        names: DNS names and IP addresses it is for; the first is also its common name.
        now: Time it is made, UTC.
        days: Days it holds.
    """
    key = ec.generate_private_key(ec.SECP384R1())
    listed = list(dict.fromkeys(names))
    builder = (
        _builder(_subject(listed[0]), authority.certificate.subject, key.public_key(), now, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(map(_general, listed)), critical=False)
        .add_extension(_authority_id(authority.key.public_key()), critical=False)
    )
    return Issued(builder.sign(authority.key, hashes.SHA384()), key)


def names_of(certificate: x509.Certificate) -> frozenset[str]:
    """Return the DNS names and IP addresses a certificate is for."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    names = found.get_values_for_type(x509.DNSName)
    return frozenset(names) | {str(ip) for ip in found.get_values_for_type(x509.IPAddress)}


def is_signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Tell whether a certificate is one of the authority's."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, TypeError, ValueError):
        return False
    return True


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    now: dt.datetime,
    days: float,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACK)
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _authority_id(public: ec.EllipticCurvePublicKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(public)


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
