"""Private key files as docker and the notary client keep them, read and written in memory.

1. `<canonical id>.key` is PEM `ENCRYPTED PRIVATE KEY` with header lines `role:` and, for targets and snapshot, `gun:`.
2. PBES2 (RFC 8018 §6.2): PBKDF2 with HMAC-SHA-1 and 2048 rounds, AES-256-CBC. These parameters are what the clients
   read; a hub's own keys are sealed with AES-GCM instead (signing.py).
3. The clients write the inner PrivateKeyInfo with version 1 and without the public key that RFC 5958 §2 then wants;
   strict readers refuse it, so the version is set to 0 after decryption.
4. Also read: any PKCS#8 that OpenSSL writes, and the older `EC PRIVATE KEY` and `RSA PRIVATE KEY`.
"""

import base64
import os
import re
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.padding import PKCS7

from customhouse.errors import Invalid
from customhouse.keys import PrivateKey

ROUNDS = 2048
MAXIMUM_ROUNDS = 10_000_000
MAXIMUM_FILE_BYTES = 64 * 1024

_PBES2 = bytes.fromhex("06092a864886f70d01050d")
_PBKDF2 = bytes.fromhex("06092a864886f70d01050c")
_AES_256_CBC = bytes.fromhex("060960864801650304012a")
_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\s*(.*?)-----END \1-----", re.DOTALL)


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
    try:
        body = base64.b64decode(b"".join(line.strip() for line in text.splitlines() if b":" not in line), validate=True)
    except ValueError:
        raise InvalidKeyFile("the file holds no PEM private key") from None
    return KeyFile(_private(label, body, passphrase), headers.get("role", ""), headers.get("gun", ""))


def write_key_file(file: KeyFile, passphrase: bytes) -> bytes:
    """PEM that docker and notary open; store it with mode 0600 under `file.filename`."""
    if not passphrase:
        raise InvalidKeyFile("a key file needs a passphrase")
    salt, iv = os.urandom(8), os.urandom(16)
    padder = PKCS7(128).padder()
    plain = padder.update(file.key.der()) + padder.finalize()
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


def _private(label: str, body: bytes, passphrase: bytes | None) -> PrivateKey:
    try:
        if label == "ED25519 PRIVATE KEY" and len(body) == 96:  # public key, then seed and public key
            return PrivateKey(ed25519.Ed25519PrivateKey.from_private_bytes(body[32:64]))
        if label == "ENCRYPTED PRIVATE KEY":
            if not passphrase:
                raise WrongPassphrase
            body = _decrypt(body, passphrase)
        elif label not in ("PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"):
            raise InvalidKeyFile(f"a PEM {label[:40]!r} is not a private key")
        key = serialization.load_der_private_key(_version_zero(body), None)
    except (UnsupportedAlgorithm, TypeError, ValueError, IndexError):
        raise InvalidKeyFile("the private key in the file cannot be read") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
        raise InvalidKeyFile("only ECDSA, RSA and Ed25519 private keys are known")
    return PrivateKey(key)


def _decrypt(der: bytes, passphrase: bytes) -> bytes:
    """PBES2 by hand: the inner bytes are not what a strict reader takes. Raises WrongPassphrase, ValueError."""
    scheme, encrypted = _children(der)[:2]
    algorithm, parameters = _children(scheme)[:2]
    if algorithm != _PBES2:
        raise InvalidKeyFile("the key file is not encrypted with PBES2")
    kdf, cipher = _children(parameters)[:2]
    kdf_name, kdf_parameters = _children(kdf)[:2]
    cipher_name, iv = _children(cipher)[:2]
    if kdf_name != _PBKDF2 or cipher_name != _AES_256_CBC:
        raise InvalidKeyFile("the key file is not encrypted with PBKDF2 and AES-256-CBC")
    salt, rounds, *rest = _children(kdf_parameters)
    count = int.from_bytes(_value(rounds), "big")
    if not 0 < count <= MAXIMUM_ROUNDS:
        raise InvalidKeyFile("the key file asks for an unreasonable number of rounds")
    # hmacWithSHA256 (1.2.840.113549.2.9) when it is named, else the default of RFC 8018 A.2
    strong = any(bytes.fromhex("06082a864886f70d0209") in item for item in rest)
    key = _derive(passphrase, _value(salt), count, hashes.SHA256() if strong else hashes.SHA1())
    decryptor = Cipher(algorithms.AES(key), modes.CBC(_value(iv))).decryptor()
    padded = decryptor.update(_value(encrypted)) + decryptor.finalize()
    unpadder = PKCS7(128).unpadder()
    try:
        plain = unpadder.update(padded) + unpadder.finalize()
        serialization.load_der_private_key(_version_zero(plain), None)
    except (ValueError, IndexError):
        raise WrongPassphrase from None
    return plain


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
