"""A publisher's keys, in the directory that docker and notary use: `<trust directory>/private/<canonical id>.key`.

1. Names and header lines are read without a passphrase; a key is opened only to sign.
2. A key is made once and never written over. A root key serves all repositories, as with docker; a targets key one.
   New repositories begin with the newest root key here that no repository was rotated away from.
3. A key on a device stands beside them as `<canonical id>.pkcs11`: its public key, with the URI, role and repository as
   header lines. It signs like any other; docker and notary pass it over.
4. `<trust directory>/tuf/<GUN>/metadata/root.json` is the root that was trusted last: docker's own pin, and ours.
   `targets.json` beside it is what docker caches, and what `key list` knows of signers.
Notary v1 wire: private key files.
"""

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from customhouse import pkcs11
from customhouse.errors import Invalid, NotFound
from customhouse.keyfiles import KeyFile, WrongPassphrase, encrypted, read_key_file, write_key_file
from customhouse.keys import PrivateKey, PublicKey, Signer, certified
from customhouse.signing import save_key_file
from customhouse.trust.known import former_roots
from customhouse.wholefile import write_once, write_whole

Passphrase = Callable[[str, str, bool], bytes]
"""(role, first characters of the key id, is the key new) -> the passphrase of a key file, empty when none is known.

For a device: ("pkcs11", label of the token, False) -> its PIN.
"""

DEVICE = "pkcs11"
LONGEST_FILE = 64 * 1024
_NAME = re.compile(r"[0-9a-f]{64}\.(key|pkcs11)")
_HEADER = re.compile(r"^(role|gun|uri): *(.*?) *$", re.MULTILINE)
_ROLE = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}")


class KeyMissing(NotFound):
    """None of the keys that may sign is in the directory; `wanted` are their canonical ids."""

    def __init__(self, directory: Path, what: str, wanted: Iterable[str], *, top: bool = False) -> None:
        self.wanted = tuple(sorted(wanted))
        ids = ", ".join(key_id[:12] for key_id in self.wanted)
        kept = " Where the hub keeps root and targets for a publisher, a certifier does this." if top else ""
        super().__init__(
            f"no key that may sign {what} is in {directory}",
            hint=f"Bring the key file of {ids} to {directory / 'private'}, or name another directory with --keys."
            + kept,
        )


class NoPassphrase(Invalid):
    """A key is encrypted, or about to be, and nothing said with what."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the {what} needs a passphrase, and there is no terminal to ask on", hint=_PASSPHRASE_HINT)


@dataclass(frozen=True)
class KeyEntry:
    """One key by its file's name and header lines; not opened. `device` is the URI of a key on a token."""

    key_id: str
    role: str
    gun: str
    path: Path
    device: str = ""


