"""The certificate that this installation signs claims with: a key, its certificate, and that of an authority of its own.

    claims.pem    in the folder of keys (models/consent/keys.py), for its owner's eyes only: private key, certificate, authority's certificate

The authority's own key is thrown away once it has signed the one certificate: whoever trusts it trusts this installation and nothing else.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from models.consent.keys import VARIABLE, KeyFolder, KeyProblem

FILE = "claims.pem"
VALID = timedelta(days=3650)
"""Without a timestamp authority, which would be asked over the network, a signature is believed for as long as its certificate is valid."""
CLAIM_SIGNING = ObjectIdentifier("1.3.6.1.4.1.62558.2.1")
"""C2PA 2.2, 14.5.1: the purpose of a certificate that signs claims. Validators of before ask for e-mail protection."""
USES = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
SIGNERS_USES = ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
NOTHING = dict.fromkeys((*USES, *SIGNERS_USES), False)


@dataclass(frozen=True, slots=True)
class Identity:
    """What signs."""

    key: bytes
    """PKCS #8 in PEM: for nobody else's eyes."""
    chain: bytes
    """PEM: the certificate, then the authority's."""

    @property
    def authority(self) -> bytes:
        """PEM: what those who want to trust this installation need."""
        return _pem(x509.load_pem_x509_certificates(self.chain)[-1])


def identity(folder: KeyFolder, now: datetime) -> Identity:
    """This installation's, made now where there is none or it has ended.

    Raises:
        KeyProblem: it cannot be read or written.
    """
    path = folder.path / FILE
    try:
        if not path.is_file() or _ended(_read(path), now):
            _make(path, now)
        return _read(path)
    except OSError as error:
        raise KeyProblem(f"{path}: the key of content credentials cannot be kept there ({error.strerror}); set {VARIABLE} to another folder") from error


def _read(path: Path) -> Identity:
    data = path.read_bytes()
    try:
        key, certificates = load_pem_private_key(data, None), x509.load_pem_x509_certificates(data)
        if not isinstance(key, EllipticCurvePrivateKey) or len(certificates) != 2 or certificates[0].public_key() != key.public_key():
            raise ValueError
    except (ValueError, TypeError) as error:
        raise KeyProblem(f"{path}: expected a key and two certificates in PEM; put it back from a copy, or move it away: then new ones are made") from error
    return Identity(_key_pem(key), b"".join(_pem(each) for each in certificates))


def _ended(found: Identity, now: datetime) -> bool:
    return x509.load_pem_x509_certificates(found.chain)[0].not_valid_after_utc <= now


def _make(path: Path, now: datetime) -> None:
    """Written beside its place, readable by its owner only, and put there whole."""
    authority, key = generate_private_key(SECP256R1()), generate_private_key(SECP256R1())
    tag = x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest.hex()[:8]
    signing, signed = _name(f"Headcast authority {tag}"), _name(f"Headcast {tag}")
    begin = now - timedelta(minutes=5)  # clocks differ
    root = (
        x509.CertificateBuilder(signing, signing, authority.public_key(), x509.random_serial_number(), begin, now + VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(**(NOTHING | {"key_cert_sign": True})), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority.public_key()), critical=False)
        .sign(authority, hashes.SHA256())
    )
    leaf = (
        x509.CertificateBuilder(signing, signed, key.public_key(), x509.random_serial_number(), begin, now + VALID)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**(NOTHING | {"digital_signature": True})), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION, CLAIM_SIGNING]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False)
        .sign(authority, hashes.SHA256())
    )
    _keep(path, _key_pem(key) + _pem(leaf) + _pem(root))


def _keep(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        if path.exists():
            os.replace(part, path)
        else:
            with suppress(FileExistsError):  # another process was faster
                os.link(part, path)
    finally:
        part.unlink(missing_ok=True)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Headcast"), x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def _key_pem(key: EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
