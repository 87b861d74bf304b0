"""Signers that live somewhere, and the vault that seals keys at rest.

1. A signing key is named by a URI: `file:PATH`, an encrypted key file as docker and notary write it, optionally with
   `?certificate=PATH` for a key that is known by its certificate; or `pkcs11:…`, a key on a device (pkcs11.py). Other
   places are other schemes, with this Protocol.
2. The vault seals with AES-256-GCM under a key derived (HKDF-SHA-256) from the hub's master secret; the context, such
   as "trust-key:GUN:role", is authenticated, so that a sealed key moved to another row does not open.
3. A sealed key is in memory only while it signs. Nothing secret is in an error, a repr or a log.
NIST SP 800-38D; RFC 5869.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from customhouse import pkcs11
from customhouse.errors import Conflict, Invalid, NotFound
from customhouse.keyfiles import KeyFile, read_key_file, write_key_file
from customhouse.keys import PrivateKey, PublicKey, Signature, Signer
from customhouse.wholefile import write_once

__all__ = ["SealBroken", "SealedSigner", "Signer", "UnknownSigner", "Vault", "save_key_file", "signer_for"]

MASTER_BYTES = 32
_FORMAT = b"\x01"
_NONCE = 12


class SealBroken(Invalid):
    """Something sealed does not open: another master secret, another context, or changed bytes."""

    def __init__(self, context: str) -> None:
        super().__init__(
            f"what is sealed as {context!r} does not open",
            hint="Restore the master secret that belongs to this database.",
        )
        self.context = context


class UnknownSigner(NotFound):
    """No key can be reached under this URI."""

    def __init__(self, uri: str, reason: str) -> None:
        super().__init__(f"no signing key at {uri!r}: {reason}", hint="Name a key file: file:/path/to/key")
        self.uri = uri


class Vault:
    """Seals short secrets under the hub's master secret (32 bytes or more)."""

    def __init__(self, master: bytes) -> None:
        if len(master) < MASTER_BYTES:
            raise Invalid(f"the master secret is shorter than {MASTER_BYTES} bytes")
        derive = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"customhouse vault 1")
        self._cipher = AESGCM(derive.derive(master))

    def __repr__(self) -> str:
        return "Vault()"

    def seal(self, secret: bytes, context: str) -> bytes:
        """The sealed bytes: format, nonce, ciphertext and tag."""
        nonce = os.urandom(_NONCE)
        return _FORMAT + nonce + self._cipher.encrypt(nonce, secret, context.encode())

    def unseal(self, sealed: bytes, context: str) -> bytes:
        """The secret again. Raises SealBroken."""
        if sealed[:1] != _FORMAT or len(sealed) < 1 + _NONCE + 16:
            raise SealBroken(context)
        try:
            return self._cipher.decrypt(sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :], context.encode())
        except InvalidTag:
            raise SealBroken(context) from None


@dataclass(frozen=True)
class SealedSigner:
    """A key that is unsealed for each signature. Make one with `SealedSigner.create` and store `sealed`."""

    vault: Vault = field(repr=False)
    public: PublicKey
    sealed: bytes = field(repr=False)
    context: str

    @classmethod
    def create(cls, vault: Vault, key: PrivateKey, context: str) -> "SealedSigner":
        """Seal a key."""
        return cls(vault, key.public, vault.seal(key.der(), context), context)

    def sign(self, payload: bytes) -> Signature:
        """Raises SealBroken when the vault is not the one that sealed it."""
        key = PrivateKey.of_der(self.vault.unseal(self.sealed, self.context))
        if self.public.keytype.endswith("-x509"):
            key = key.with_certificate(self.public.public)
        return key.sign(payload)


def signer_for(uri: str, passphrase: Callable[[str], bytes]) -> Signer:
    """The signer of a key URI; `passphrase(uri)` is asked for the secret of an encrypted file, or a token's PIN.

    Raises UnknownSigner, InvalidKeyFile, WrongPassphrase, InvalidKey; for devices what pkcs11.py raises.
    """
    if uri.startswith("pkcs11:"):
        return pkcs11.find(pkcs11.Uri.parse(uri), lambda _: passphrase(uri).decode())
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc:
        raise UnknownSigner(uri, "only file:/path and pkcs11: are known here")
    key = read_key_file(_read(uri, unquote(parts.path)), passphrase(uri)).key
    certificate = parse_qs(parts.query).get("certificate", [""])[0]
    return key.with_certificate(_read(uri, certificate)) if certificate else key


def save_key_file(path: Path, file: KeyFile, passphrase: bytes) -> None:
    """Write an encrypted key file, mode 0600, whole or not at all; never over another one."""
    try:
        write_once(path, write_key_file(file, passphrase))
    except Conflict:
        raise Invalid(f"there is already a key at {path}", hint="Keep it, or name another file.") from None


def _read(uri: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UnknownSigner(uri, error.strerror or "the file cannot be read") from None