class KeyDirectory:
    """The trust directory; `passphrase` is asked once a file, or token, and process."""

    def __init__(self, directory: Path, passphrase: Passphrase) -> None:
        self.directory = directory
        self._passphrase = passphrase
        self._opened: dict[str, Signer] = {}
        self._pins: dict[str, str] = {}

    @property
    def private(self) -> Path:
        """Where the key files are."""
        return self.directory / "private"

    def entries(self) -> list[KeyEntry]:
        """All keys, oldest first."""
        found = []
        for path in self.private.glob("*"):
            if _NAME.fullmatch(path.name) and path.is_file():
                headers = _headers(_read(path))
                uri = headers.get("uri", "") if path.suffix == ".pkcs11" else ""
                found.append(KeyEntry(path.stem, headers.get("role", ""), headers.get("gun", ""), path, uri))
        return sorted(found, key=lambda entry: (entry.path.stat().st_mtime_ns, entry.key_id))

    def entry(self, name: str) -> KeyEntry:
        """The one key of this role or id (its first 6 characters do). Raises NotFound, Invalid."""
        fitting = [
            each for each in self.entries()
            if each.role == name or (len(name) >= 6 and each.key_id.startswith(name))
        ]
        if not fitting:
            raise NotFound(f"there is no key {name} in {self.private}", hint="List the keys: customhouse key list")
        if len(fitting) > 1:
            ids = ", ".join(each.key_id[:12] for each in fitting)
            raise Invalid(f"several keys are called {name}", hint=f"Name one by its id: {ids}")
        return fitting[0]

    def has(self, canonical_id: str) -> bool:
        """Is this key here, as a file or on a device?"""
        return any((self.private / f"{canonical_id}.{kind}").is_file() for kind in ("key", "pkcs11"))

    def open(self, canonical_id: str) -> Signer:
        """The key itself. Raises KeyMissing, NoPassphrase, Invalid, InvalidKeyFile."""
        if canonical_id in self._opened:
            return self._opened[canonical_id]
        path = self.private / f"{canonical_id}.key"
        if path.is_file():
            signer: Signer = self._file(path).key
        elif (path := path.with_suffix(".pkcs11")).is_file():
            signer = pkcs11.DeviceSigner(self._uri(path), PublicKey.of_pem(_read(path)), self._pin)
        else:
            raise KeyMissing(self.directory, "this", [canonical_id])
        if signer.public.canonical_id != canonical_id:
            raise Invalid(f"{path} holds another key than its name says", hint="Restore the file from your copy.")
        self._opened[canonical_id] = signer
        return signer

    def signer(self, public: PublicKey) -> Signer:
        """The private key of a public one, known by its certificate if it has one."""
        key = self.open(public.canonical_id)
        return certified(key, public.public) if public.certificates else key

    # -- new keys ---------------------------------------------------------------------------------------------------

    def create(self, role: str, gun: str = "") -> Signer:
        """A new ECDSA P-256 key, written encrypted before it is used."""
        return self.add(KeyFile(PrivateKey.generate(), role, gun))

    def add(self, file: KeyFile, passphrase: bytes = b"") -> Signer:
        """Keep a key, encrypted; without a passphrase given, one is asked for. Raises Invalid where it is already."""
        key_id = file.key.public.canonical_id
        self._require_new(key_id, file.role)
        secret = passphrase or self._secret(file.role, key_id, new=True)
        save_key_file(self.private / file.filename, file, secret)
        self._opened[key_id] = file.key
        return file.key

    def create_on_device(self, uri: pkcs11.Uri, kind: str, role: str, gun: str = "") -> Signer:
        """A new key on a token, put on record. Raises what pkcs11.py raises."""
        _require_role(role)
        return self._record(pkcs11.generate(uri, kind, self._pin), role, gun)

    def add_device(self, uri: pkcs11.Uri, role: str, gun: str = "") -> Signer:
        """Put a key on record that is on a token already."""
        _require_role(role)
        return self._record(pkcs11.find(uri, self._pin), role, gun)

    def open_file(self, pem: bytes, role: str, name: str) -> tuple[KeyFile, bytes]:
        """A key file from elsewhere, and the passphrase that opened it. Raises NoPassphrase, Invalid."""
        secret = self._secret(role, name, new=False) if encrypted(pem) else b""
        try:
            return read_key_file(pem, secret or None), secret
        except WrongPassphrase as error:
            raise Invalid(f"the passphrase does not open {name}", hint=_PASSPHRASE_HINT) from error

    def change_passphrase(self, entry: KeyEntry, new: Callable[[], bytes]) -> None:
        """Encrypt a key file with a new passphrase, asked for when the old one has opened it. Raises Invalid."""
        if entry.device:
            raise Invalid(f"the key {entry.key_id[:12]} is on a device", hint="Change its PIN with the device's tool.")
        file, before = self._file(entry.path), entry.path.stat()
        write_whole(entry.path, write_key_file(file, new()))
        os.utime(entry.path, ns=(before.st_atime_ns, before.st_mtime_ns))  # a key is as old as it is

    def root_key(self) -> Signer:
        """The root key that new repositories begin with; made when there is none."""
        found = self.next_root()
        return self.open(found.key_id) if found else self.create("root")

    def next_root(self) -> KeyEntry | None:
        """The newest root key here that no repository was rotated away from."""
        former = former_roots(self.directory)
        roots = [entry for entry in self.entries() if entry.role == "root" and entry.key_id not in former]
        return roots[-1] if roots else None

    def _record(self, signer: pkcs11.DeviceSigner, role: str, gun: str) -> Signer:
        key_id = signer.public.canonical_id
        self._require_new(key_id, role)
        lines = signer.public.pem.decode().splitlines()
        headers = [f"{name}: {value}" for name, value in (("gun", gun), ("role", role), ("uri", signer.uri)) if value]
        write_once(self.private / f"{key_id}.pkcs11", "\n".join([lines[0], *headers, "", *lines[1:], ""]).encode())
        self._opened[key_id] = signer
        return signer

    def _require_new(self, key_id: str, role: str) -> None:
        _require_role(role)
        if self.has(key_id):
            raise Invalid(f"the key {key_id[:12]} is here already", hint="See: customhouse key list")

    # -- secrets ----------------------------------------------------------------------------------------------------

    def _file(self, path: Path) -> KeyFile:
        pem, name = _read(path), path.stem[:12]
        role = _headers(pem).get("role", "")
        secret = self._secret(role, path.stem, new=False) if encrypted(pem) else None
        try:
            return read_key_file(pem, secret)
        except WrongPassphrase as error:
            raise Invalid(f"the passphrase does not open the {role} key {name}", hint=_PASSPHRASE_HINT) from error

    def _secret(self, role: str, key_id: str, *, new: bool) -> bytes:
        secret = self._passphrase(role or "key", key_id[:12], new)
        if not secret:
            raise NoPassphrase(f"new {role} key" if new else f"{role} key {key_id[:12]}")
        return secret

    def _pin(self, token: str) -> str:
        if token not in self._pins:
            self._pins[token] = self._passphrase(DEVICE, token, False).decode()
        return self._pins[token]

    def _uri(self, path: Path) -> pkcs11.Uri:
        return pkcs11.Uri.parse(_headers(_read(path)).get("uri", ""))

    # -- what was trusted -------------------------------------------------------------------------------------------

    def known_root(self, gun: str) -> bytes | None:
        """The root that was trusted last for this repository."""
        path = self._root_path(gun)
        return path.read_bytes() if path.is_file() else None

    def remember_root(self, gun: str, raw: bytes) -> None:
        """Pin this root, whole or not at all."""
        self._remember(self._root_path(gun), raw)

    def remember_targets(self, gun: str, raw: bytes) -> None:
        """Cache verified targets, as docker does; it checks them against the snapshot before it uses them."""
        self._remember(self._root_path(gun).with_name("targets.json"), raw)

    def _remember(self, path: Path, raw: bytes) -> None:
        if path.is_file() and path.stat().st_size == len(raw) and path.read_bytes() == raw:
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        temporary.write_bytes(raw)
        temporary.replace(path)

    def _root_path(self, gun: str) -> Path:
        return self.directory / "tuf" / gun / "metadata" / "root.json"


def _headers(pem: bytes) -> dict[str, str]:
    return dict(_HEADER.findall(pem.decode(errors="replace")))


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LONGEST_FILE + 1)


def _require_role(role: str) -> None:
    if not _ROLE.fullmatch(role):
        raise Invalid(
            f"{role[:60]!r} cannot be the name of a key", hint="Take a-z 0-9 _ -, such as your name; it becomes a role."
        )


_PASSPHRASE_HINT = (
    "Set CUSTOMHOUSE_ROOT_PASSPHRASE and CUSTOMHOUSE_REPOSITORY_PASSPHRASE (or docker's DOCKER_CONTENT_TRUST_… names), "
    "or give --passphrase-file."
)
