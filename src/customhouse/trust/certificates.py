"""Root certificates: made for a repository or a prefix of them, and judged as clients judge them.

1. A root key is known by a certificate whose common name is the GUN, or a prefix of it with `*` at the end. The
   comparison is exact; `*` alone fits every GUN.
2. A leaf of the root role must fit, be valid now (a day of leeway before it begins), be no authority's, not be signed
   with SHA-1, and hold no RSA key shorter than 2048 bits; intermediates follow it in the same PEM. The signatures of
   keys whose leaf does not fit are not counted, and there must be one that does.
3. The certificates of an older root only name its keys: their expiry is not looked at.
4. Whatever signs metadata signs its own certificate, a key on a device too: the library's builder is given an object
   that hands what is to be signed on to the signer. RSA signs it as it signs metadata, with PSS.
Notary v1 wire: root validation, generated root certificate.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NoReturn

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from customhouse.errors import Invalid
from customhouse.keys import UNREADABLE, InvalidKey, PublicKey, Signer
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
    """The common name, or an empty text: also where there are two, of which others would take the last."""
    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if len(found) == 1 else ""


def covers(name: str, gun: str) -> bool:
    """Does a certificate of this common name speak for the GUN?"""
    return name == gun or (name.endswith("*") and gun.startswith(name[:-1]))


def fitting(keys: Iterable[PublicKey], gun: Gun, now: datetime | None = None) -> tuple[PublicKey, ...]:
    """The keys whose certificate speaks for the GUN; with `now`, and is valid then."""
    return tuple(key for key in keys if not _refusal(key, gun, now))


def require_leaf(keys: Sequence[PublicKey], gun: Gun, now: datetime) -> None:
    """Raises CertificateRefused when no key has a certificate that speaks for the GUN now."""
    if not fitting(keys, gun, now):
        reasons = [_refusal(key, gun, now) for key in keys]
        raise CertificateRefused(gun, "; ".join(reasons) or "the root role has no keys")


def _refusal(key: PublicKey, gun: Gun, now: datetime | None) -> str:
    if not key.certificates:
        return "a root key without a certificate"
    leaf, *others = key.certificates
    try:
        return _unfit(leaf, gun, now) or _misplaced(leaf, others, key, now)
    except (*UNREADABLE, x509.DuplicateExtension):
        return "one cannot be read"


def _unfit(leaf: x509.Certificate, gun: Gun, now: datetime | None) -> str:
    name = common_name(leaf)
    if not covers(name, gun):
        return f"one is for {name[:80]!r}"
    return _weak_or_old(leaf, now)


def _weak_or_old(certificate: x509.Certificate, now: datetime | None) -> str:
    if now and now >= certificate.not_valid_after_utc:
        return f"one expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
    if now and now + LEEWAY < certificate.not_valid_before_utc:
        return f"one is valid only from {certificate.not_valid_before_utc:%Y-%m-%d}"
    if isinstance(certificate.signature_hash_algorithm, hashes.SHA1 | hashes.MD5):
        return "one is signed with SHA-1 or MD5"
    return ""


def _misplaced(leaf: x509.Certificate, others: list[x509.Certificate], key: PublicKey, now: datetime | None) -> str:
    """Docker builds the PEM again, from one leaf and the authorities that it believes, and looks for the key by it."""
    if _is_authority(leaf):
        return "one belongs to an authority (CA:TRUE), and docker wants the key's own"
    if not all(_is_authority(each) for each in others):
        return "one has two leaf certificates"
    if any(_weak_or_old(each, now) for each in others):
        return "one has an intermediate that is no longer valid"
    if b"".join(each.public_bytes(serialization.Encoding.PEM) for each in (leaf, *others)) != key.public:
        return "one is in a form of PEM that docker does not write"
    return ""


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


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
