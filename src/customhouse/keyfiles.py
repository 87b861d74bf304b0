"""Private key files as docker and the notary client keep them, read and written in memory.

1. `<canonical id>.key` is PEM `ENCRYPTED PRIVATE KEY` with header lines `role:` and, for targets and snapshot, `gun:`.
2. PBES2 (RFC 8018 §6.2): PBKDF2 with HMAC-SHA-1 and 2048 rounds, AES-256-CBC. These parameters are what the clients
   read; a hub's own keys are sealed with AES-GCM instead (signing.py).
3. The clients write the inner PrivateKeyInfo with version 1 and without the public key that RFC 5958 §2 then wants;
   strict readers refuse it, so the version is set to 0 after decryption. Ed25519 they know under an identifier of GNU
   and as 96 bytes (public key, seed, public key); so it is written, and read in this form and in that of RFC 8410.
4. Also read: PKCS#8 as OpenSSL writes it, encrypted (PBES2 with PBKDF2) or not, the older `EC PRIVATE KEY`,
   `RSA PRIVATE KEY` (also those that are encrypted) and notary's `ED25519 PRIVATE KEY`.
5. Only keys that the clients of this wire can use are taken: P-256, P-384, P-521, RSA of 2048 bits or more, Ed25519.
"""

import base64
import os
import re
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.padding import PKCS7

from customhouse.errors import Invalid
from customhouse.keys import CURVES, RSA_MINIMUM_BITS, UNREADABLE, PrivateKey

ROUNDS = 2048
MAXIMUM_ROUNDS = 10_000_000
MAXIMUM_FILE_BYTES = 64 * 1024

_PBES2 = bytes.fromhex("06092a864886f70d01050d")
_PBKDF2 = bytes.fromhex("06092a864886f70d01050c")
_AES_256_CBC = bytes.fromhex("060960864801650304012a")
_HMAC = bytes.fromhex("06082a864886f70d02")  # + 07 HMAC-SHA-1, 09 HMAC-SHA-256
_GNU_ED25519 = bytes.fromhex("06092b06010401da470f01")
_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]{0,40}PRIVATE KEY)-----([^-]*(?:-(?!----)[^-]*)*)-----END \1-----")


class InvalidKeyFile(Invalid):
    """The file is not a private key that can be used."""


class WrongPassphrase(Invalid):
    """The file is encrypted, and not with this passphrase."""

    def __init__(self) -> None:
        super().__init__("the passphrase does not open this key file", hint="Give the passphrase of this key.")


@dataclass(frozen=True)
class KeyFile:
    """A private key with the header lines of its file."""

    key: PrivateKey
    role: str = ""
    gun: str = ""

    @property
    def filename(self) -> str:
        """The name that the clients look for in `<trust directory>/private/`."""
        return f"{self.key.public.canonical_id}.key"


def read_key_file(pem: bytes, passphrase: bytes | None) -> KeyFile:
    """Raises InvalidKeyFile, or WrongPassphrase also when none was given for an encrypted file."""
    if len(pem) > MAXIMUM_FILE_BYTES or not (found := _PEM.search(pem)):
        raise InvalidKeyFile("the file holds no PEM private key")
    label, text = found[1].decode(), found[2]
    headers = _headers(text)
    if label not in _LABELS:
        raise InvalidKeyFile(f"a PEM {label[:40]!r} is not a private key that can be used")
    if "DEK-Info" in headers:
        key = _library(found[0], passphrase, serialization.load_pem_private_key)
    else:
        try:
            lines = [line.strip() for line in text.splitlines() if b":" not in line]
            body = base64.b64decode(b"".join(lines), validate=True)
        except ValueError:
            raise InvalidKeyFile("the file holds no PEM private key") from None
        key = _private(label, body, passphrase)
    return KeyFile(_usable(key), headers.get("role", ""), headers.get("gun", ""))


def encrypted(pem: bytes) -> bool:
    """Does this file need a passphrase?"""
    found = _PEM.search(pem[:MAXIMUM_FILE_BYTES])
    return found is not None and (found[1] == b"ENCRYPTED PRIVATE KEY" or b"DEK-Info:" in found[2])


