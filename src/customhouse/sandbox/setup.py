"""What a publisher adds to a run: how the service is set up, who stands beside it, what is asked of it inside.

1. Nothing here can loosen a wall: there are no mounts, no privileges, no other user, no network but the run's own.
2. The document (`Setup.parse`) is TOML, version 1, refused with its line for whatever it does not know. It is a
   referrer of the image, of type application/vnd.customhouse.run-profile.v1+toml, or a file of `customhouse check`.
3. Companions are images by digest. Who may be one is decided where the images come from, never here.
4. `script` is run by the image's own /bin/sh, in place of its entrypoint.

Pure. Sizes are bounded: a setup travels with each run's record.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from customhouse.errors import Invalid
from customhouse.oci.digest import Digest, InvalidDigest

MEDIA_TYPE = "application/vnd.customhouse.run-profile.v1+toml"
TESTS_MEDIA_TYPE = "application/vnd.customhouse.structure-tests.v2+yaml"
MAX_BYTES = 64 * 1024
MAX_VARIABLES = 100
MAX_VALUE = 4096
MAX_WORDS = 100
MAX_TMPFS = 10
MAX_COMPANIONS = 4
_TOP = {"version", "environment", "tmpfs", "entrypoint", "command", "script", "companion"}
_COMPANION = {"name", "image", "environment", "tmpfs", "entrypoint", "command"}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_PATH = re.compile(r"(/[A-Za-z0-9._@+-]{1,100}){1,16}")
_REPOSITORY = re.compile(r"[a-z0-9][a-z0-9._/:-]{0,254}")
_RESERVED_PATHS = ("/proc", "/sys", "/dev", "/bin", "/sbin", "/lib", "/lib64", "/usr", "/etc")
_HEADER = re.compile(r"\s*\[{1,2}([^\[\]]{1,200})\]{1,2}\s*(?:#.*)?")


class InvalidSetup(Invalid):
    """A run profile that cannot be used; `line` counts from 1, None where no line can be named."""

    def __init__(self, why: str, line: int | None = None) -> None:
        where = "the run profile" if line is None else f"line {line} of the run profile"
        super().__init__(f"{where}: {why}", hint="Correct the run profile; docs/publishers.md shows its form.")
        self.why, self.line = why, line


@dataclass(frozen=True)
class CommandTest:
    """A program to be run inside the container that serves: `before` it and `after` it others, as argv each."""

    name: str
    argv: tuple[str, ...]
    before: tuple[tuple[str, ...], ...] = ()
    after: tuple[tuple[str, ...], ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Companion:
    """An image beside the one under examination; `name` is how the service calls it on their network."""

    name: str
    repository: str
    digest: Digest
    environment: Mapping[str, str] = field(default_factory=dict)
    tmpfs: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None

    @property
    def reference(self) -> str:
        return f"{self.repository}@{self.digest}"


@dataclass(frozen=True)
class Setup:
    """One run's additions. None keeps the image's own entrypoint or command."""

    environment: Mapping[str, str] = field(default_factory=dict)
    tmpfs: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    companions: tuple[Companion, ...] = ()
    commands: tuple[CommandTest, ...] = ()

    @classmethod
    def parse(cls, raw: bytes) -> "Setup":
        """Read a run profile. Raises InvalidSetup."""
        return _Document(raw).setup()

    @property
    def words(self) -> frozenset[str]:
        """What of it an engine may quote in its errors."""
        words: set[str] = set()
        everybody: tuple[Setup | Companion, ...] = (self, *self.companions)
        for one in everybody:
            words.update(one.environment, one.environment.values(), one.tmpfs, one.entrypoint or (), one.command or ())
        return frozenset(words)


class _Document:
    """Goes through one document and names the line of what it refuses."""

    def __init__(self, raw: bytes) -> None:
        if len(raw) > MAX_BYTES:
            raise InvalidSetup(f"it is larger than {MAX_BYTES} bytes")
        try:
            self.text = raw.decode("utf-8")
            self.document: dict[str, Any] = tomllib.loads(self.text)
        except UnicodeDecodeError:
            raise InvalidSetup("it is not UTF-8") from None
        except RecursionError:
            raise InvalidSetup("it is nested too deeply") from None
        except ValueError as error:
            found = re.search(r"at line (\d{1,9})", str(error))
            raise InvalidSetup(f"not valid TOML: {error}", int(found[1]) if found else None) from None

    def setup(self) -> Setup:
        table = self.document
        self.known(table, _TOP, "")
        if type(table.get("version")) is not int or table["version"] != 1:
            raise self.wrong("version must be 1", "version")
        entrypoint, command = self.argv(table, "entrypoint", ""), self.argv(table, "command", "")
        if "script" in table:
            if entrypoint is not None or command is not None:
                raise self.wrong("script stands in place of entrypoint and command", "script")
            script = table["script"]
            if not isinstance(script, str) or not script.strip() or "\0" in script:
                raise self.wrong("script is a text for /bin/sh", "script")
            entrypoint, command = ("/bin/sh", "-c", script), ()
        companions = table.get("companion", [])
        if not isinstance(companions, list) or len(companions) > MAX_COMPANIONS:
            raise self.wrong(f"at most {MAX_COMPANIONS} companions, each under [[companion]]", "companion")
        beside = tuple(self.companion(item, number) for number, item in enumerate(companions))
        if len({one.name for one in beside}) != len(beside):
            raise self.wrong("two companions have the same name", "companion")
        return Setup(
            environment=self.environment(table, ""),
            tmpfs=self.tmpfs(table, ""),
            entrypoint=entrypoint,
            command=command,
            companions=beside,
        )

    def companion(self, table: Any, number: int) -> Companion:
        if not isinstance(table, dict):
            raise self.wrong("a companion is a table: [[companion]]", "companion")
        self.known(table, _COMPANION, "companion", number)
        name, image = table.get("name"), table.get("image")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise self.wrong("a companion's name is a-z, 0-9 and dashes, 31 at most", "companion", "name", number)
        repository, _, digest = image.rpartition("@") if isinstance(image, str) else ("", "", "")
        try:
            if not _REPOSITORY.fullmatch(repository):
                raise InvalidDigest(digest)
            parsed = Digest.parse(digest)
        except InvalidDigest:
            raise self.wrong("image is REPOSITORY@sha256:…, by digest", "companion", "image", number) from None
        return Companion(
            name,
            repository,
            parsed,
            self.environment(table, "companion", number),
            self.tmpfs(table, "companion", number),
            self.argv(table, "entrypoint", "companion", number),
            self.argv(table, "command", "companion", number),
        )

    def environment(self, table: Mapping[str, Any], where: str, number: int = 0) -> dict[str, str]:
        found = table.get("environment", {})
        if not isinstance(found, dict) or len(found) > MAX_VARIABLES:
            raise self.wrong(f"environment is a table of at most {MAX_VARIABLES} texts", where, "environment", number)
        for name, value in found.items():
            if not _VARIABLE.fullmatch(name):
                raise self.wrong(f"{name[:60]!r} names no variable", where, "environment", number)
            if not isinstance(value, str) or len(value) > MAX_VALUE or "\0" in value:
                raise self.wrong(f"{name} is a text of at most {MAX_VALUE} characters", where, "environment", number)
        return dict(found)

    def tmpfs(self, table: Mapping[str, Any], where: str, number: int = 0) -> tuple[str, ...]:
        paths = self.texts(table.get("tmpfs", []), MAX_TMPFS)
        if paths is None:
            raise self.wrong(f"tmpfs is a list of at most {MAX_TMPFS} paths", where, "tmpfs", number)
        for path in paths:
            reserved = any(path == one or path.startswith(f"{one}/") for one in _RESERVED_PATHS)
            if not _PATH.fullmatch(path) or {".", ".."} & set(path.split("/")) or reserved:
                raise self.wrong(f"{path[:60]!r} cannot be a tmpfs", where, "tmpfs", number)
        return paths

    def argv(self, table: Mapping[str, Any], key: str, where: str, number: int = 0) -> tuple[str, ...] | None:
        if key not in table:
            return None
        words = self.texts(table[key], MAX_WORDS)
        if words is None or not words:
            raise self.wrong(f"{key} is a list of texts, {MAX_WORDS} at most", where, key, number)
        return words

    @staticmethod
    def texts(value: Any, most: int) -> tuple[str, ...] | None:
        if not isinstance(value, list) or len(value) > most:
            return None
        if not all(isinstance(item, str) and len(item) <= MAX_VALUE and "\0" not in item for item in value):
            return None
        return tuple(value)

    def known(self, table: Mapping[str, Any], keys: set[str], where: str, number: int = 0) -> None:
        for key in table:
            if key not in keys:
                why = f"{key[:60]!r} is not known here; known are {', '.join(sorted(keys))}"
                raise self.wrong(why, where, key, number)

    def wrong(self, why: str, where: str, key: str = "", number: int = 0) -> InvalidSetup:
        """`where` is "" or "companion", of which `number` counts; or `where` alone is a key at the top."""
        if not key and where != "companion":
            where, key = "", where
        return InvalidSetup(why, self._line(where, key, number))

    def _line(self, where: str, key: str, number: int) -> int | None:
        """The line of the key, or of the table that it should be in."""
        table, seen, best = "", -1, None
        for count, line in enumerate(self.text.splitlines(), 1):
            if header := _HEADER.fullmatch(line):
                table = header[1].strip()
                seen += line.lstrip().startswith("[[") and table == "companion"
                inside = table == where and (not where or seen == number)
                if (inside and best is None) or table == ".".join(filter(None, (where, key))):
                    best = count
            elif (
                table == where
                and (not where or seen == number)
                and line.partition("=")[0].strip().strip("\"'") == key
            ):
                return count
        return best
