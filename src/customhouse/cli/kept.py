"""What `verify` keeps of a repository, in `$XDG_STATE_HOME/customhouse/trust/<sha256 of its name>/`.

1. `seen.json` has the highest versions that were seen, the hashes of the files that were judged last and of the roots
   that led there; `ROLE.SHA256.json` are the files. Bytes come before the list that names them.
2. A version never goes down: whoever read the older timestamp writes nothing. A delegation that is gone is forgotten,
   because a new one of its name begins at 1; one that was only unusable is not.
3. The files are a cache and are judged anew; a damaged or missing one is asked for again. A damaged `seen.json` is
   told: without it a rollback would go unnoticed.
"""

import fcntl
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from customhouse.cli.logins import write_private
from customhouse.errors import Invalid, Undetermined
from customhouse.trust.client import LARGEST_FILE, MOST_ROOTS, Reading, walk
from customhouse.trust.metadata import FileMeta, parse_root
from customhouse.trust.names import ROOT, TIMESTAMP, Gun, RoleName
from customhouse.trust.verify import RoleMissing

LARGEST_LIST = 4 * 1024 * 1024
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Kept:
    """What is kept of one repository; the Cache of trust/client.py."""

    def __init__(self, state: Path, gun: Gun) -> None:
        """Raises Undetermined for a damaged list."""
        self.gun = gun
        self.folder = state / "trust" / sha256(gun.encode()).hexdigest()
        self.versions: dict[RoleName, int] = {}
        self._files: dict[RoleName, str] = {}
        self._roots: list[str] = []
        self._load()

    @property
    def known(self) -> bool:
        """Was this repository read before?"""
        return bool(self._files)

    @property
    def root(self) -> bytes | None:
        """The root that was trusted last."""
        return self.get(self.gun, ROOT, self._files[ROOT]) if ROOT in self._files else None

    @property
    def roots(self) -> tuple[bytes, ...]:
        """The roots that led there, oldest first, as far as they are sound."""
        found = (self.get(self.gun, ROOT, digest) for digest in self._roots)
        return tuple(raw for raw in found if raw is not None)

    def files(self) -> dict[RoleName, bytes]:
        """The files of the last reading, unjudged. Raises RoleMissing for a damaged one."""

        def by_hash(role: RoleName, meta: FileMeta) -> bytes:
            raw = self.get(self.gun, role, meta.sha256)
            if raw is None:
                raise RoleMissing(role)
            return raw

        timestamp = self.get(self.gun, TIMESTAMP, self._files.get(TIMESTAMP, ""))
        if timestamp is None:
            raise RoleMissing(TIMESTAMP)
        return walk(self.gun, timestamp, by_hash)

    # -- the cache --------------------------------------------------------------------------------------------------

    def get(self, gun: Gun, role: RoleName, digest: str) -> bytes | None:
        """The bytes of this hash, or None."""
        try:
            with self._path(role, digest).open("rb") as file:
                raw = file.read(LARGEST_FILE + 1)
        except OSError:
            return None
        return raw if sha256(raw).hexdigest() == digest else None

    def put(self, gun: Gun, role: RoleName, digest: str, raw: bytes) -> None:
        """Keep a file; it is listed by `keep`."""
        try:
            write_private(self._path(role, digest), raw)
        except OSError:
            return  # no room, or a name too long for the disk: it is asked for again

    def keep(self, reading: Reading) -> None:
        """After a verification, which saw that no version went down. Raises Undetermined where nothing can be kept."""
        try:
            self._keep(reading)
        except OSError as error:
            raise Undetermined(
                f"what was seen cannot be kept in {self.folder}: {error.strerror or error}",
                hint="Without that a rollback would go unnoticed. XDG_STATE_HOME may name another folder.",
            ) from error

    def _keep(self, reading: Reading) -> None:
        found = reading.repository
        with self._locked():
            self._load()
            if found.timestamp.version < self.versions.get(TIMESTAMP, 0):
                return  # another process read a newer state meanwhile
            unusable = {role: number for role, number in self.versions.items() if role in found.skipped}
            self.versions = unusable | {
                role: max(number, self.versions.get(role, 0)) for role, number in found.versions.items()
            }
            self._files = {role: sha256(raw).hexdigest() for role, raw in reading.files.items()}
            self._roots = self._chain(reading.roots)
            for role, raw in [*reading.files.items(), *((ROOT, root) for root in reading.roots)]:
                if self.get(self.gun, role, digest := sha256(raw).hexdigest()) is None:
                    self.put(self.gun, role, digest, raw)
            document = {
                "gun": str(self.gun),
                "versions": {str(role): number for role, number in self.versions.items()},
                "files": {str(role): digest for role, digest in self._files.items()},
                "roots": self._roots,
            }
            write_private(self.folder / "seen.json", json.dumps(document).encode())
            self._prune()

    def _chain(self, roots: tuple[bytes, ...]) -> list[str]:
        """Old and new roots by version; where they disagree, the new chain alone."""
        new = {parse_root(raw).version: sha256(raw).hexdigest() for raw in roots}
        old = {parse_root(raw).version: sha256(raw).hexdigest() for raw in self.roots}
        if any(old.get(version, digest) != digest for version, digest in new.items()):
            old = {}
        return [digest for _, digest in sorted((old | new).items())][-MOST_ROOTS:]

    def _prune(self) -> None:
        wanted = {self._path(role, digest) for role, digest in self._files.items()}
        wanted |= {self._path(ROOT, digest) for digest in self._roots}
        for path in self.folder.glob("*.json"):
            if path not in wanted and path.name != "seen.json":
                path.unlink(missing_ok=True)

    # -- the list ---------------------------------------------------------------------------------------------------

    def _load(self) -> None:
        path = self.folder / "seen.json"
        try:
            with path.open("rb") as file:
                document = json.loads(file.read(LARGEST_LIST))
            self.versions = {RoleName.parse(role): int(number) for role, number in document["versions"].items()}
            self._files = {RoleName.parse(role): _digest(digest) for role, digest in document["files"].items()}
            self._roots = [_digest(digest) for digest in document["roots"]]
            if document["gun"] != self.gun:
                raise ValueError
        except (FileNotFoundError, NotADirectoryError):
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, Invalid) as error:
            raise Undetermined(
                f"{path} is damaged: which versions were seen before is not known",
                hint=f"Delete the folder {self.folder} to begin anew.",
            ) from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.folder / "lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _path(self, role: RoleName, digest: str) -> Path:
        return self.folder / f"{role.replace('/', '+')}.{digest}.json"


def _digest(value: object) -> str:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise ValueError
    return value