def write_key_file(file: KeyFile, passphrase: bytes) -> bytes:
    """PEM that docker and notary open; store it with mode 0600 under `file.filename`."""
    if not passphrase:
        raise InvalidKeyFile("a key file needs a passphrase")
    salt, iv = os.urandom(8), os.urandom(16)
    padder = PKCS7(128).padder()
    plain = padder.update(_written(file.key)) + padder.finalize()
    encryptor = Cipher(algorithms.AES(_derive(passphrase, salt, ROUNDS, hashes.SHA1())), modes.CBC(iv)).encryptor()
    kdf = _sequence(_PBKDF2, _sequence(_tlv(4, salt), _tlv(2, ROUNDS.to_bytes(2, "big"))))
    scheme = _sequence(_PBES2, _sequence(kdf, _sequence(_AES_256_CBC, _tlv(4, iv))))
    der = _sequence(scheme, _tlv(4, encryptor.update(plain) + encryptor.finalize()))
    body = base64.b64encode(der).decode()
    lines = ["-----BEGIN ENCRYPTED PRIVATE KEY-----"]
    lines += [f"{name}: {value}" for name, value in (("gun", file.gun), ("role", file.role)) if value]
    lines += [""] if file.role or file.gun else []
    lines += [body[i : i + 64] for i in range(0, len(body), 64)]
    return "\n".join([*lines, "-----END ENCRYPTED PRIVATE KEY-----", ""]).encode()


_LABELS = ("ENCRYPTED PRIVATE KEY", "PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY", "ED25519 PRIVATE KEY")


def _private(label: str, body: bytes, passphrase: bytes | None) -> object:
    try:
        if label == "ED25519 PRIVATE KEY":
            return _ed25519(body)
        if label == "ENCRYPTED PRIVATE KEY":
            if not passphrase:
                raise WrongPassphrase
            return _decrypt(body, passphrase)
        return _plain(body)
    except (*UNREADABLE, IndexError):
        raise InvalidKeyFile("the private key in the file cannot be read") from None


def _usable(key: object) -> PrivateKey:
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
        raise InvalidKeyFile("only ECDSA, RSA and Ed25519 private keys are known")
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name not in CURVES:
        raise InvalidKeyFile(f"clients do not know the curve {key.curve.name}; P-256 is what all of them know")
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < RSA_MINIMUM_BITS:
        raise InvalidKeyFile(f"RSA of {key.key_size} bits is too short; {RSA_MINIMUM_BITS} are the least")
    return PrivateKey(key)


def _plain(der: bytes) -> object:
    """Unencrypted PKCS#8, or a traditional form. Raises ValueError and its like."""
    parts = _children(der)
    if len(parts) > 2 and parts[1][:1] == b"\x30" and _children(parts[1])[:1] == [_GNU_ED25519]:
        return _ed25519(_value(parts[2]))
    return serialization.load_der_private_key(_version_zero(der), None)


def _ed25519(octets: bytes) -> ed25519.Ed25519PrivateKey:
    """Public key, seed, public key."""
    key = ed25519.Ed25519PrivateKey.from_private_bytes(octets[32:64])
    if octets != key.public_key().public_bytes_raw() + octets[32:64] + key.public_key().public_bytes_raw():
        raise ValueError("the parts of the key do not belong together")
    return key


def _written(key: PrivateKey) -> bytes:
    """Unencrypted PKCS#8 that the clients read."""
    if isinstance(key.crypto, ed25519.Ed25519PrivateKey):
        public, seed = key.public.bare.public, key.crypto.private_bytes_raw()
        return _sequence(_tlv(2, b"\0"), _sequence(_GNU_ED25519), _tlv(4, public + seed + public))
    return key.der()


