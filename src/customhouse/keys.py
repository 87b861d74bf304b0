"""Public keys as TUF metadata names them, and the private keys that a signer holds.

1. A key's TUF id is SHA-256 over the canonical JSON of `{"keytype":T,"keyval":{"private":null,"public":P}}`.
2. Its canonical id is the TUF id of the bare key: for a certificate, of its subject public key. Key files, prompts
   and enrolments use canonical ids, because they survive a renewed certificate.
3. ECDSA signatures are r and s at fixed width, hashed with SHA-256 whatever the curve; RSA is PSS with a salt of
   32 bytes (or PKCS#1 v1.5, verified only) of at least 2048 bits; Ed25519 signs the message itself.
4. Nothing here touches files or the clock. A private key is never in a message, a repr or an error.
Notary v1 wire: TUF data, keys and signers.
"""

import base64
import binascii
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Protocol

from cryptography import x509
from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from customhouse.errors import Invalid

KEY_TYPES = ("ecdsa", "rsa", "ed25519", "ecdsa-x509", "rsa-x509")
RSA_MINIMUM_BITS = 2048
MAXIMUM_KEY_BYTES = 64 * 1024
# What the library raises for bytes that are no key or certificate; some of these are no ValueError.
UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, InternalError, x509.InvalidVersion)
CURVES = ("secp224r1", "secp256r1", "secp384r1", "secp521r1")  # what docker and notary read

CryptoPublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey
CryptoPrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


