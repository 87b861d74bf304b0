"""TLS for a hub that was given no certificate: a local certificate authority and a server certificate from it.

1. The authority signs for the names of the public URL only (name constraints, RFC 5280 §4.2.1.10), so that trusting
   it opens no other door.
2. The server certificate is renewed by a start within 30 days of its end; the authority stays, since clients
   have installed it.
3. The authority is not shown with the server certificate: whoever trusts it has it, and to whom it is shown checks one
   signature more in each hand-shake.
4. `localhost` and the loopback addresses are always among the names: the operator's own first try.
"""

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from customhouse.wholefile import write_whole

AUTHORITY_YEARS, SERVER_DAYS, RENEW_DAYS = 10, 397, 30
_SKEW = timedelta(hours=1)


@dataclass(frozen=True)
class Certificates:
    """Files in PEM form: what the listener shows, its key, and the authority that clients install (None: not ours)."""

    authority: Path | None
    chain: Path
    key: Path


def ensure(folder: Path, host: str, now: datetime) -> Certificates:
    """The files under `folder`, made or renewed as needed.

    `host` is the public name or address, without port. Files with keys have mode 0600.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority, authority_key = folder / "ca.crt", folder / "ca.key"
    chain, key = folder / "server.crt", folder / "server.key"
    fresh = not (authority.exists() and authority_key.exists())
    if fresh:
        made, secret = _make_authority(host, now)
        write_whole(authority_key, _private_pem(secret))
        write_whole(authority, made.public_bytes(serialization.Encoding.PEM), 0o644)
    if fresh or not (chain.exists() and key.exists()) or _ends_soon(chain, now):
        issuer = x509.load_pem_x509_certificate(authority.read_bytes())
        issuer_key = serialization.load_pem_private_key(authority_key.read_bytes(), None)
        assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
        certificate, secret = _make_server(host, issuer, issuer_key, now)
        write_whole(key, _private_pem(secret))
        write_whole(chain, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    return Certificates(authority, chain, key)


def _ends_soon(chain: Path, now: datetime) -> bool:
    certificate = x509.load_pem_x509_certificate(chain.read_bytes())
    return certificate.not_valid_after_utc < now + timedelta(days=RENEW_DAYS)


def _names(host: str) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = [x509.DNSName("localhost")]
    names += [x509.IPAddress(ipaddress.ip_address(text)) for text in ("127.0.0.1", "::1")]
    try:
        own: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        own = x509.DNSName(host)
    return names if own in names else [own, *names]


def _permitted(host: str) -> list[x509.GeneralName]:
    permitted: list[x509.GeneralName] = []
    for name in _names(host):
        if isinstance(name, x509.IPAddress):
            permitted.append(x509.IPAddress(ipaddress.ip_network(str(name.value))))
        else:
            permitted.append(name)
    return permitted


def _make_authority(host: str, now: datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Customhouse local CA of {host}"[:64])])
    made = (
        _builder(name, name, key.public_key(), now, now + timedelta(days=365 * AUTHORITY_YEARS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.NameConstraints(_permitted(host), None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return made, key


def _make_server(
    host: str, issuer: x509.Certificate, issuer_key: ec.EllipticCurvePrivateKey, now: datetime
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    end = issuer.not_valid_after_utc  # nothing it signed is valid after that
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
    made = (
        _builder(name, issuer.subject, key.public_key(), now, min(now + timedelta(days=SERVER_DAYS), end))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(_names(host)), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
        .sign(issuer_key, hashes.SHA256())
    )
    return made, key


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, now: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(end)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