def _decrypt(der: bytes, passphrase: bytes) -> object:
    """PBES2 by hand: the inner bytes are not what a strict reader takes. Raises WrongPassphrase, ValueError."""
    scheme, sealed = _children(der)[:2]
    algorithm, parameters = _children(scheme)[:2]
    if algorithm != _PBES2:
        raise InvalidKeyFile("the key file is not encrypted with PBES2")
    kdf, cipher = _children(parameters)[:2]
    kdf_name, kdf_parameters = _children(kdf)[:2]
    if kdf_name != _PBKDF2:
        raise InvalidKeyFile("the passphrase of the key file is not hashed with PBKDF2")
    salt, rounds, *rest = _children(kdf_parameters)
    if not 0 < (count := int.from_bytes(_value(rounds), "big")) <= MAXIMUM_ROUNDS:
        raise InvalidKeyFile("the key file asks for an unreasonable number of rounds")
    cipher_name, iv = _children(cipher)[:2]
    # The pseudo-random function is HMAC-SHA-1 where none is named (RFC 8018 A.2).
    named = next((_children(item)[0] for item in rest if item[:1] == b"\x30"), _HMAC + b"\x07")
    known = {_HMAC + b"\x07": hashes.SHA1(), _HMAC + b"\x09": hashes.SHA256()}
    if cipher_name != _AES_256_CBC or named not in known:
        return _library(der, passphrase, serialization.load_der_private_key)
    key = _derive(passphrase, _value(salt), count, known[named])
    decryptor = Cipher(algorithms.AES(key), modes.CBC(_value(iv))).decryptor()
    padded = decryptor.update(_value(sealed)) + decryptor.finalize()
    unpadder = PKCS7(128).unpadder()
    try:
        return _plain(unpadder.update(padded) + unpadder.finalize())
    except (*UNREADABLE, IndexError):
        raise WrongPassphrase from None


def _library(content: bytes, passphrase: bytes | None, load: Callable[[bytes, bytes], object]) -> object:
    """Other ciphers than the clients', by the library's own reader."""
    if not passphrase:
        raise WrongPassphrase
    try:
        return load(content, passphrase)
    except UnsupportedAlgorithm:
        raise InvalidKeyFile("the key file is encrypted in a way that is not known here") from None
    except UNREADABLE:
        raise WrongPassphrase from None


def _derive(passphrase: bytes, salt: bytes, rounds: int, algorithm: hashes.HashAlgorithm) -> bytes:
    return PBKDF2HMAC(algorithm=algorithm, length=32, salt=salt, iterations=rounds).derive(passphrase)


def _version_zero(der: bytes) -> bytes:
    """A PrivateKeyInfo of version 1 without its public key, as version 0; anything else as it is."""
    first, *rest = _children(der)
    has_public_key = any(item[:1] in (b"\x81", b"\xa1") for item in rest)
    if first == b"\x02\x01\x01" and rest and rest[0][:1] == b"\x30" and not has_public_key:
        return _sequence(b"\x02\x01\x00", *rest)
    return der


def _headers(text: bytes) -> dict[str, str]:
    pairs = [line.decode("utf-8", "replace").partition(":") for line in text.splitlines() if b":" in line]
    return {name.strip(): value.strip() for name, _, value in pairs}


def _children(der: bytes) -> list[bytes]:
    """The elements inside a SEQUENCE, each with its tag and length."""
    found, rest = [], _value(der)
    while rest:
        size = sum(_span(rest))
        found.append(rest[:size])
        rest = rest[size:]
    return found


def _span(der: bytes) -> tuple[int, int]:
    """(bytes of tag and length, bytes of value) of the first element. X.690 §8.1.3."""
    first = der[1]
    count = first & 0x7F if first & 0x80 else 0
    length = int.from_bytes(der[2 : 2 + count], "big") if count else first
    if count > 3 or 2 + count + length > len(der):
        raise ValueError("a DER element is longer than what holds it")
    return 2 + count, length


def _value(der: bytes) -> bytes:
    start, length = _span(der)
    return der[start : start + length]


def _tlv(tag: int, value: bytes) -> bytes:
    if len(value) < 0x80:
        return bytes([tag, len(value)]) + value
    size = len(value).to_bytes((len(value).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + value


def _sequence(*items: bytes) -> bytes:
    return _tlv(0x30, b"".join(items))