class InvalidKey(Invalid):
    """A public key that cannot be used: `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the public key is not usable: {reason}")
        self.reason = reason


@dataclass(frozen=True)
class Signature:
    """One signature of a payload: the TUF id of the key, the method, the raw bytes."""

    key_id: str
    method: str
    value: bytes


@dataclass(frozen=True)
class PublicKey:
    """A key of TUF metadata. `public` is what the base64 of `keyval.public` holds.

    DER SubjectPublicKeyInfo for ecdsa and rsa, PEM certificates (leaf first) for the -x509 types, 32 bytes for ed25519.
    """

    keytype: str
    public: bytes

    @classmethod
    def parse(cls, keytype: str, public: str) -> "PublicKey":
        """From the two strings of the JSON object. Raises InvalidKey."""
        if len(public) > MAXIMUM_KEY_BYTES:
            raise InvalidKey("it is longer than 64 KiB")
        try:
            raw = base64.b64decode(public, validate=True)
        except (binascii.Error, ValueError):
            raise InvalidKey("its public part is not base64") from None
        if base64.b64encode(raw).decode() != public:
            raise InvalidKey("its base64 is not in the one form that others would write")
        key = cls(keytype, raw)
        key.crypto  # noqa: B018  (a key that exists can verify)
        return key

    @classmethod
    def of(cls, key: CryptoPublicKey) -> "PublicKey":
        """The bare key of a key object."""
        if isinstance(key, ed25519.Ed25519PublicKey):
            return cls("ed25519", key.public_bytes_raw())
        der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return cls("rsa" if isinstance(key, rsa.RSAPublicKey) else "ecdsa", der)

    @classmethod
    def of_certificate(cls, pem: bytes) -> "PublicKey":
        """The -x509 key of PEM certificates, leaf first; the bytes are kept as they are. Raises InvalidKey."""
        bare = cls.of(_leaf_key(_certificates(pem)[0]))
        if bare.keytype == "ed25519":
            raise InvalidKey("a certificate for ed25519 is not known to Notary; use ECDSA P-256")
        key = cls(f"{bare.keytype}-x509", pem)
        key.crypto  # noqa: B018
        return key

    @classmethod
    def of_pem(cls, pem: bytes) -> "PublicKey":
        """From a public key file: PEM `PUBLIC KEY` (with or without header lines) or certificates."""
        if b"-----BEGIN CERTIFICATE-----" in pem:
            return cls.of_certificate(pem)
        try:
            key = serialization.load_pem_public_key(_without_headers(pem))
        except UNREADABLE:
            raise InvalidKey("the file holds no PEM public key") from None
        if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey):
            raise InvalidKey("only ECDSA, RSA and Ed25519 keys are known")
        return cls.of(key)

    @property
    def pem(self) -> bytes:
        """A public key file, as docker's and notary's commands take it: the bare key."""
        return self.crypto.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    @property
    def encoded(self) -> str:
        """The base64 text of `keyval.public`."""
        return base64.b64encode(self.public).decode()

    def document(self) -> dict[str, object]:
        """The JSON object of this key."""
        return {"keytype": self.keytype, "keyval": {"private": None, "public": self.encoded}}

    @cached_property
    def key_id(self) -> str:
        """The TUF key id, 64 hexadecimal digits."""
        text = f'{{"keytype":"{self.keytype}","keyval":{{"private":null,"public":"{self.encoded}"}}}}'
        return sha256(text.encode()).hexdigest()

    @cached_property
    def bare(self) -> "PublicKey":
        """The key without its certificate."""
        return self if self.keytype in ("ecdsa", "rsa", "ed25519") else PublicKey.of(self.crypto)

    @property
    def canonical_id(self) -> str:
        """The id under which key files and enrolments know this key."""
        return self.bare.key_id

    @cached_property
    def certificates(self) -> tuple[x509.Certificate, ...]:
        """The certificates of an -x509 key, leaf first; empty for a bare key."""
        return _certificates(self.public) if self.keytype.endswith("-x509") else ()

    @cached_property
    def crypto(self) -> CryptoPublicKey:
        """The key that verifies. Raises InvalidKey when the bytes are not what the type says."""
        key = _load(self.keytype, self.public)
        if isinstance(key, rsa.RSAPublicKey) and key.key_size < RSA_MINIMUM_BITS:
            raise InvalidKey(f"RSA of {key.key_size} bits is too short; use ECDSA P-256, or RSA of 2048 bits or more")
        if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name not in CURVES:
            raise InvalidKey(f"the curve {key.curve.name} is not one that docker reads; use ECDSA P-256")
        return key

    def verify(self, payload: bytes, method: str, value: bytes) -> bool:
        """Is `value` this key's signature of `payload` by `method`? Never raises for a wrong signature."""
        key = self.crypto
        try:
            if isinstance(key, ec.EllipticCurvePublicKey) and method == "ecdsa":
                width = (key.curve.key_size + 7) // 8
                if len(value) != 2 * width:
                    return False
                r, s = int.from_bytes(value[:width], "big"), int.from_bytes(value[width:], "big")
                key.verify(encode_dss_signature(r, s), payload, ec.ECDSA(hashes.SHA256()))
            elif isinstance(key, rsa.RSAPublicKey) and method == "rsapss":
                key.verify(value, payload, _PSS, hashes.SHA256())
            elif isinstance(key, rsa.RSAPublicKey) and method == "rsapkcs1v15":
                key.verify(value, payload, padding.PKCS1v15(), hashes.SHA256())
            elif isinstance(key, ed25519.Ed25519PublicKey) and method == "eddsa":
                key.verify(value, payload)
            else:
                return False
        except InvalidSignature:
            return False
        return True


class Signer(Protocol):
    """Whatever can sign with one key: a key in memory, a sealed one, a device."""

    @property
    def public(self) -> PublicKey:
        """The key that verifies what this signs."""

    def sign(self, payload: bytes) -> Signature:
        """Sign the bytes; may be slow (a device)."""


