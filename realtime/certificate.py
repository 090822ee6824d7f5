"""A certificate for the local network: `python -m realtime.certificate` makes an authority of this machine's own, and a certificate by it.

Browsers open a camera over HTTPS only, and nobody certifies 192.168.1.20. Devices that are told once to trust the authority take whatever it signs; so it can
sign for this machine's names and for addresses of private networks only (name constraints, RFC 5280, section 4.2.1.10), and its key stays here. It lasts ten
years; the certificate is made anew when this machine's addresses have changed, or a month before it ends.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import ifaddr
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from realtime.hosts import IPNetwork, address_of, host_name, own_names
from realtime.rates import IPAddress

FOLDER = Path("certificates")
AUTHORITY_DAYS, CERTIFICATE_DAYS, RENEWED_DAYS_BEFORE = 3650, 397, 30
"""Browsers take a certificate of at most 398 days (CA/Browser Forum, baseline requirements, 6.3.2)."""
SKEW = timedelta(hours=1)
"""Clocks of other devices may be behind."""
PRIVATE_NETWORKS: tuple[IPNetwork, ...] = tuple(
    ipaddress.ip_network(text)
    for text in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10", "::1/128", "fc00::/7")
)
TRUST = """\
Tell each device once to trust this machine's authority: copy {authority} to it (by AirDrop, cable, mail to yourself), and check there that its fingerprint is

    {fingerprint}

iPhone, iPad   open the file; Settings > Profile Downloaded > Install; then Settings > General > About > Certificate Trust Settings > switch it on
Android        Settings > Security > Encryption & credentials > Install a certificate > CA certificate
macOS          open the file in Keychain Access; double click it > Trust > Always Trust
Windows        open the file > Install Certificate > Current User > Trusted Root Certification Authorities
Linux          Chrome: Settings > Privacy > Security > Manage certificates > Authorities > Import; Firefox, on all systems: Settings > Certificates > Import
Python, curl   SSL_CERT_FILE={authority}

Keep {folder} to yourself: whoever has the keys in it can pose as this machine. To end the trust, delete the authority on the devices and the folder here."""


class CertificateError(Exception):
    """A certificate that cannot be made or used; says what to do."""


@dataclass(frozen=True, slots=True)
class Names:
    """What a certificate is for."""

    dns: frozenset[str]
    addresses: frozenset[IPAddress]

    @classmethod
    def here(cls, more: Iterable[str] = ()) -> Names:
        """Of this machine, as its own network calls it, and whatever else it is to be called."""
        further = {name: address_of(name) for name in more}
        dns = {"localhost", *own_names(), *(name for name, address in further.items() if address is None)}
        listed = (address_of(ip.ip if isinstance(ip.ip, str) else ip.ip[0]) for adapter in ifaddr.get_adapters() for ip in adapter.ips)
        mine = {address for address in listed if address is not None and any(address in network for network in PRIVATE_NETWORKS)}
        loopback = {ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")}
        return cls(frozenset(dns), frozenset(mine | loopback | {address for address in further.values() if address is not None}))


@dataclass(frozen=True, slots=True)
class Files:
    """Where everything is."""

    folder: Path

    @property
    def authority(self) -> Path:
        return self.folder / "headcast-authority.crt"

    @property
    def authority_key(self) -> Path:
        return self.folder / "headcast-authority.key"

    @property
    def certificate(self) -> Path:
        return self.folder / "server.crt"

    @property
    def key(self) -> Path:
        return self.folder / "server.key"


def ensure(files: Files, names: Names, now: datetime) -> bool:
    """Makes what is missing, ends soon or does not hold these names any more; returns whether anything was made.

    Raises:
        CertificateError: the folder cannot be written; or the authority is there and may not sign for one of the names.
    """
    try:
        files.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        authority = _authority(files, names, now)
        if _holds(files, authority[0], names, now):
            return False
        _sign(files, authority, names, now)
    except OSError as error:
        raise CertificateError(f"{files.folder}: cannot be used for certificates ({error.strerror})") from None
    return True


def fingerprint(path: Path) -> str:
    """SHA-256 of a certificate, as devices show it."""
    found = x509.load_pem_x509_certificate(path.read_bytes()).fingerprint(hashes.SHA256())
    return found.hex(":").upper()


Authority = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def _authority(files: Files, names: Names, now: datetime) -> Authority:
    """The one that is there, else a new one."""
    if not files.authority.exists() or not files.authority_key.exists():
        return _found(files, names, now)
    try:
        certificate = x509.load_pem_x509_certificate(files.authority.read_bytes())
        key = serialization.load_pem_private_key(files.authority_key.read_bytes(), None)
    except ValueError:
        raise CertificateError(f"{files.authority}: expected what this program made; delete {files.folder} to begin anew") from None
    ended = now + timedelta(days=RENEWED_DAYS_BEFORE) > certificate.not_valid_after_utc
    if ended or not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise CertificateError(f"{files.authority}: ends soon, or its key is another's; delete {files.folder} to begin anew, and have devices trust it")
    strangers = sorted(str(name) for name in names.dns | names.addresses if not _may_sign(certificate, name))
    if strangers:
        raise CertificateError(
            f"{files.authority}: may not sign for {', '.join(strangers)}: delete {files.folder} to make an authority that may, and have devices trust it"
        )
    return certificate, key


def _found(files: Files, names: Names, now: datetime) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Headcast on {min(own_names(), default='this machine')}"[:64])])
    domains = sorted({"local", *(name for name in names.dns if not name.endswith(".local"))})
    networks = [*PRIVATE_NETWORKS, *(ipaddress.ip_network(address) for address in sorted(names.addresses, key=str) if not _is_private(address))]
    constraints = x509.NameConstraints([*map(x509.DNSName, domains), *map(x509.IPAddress, networks)], None)
    usage = x509.KeyUsage(*(use in ("key_cert_sign", "crl_sign") for use in _USES))
    certificate = (
        _builder(name, name, key.public_key(), key.public_key(), now, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(constraints, critical=True)
        .sign(key, hashes.SHA256())
    )
    _write_key(files.authority_key, key)
    _write(files.authority, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    return certificate, key


_USES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


def _sign(files: Files, authority: Authority, names: Names, now: datetime) -> None:
    issuer, issuer_key = authority
    key = ec.generate_private_key(ec.SECP256R1())
    alternatives = [*map(x509.DNSName, sorted(names.dns)), *map(x509.IPAddress, sorted(names.addresses, key=str))]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Headcast")])
    certificate = (
        _builder(subject, issuer.subject, key.public_key(), issuer_key.public_key(), now, CERTIFICATE_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(*(use == "digital_signature" for use in _USES)), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    _write_key(files.key, key)
    _write(files.certificate, certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, issuer_key: ec.EllipticCurvePublicKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    """What both kinds have in common."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now - SKEW + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )


