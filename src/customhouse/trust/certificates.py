"""Root certificates: made for a repository or a prefix of them, and judged as clients judge them.

1. A root key is known by a certificate whose common name is the GUN, or a prefix of it with `*` at the end. The
   comparison is exact; `*` alone fits every GUN.
2. At least one leaf of the root role must fit, be valid now (a day of leeway before it begins), not be signed with
   SHA-1, and hold no RSA key shorter than 2048 bits. Intermediates follow the leaf in the same PEM.
3. The certificates of an older root only name its keys: their expiry is not looked at.
Notary v1 wire: root validation, generated root certificate.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from customhouse.errors import Invalid
from customhouse.keys import PrivateKey, PublicKey
from customhouse.trust.names import Gun

VALID_YEARS = 10
LEEWAY = timedelta(days=1)
LONGEST_COMMON_NAME = 64


class CertificateRefused(Invalid):
    """No certificate of the root role may speak for this repository: `reason` says why."""

    def __init__(self, gun: str, reason: str) -> None:
        super().__init__(
            f"no root certificate is valid for {gun}: {reason}",
            hint=f"Use a certificate whose common name is {gun} (or a prefix of it and *), valid today.",
        )
        self.gun = gun
        self.reason = reason


def root_certificate(key: PrivateKey, common_name: str, now: datetime) -> bytes:
    """A self-signed certificate for code signing, PEM, valid for ten years from now.

    Raises CertificateRefused for a common name of more than 64 characters: write `HOST/PREFIX*` then.
    """
    if len(common_name) > LONGEST_COMMON_NAME:
        raise CertificateRefused(common_name, "the name is longer than the 64 characters a certificate can hold")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    usage = x509.KeyUsage(
        digital_signature=True, key_encipherment=True, content_commitment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )
    begin = now.replace(microsecond=0)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.crypto.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=365 * VALID_YEARS + 2))
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key.crypto, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


def fitting_name(gun: str) -> str:
    """The GUN, or its longest prefix of whole components with `*` that a certificate can hold."""
    name = gun
    while len(name) > LONGEST_COMMON_NAME:
        name = name.removesuffix("/*").rpartition("/")[0] + "/*"
    return name


def common_name(certificate: x509.Certificate) -> str:
    """The common name, or an empty text."""
    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""


def covers(name: str, gun: str) -> bool:
    """Does a certificate of this common name speak for the GUN?"""
    return name == gun or (name.endswith("*") and gun.startswith(name[:-1]))


def require_leaf(keys: Iterable[PublicKey], gun: Gun, now: datetime) -> tuple[PublicKey, ...]:
    """The keys whose leaf certificate speaks for the GUN now. Raises CertificateRefused when there is none."""
    fitting, reasons = [], []
    for key in keys:
        if not key.certificates:
            reasons.append("a root key without a certificate")
            continue
        why = _refusal(key.certificates[0], gun, now)
        if why:
            reasons.append(why)
        else:
            fitting.append(key)
    if not fitting:
        raise CertificateRefused(gun, "; ".join(reasons) or "the root role has no keys")
    return tuple(fitting)


def _refusal(leaf: x509.Certificate, gun: Gun, now: datetime) -> str:
    name = common_name(leaf)
    if not covers(name, gun):
        return f"one is for {name[:80]!r}"
    if now >= leaf.not_valid_after_utc:
        return f"one expired on {leaf.not_valid_after_utc:%Y-%m-%d}"
    if now + LEEWAY < leaf.not_valid_before_utc:
        return f"one is valid only from {leaf.not_valid_before_utc:%Y-%m-%d}"
    if isinstance(leaf.signature_hash_algorithm, hashes.SHA1 | hashes.MD5):
        return "one is signed with SHA-1 or MD5"
    return ""
