"""Root certificates: made for a repository or a prefix of them, and judged as clients judge them.

1. A root key is known by a certificate whose common name is the GUN, or a prefix of it with `*` at the end. The
   comparison is exact; `*` alone fits every GUN.
2. At least one leaf of the root role must fit, be valid now (a day of leeway before it begins), not be signed with
   SHA-1, and hold no RSA key shorter than 2048 bits. Intermediates follow the leaf in the same PEM.
3. The certificates of an older root only name its keys: their expiry is not looked at.
4. Whatever signs metadata signs its own certificate, a key on a device too: the library's builder is given an object
   that hands what is to be signed on to the signer. RSA signs it as it signs metadata, with PSS.
Notary v1 wire: root validation, generated root certificate.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, NoReturn

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from customhouse.errors import Invalid
from customhouse.keys import InvalidKey, PublicKey, Signer
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


def root_certificate(signer: Signer, common_name: str, now: datetime) -> bytes:
    """A self-signed certificate for code signing, PEM, valid for ten years from now.

    Raises CertificateRefused for a common name of more than 64 characters: write `HOST/PREFIX*` then. Raises InvalidKey
    for an Ed25519 key.
    """
    if len(common_name) > LONGEST_COMMON_NAME:
        raise CertificateRefused(common_name, "the name is longer than the 64 characters a certificate can hold")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    usage = x509.KeyUsage(
        digital_signature=True, key_encipherment=True, content_commitment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )
    begin = now.replace(microsecond=0)
    key = signer.public.bare
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.crypto)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=365 * VALID_YEARS + 2))
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    if key.keytype == "ed25519":
        raise InvalidKey("a certificate for ed25519 is not known to Notary; use ECDSA P-256")
    if key.keytype == "rsa":
        made = builder.sign(_RsaHand(signer), hashes.SHA256(), rsa_padding=_PSS)
    else:
        made = builder.sign(_EcdsaHand(signer), hashes.SHA256())
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


_PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)


class _Hand:
    """Of a private key only what signs: the rest stays where the key is."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def _elsewhere(self, *arguments: object) -> NoReturn:
        raise NotImplementedError("the key itself is not here")

    curve = key_size = property(_elsewhere)
    public_key = private_numbers = private_bytes = exchange = decrypt = __copy__ = __deepcopy__ = _elsewhere


class _EcdsaHand(_Hand, ec.EllipticCurvePrivateKey):
    """Signs as DER, from the fixed width of metadata."""

    def sign(self, data: Any, signature_algorithm: object) -> bytes:
        value = self._signer.sign(bytes(data)).value
        half = len(value) // 2
        return encode_dss_signature(int.from_bytes(value[:half], "big"), int.from_bytes(value[half:], "big"))


class _RsaHand(_Hand, rsa.RSAPrivateKey):
    """Signs with PSS, as metadata."""

    def sign(self, data: Any, padding: object, algorithm: object) -> bytes:
        return self._signer.sign(bytes(data)).value