class PrivateKey:
    """A private key in memory, as a Signer. `public` may carry a certificate of the same key."""

    def __init__(self, key: CryptoPrivateKey, public: PublicKey | None = None) -> None:
        self._key = key
        self._public = public or PublicKey.of(key.public_key())
        if self._public.canonical_id != PublicKey.of(key.public_key()).key_id:
            raise InvalidKey("the certificate is of another key")

    def __repr__(self) -> str:
        return f"PrivateKey({self.public.keytype} {self.public.canonical_id[:12]})"

    @classmethod
    def generate(cls) -> "PrivateKey":
        """A new ECDSA P-256 key, the only kind that every client of this wire makes and reads."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def of_der(cls, der: bytes) -> "PrivateKey":
        """From unencrypted PKCS#8. Raises InvalidKey."""
        try:
            return cls(_known(serialization.load_der_private_key(der, None)))
        except UNREADABLE:
            raise InvalidKey("the private key cannot be read") from None

    @property
    def public(self) -> PublicKey:
        """The key that verifies."""
        return self._public

    @property
    def crypto(self) -> CryptoPrivateKey:
        """The key object, to make certificates and key files with."""
        return self._key

    def with_certificate(self, pem: bytes) -> "PrivateKey":
        """The same key, known by its certificate (as root roles must be)."""
        return PrivateKey(self._key, PublicKey.of_certificate(pem))

    def der(self) -> bytes:
        """Unencrypted PKCS#8, for sealing only."""
        return self._key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def sign(self, payload: bytes) -> Signature:
        """The signature in the form of TUF metadata."""
        key = self._key
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return Signature(self.public.key_id, "eddsa", key.sign(payload))
        if isinstance(key, rsa.RSAPrivateKey):
            return Signature(self.public.key_id, "rsapss", key.sign(payload, _PSS, hashes.SHA256()))
        r, s = decode_dss_signature(key.sign(payload, ec.ECDSA(hashes.SHA256())))
        width = (key.curve.key_size + 7) // 8
        return Signature(self.public.key_id, "ecdsa", r.to_bytes(width, "big") + s.to_bytes(width, "big"))


@dataclass(frozen=True)
class CertifiedSigner:
    """Any signer, known by a certificate of its key."""

    signer: Signer
    public: PublicKey

    def sign(self, payload: bytes) -> Signature:
        """The signer's own, under the id of the certificate."""
        made = self.signer.sign(payload)
        return Signature(self.public.key_id, made.method, made.value)


def certified(signer: Signer, pem: bytes) -> Signer:
    """The signer, known by its certificate (as root roles must be). Raises InvalidKey for one of another key."""
    public = PublicKey.of_certificate(pem)
    if public.canonical_id != signer.public.canonical_id:
        raise InvalidKey("the certificate is of another key")
    return CertifiedSigner(signer, public)


_PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)


def _known(key: object) -> CryptoPrivateKey:
    if isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
        return key
    raise InvalidKey("only ECDSA, RSA and Ed25519 keys are known")


def _certificates(pem: bytes) -> tuple[x509.Certificate, ...]:
    if len(pem) > MAXIMUM_KEY_BYTES:
        raise InvalidKey("its certificates are longer than 64 KiB")
    try:
        found = x509.load_pem_x509_certificates(pem)
    except UNREADABLE:
        raise InvalidKey("it should be PEM certificates and is not") from None
    if not found:
        raise InvalidKey("it should be PEM certificates and is not")
    return tuple(found)


def _leaf_key(certificate: x509.Certificate) -> CryptoPublicKey:
    try:
        key = certificate.public_key()
    except UNREADABLE:
        raise InvalidKey("its certificate holds a key of an unknown kind") from None
    if isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey):
        return key
    raise InvalidKey("its certificate holds a key of an unknown kind")


def _load(keytype: str, public: bytes) -> CryptoPublicKey:
    key: object
    try:
        if keytype == "ed25519":
            return ed25519.Ed25519PublicKey.from_public_bytes(public)
        if keytype in ("ecdsa-x509", "rsa-x509"):
            key = _leaf_key(_certificates(public)[0])
        elif keytype in ("ecdsa", "rsa"):
            key = serialization.load_der_public_key(public)
        else:
            raise InvalidKey(f"its type {keytype[:40]!r} is not one of {', '.join(KEY_TYPES)}")
    except UNREADABLE:
        raise InvalidKey(f"its bytes are not a key of type {keytype}") from None
    wanted = ec.EllipticCurvePublicKey if keytype.startswith("ecdsa") else rsa.RSAPublicKey
    if not isinstance(key, wanted):
        raise InvalidKey(f"its bytes are not a key of type {keytype}")
    return key


def _without_headers(pem: bytes) -> bytes:
    """PEM without RFC 1421 header lines (`role: alice`), which OpenSSL's reader does not want."""
    lines = [line for line in pem.splitlines() if line.startswith(b"-----") or b":" not in line]
    return b"\n".join(line for line in lines if line.strip()) + b"\n"