def _holds(files: Files, authority: x509.Certificate, names: Names, now: datetime) -> bool:
    """Whether the certificate that is there will do."""
    try:
        found = x509.load_pem_x509_certificate(files.certificate.read_bytes())
        key = serialization.load_pem_private_key(files.key.read_bytes(), None)
        found.verify_directly_issued_by(authority)
        held = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    lasting = now + timedelta(days=RENEWED_DAYS_BEFORE) < found.not_valid_after_utc
    complete = names.dns <= set(held.get_values_for_type(x509.DNSName)) and names.addresses <= set(held.get_values_for_type(x509.IPAddress))
    return lasting and complete and key.public_key() == found.public_key()


def _is_private(address: IPAddress) -> bool:
    return any(address in network for network in PRIVATE_NETWORKS)


def _may_sign(authority: x509.Certificate, name: str | IPAddress) -> bool:
    """Within the subtrees that the authority is bound to."""
    permitted = authority.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees or []
    for subtree in permitted:
        if isinstance(subtree, x509.DNSName) and isinstance(name, str) and (name == subtree.value or name.endswith(f".{subtree.value}")):
            return True
        if isinstance(subtree, x509.IPAddress) and not isinstance(name, str) and name in ipaddress.ip_network(subtree.value):
            return True
    return False


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write(path, pem, 0o600)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Whole or not at all, and never readable by more than `mode` says."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    os.replace(part, path)


def main(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m realtime.certificate", description="Makes a certificate for this machine on its own network.")
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"where it is kept (default: {FOLDER})")
    parser.add_argument("--name", action="append", default=[], help="further name or address of this machine, repeatable")
    given = parser.parse_args(arguments)
    files = Files(given.folder)
    if any(host_name(name) != name and address_of(name) is None for name in given.name):
        parser.error("--name: expected names in lower case, or addresses")
    try:
        names = Names.here(given.name)
        made = ensure(files, names, datetime.now(UTC))
    except CertificateError as error:
        print(f"headcast: {error}", file=sys.stderr)
        return 2
    print(f"{'Made' if made else 'There is'} a certificate for {', '.join([*sorted(names.dns), *sorted(map(str, names.addresses))])}.\n")
    print(f"    python server.py --host 0.0.0.0 --token-file token.txt --cert-file {files.certificate} --key-file {files.key}\n")
    print(TRUST.format(authority=files.authority, fingerprint=fingerprint(files.authority), folder=files.folder))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
