"""A publisher's key files, in the directory that docker and notary use: `<trust directory>/private/<canonical id>.key`.

1. Names and header lines are read without a passphrase; a key is opened only to sign.
2. A key is made once and never written over. A root key serves all repositories, as with docker; a targets key one.
3. `<trust directory>/tuf/<GUN>/metadata/root.json` is the root that was trusted last: docker's own pin, and ours.
Notary v1 wire: private key files.
"""

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from customhouse.errors import Invalid, NotFound
from customhouse.keyfiles import KeyFile, WrongPassphrase, read_key_file
from customhouse.keys import PrivateKey, PublicKey, Signer, certified
from customhouse.signing import save_key_file

Passphrase = Callable[[str, str, bool], bytes]
"""(role, first characters of the key id, is the key new) -> the passphrase of a key file."""

_NAME = re.compile(r"[0-9a-f]{64}\.key")
_HEADER = re.compile(r"^(role|gun): *(.*?) *$", re.MULTILINE)


class KeyMissing(NotFound):
    """None of the keys that may sign is in the directory; `wanted` are their canonical ids."""

    def __init__(self, directory: Path, what: str, wanted: Iterable[str]) -> None:
        self.wanted = tuple(sorted(wanted))
        ids = ", ".join(key_id[:12] for key_id in self.wanted)
        super().__init__(
            f"no key that may sign {what} is in {directory}",
            hint=f"Bring the key file of {ids} to {directory / 'private'}, or name another directory with --keys.",
        )


@dataclass(frozen=True)
class KeyEntry:
    """One key file by its name and header lines; not opened."""

    key_id: str
    role: str
    gun: str
    path: Path


class KeyDirectory:
    """The trust directory; `passphrase` is asked once a file and process."""

    def __init__(self, directory: Path, passphrase: Passphrase) -> None:
        self.directory = directory
        self._passphrase = passphrase
        self._opened: dict[str, PrivateKey] = {}

    def entries(self) -> list[KeyEntry]:
        """All key files, oldest first."""
        found = []
        for path in (self.directory / "private").glob("*.key"):
            if _NAME.fullmatch(path.name):
                headers = dict(_HEADER.findall(path.read_text(errors="replace")))
                found.append(KeyEntry(path.stem, headers.get("role", ""), headers.get("gun", ""), path))
        return sorted(found, key=lambda entry: (entry.path.stat().st_mtime_ns, entry.key_id))

    def has(self, canonical_id: str) -> bool:
        """Is there a file of this key?"""
        return (self.directory / "private" / f"{canonical_id}.key").is_file()

    def open(self, canonical_id: str) -> PrivateKey:
        """The key itself. Raises KeyMissing, WrongPassphrase, InvalidKeyFile."""
        if canonical_id in self._opened:
            return self._opened[canonical_id]
        path = self.directory / "private" / f"{canonical_id}.key"
        if not path.is_file():
            raise KeyMissing(self.directory, "this", [canonical_id])
        pem = path.read_bytes()
        headers = dict(_HEADER.findall(pem.decode(errors="replace")))
        encrypted = b"BEGIN ENCRYPTED" in pem
        secret = self._passphrase(headers.get("role", "key"), canonical_id[:12], False) if encrypted else None
        try:
            file = read_key_file(pem, secret)
        except WrongPassphrase as error:
            raise Invalid(
                f"the passphrase does not open the {headers.get('role', '')} key {canonical_id[:12]}",
                hint=_PASSPHRASE_HINT,
            ) from error
        if file.key.public.canonical_id != canonical_id:
            raise Invalid(f"{path} holds another key than its name says", hint="Restore the file from your copy.")
        self._opened[canonical_id] = file.key
        return file.key

    def signer(self, public: PublicKey) -> Signer:
        """The private key of a public one, known by its certificate if it has one."""
        key = self.open(public.canonical_id)
        return certified(key, public.public) if public.certificates else key

    def create(self, role: str, gun: str = "") -> PrivateKey:
        """A new ECDSA P-256 key, written encrypted before it is used."""
        key = PrivateKey.generate()
        secret = self._passphrase(role, key.public.canonical_id[:12], True)
        if not secret:
            raise Invalid(f"the new {role} key needs a passphrase", hint=_PASSPHRASE_HINT)
        private = self.directory / "private"
        private.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = KeyFile(key, role, gun)
        save_key_file(private / file.filename, file, secret)
        self._opened[key.public.canonical_id] = key
        return key

    def root_key(self) -> PrivateKey:
        """The first root key, as docker takes it; made when there is none."""
        found = next((entry for entry in self.entries() if entry.role == "root"), None)
        return self.open(found.key_id) if found else self.create("root")

    def known_root(self, gun: str) -> bytes | None:
        """The root that was trusted last for this repository."""
        path = self._root_path(gun)
        return path.read_bytes() if path.is_file() else None

    def remember_root(self, gun: str, raw: bytes) -> None:
        """Pin this root, whole or not at all."""
        path = self._root_path(gun)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = path.with_name(f"root.json.{os.getpid()}")
        temporary.write_bytes(raw)
        temporary.replace(path)

    def _root_path(self, gun: str) -> Path:
        return self.directory / "tuf" / gun / "metadata" / "root.json"


_PASSPHRASE_HINT = (
    "Set CUSTOMHOUSE_ROOT_PASSPHRASE and CUSTOMHOUSE_REPOSITORY_PASSPHRASE (or docker's DOCKER_CONTENT_TRUST_… names)."
)
