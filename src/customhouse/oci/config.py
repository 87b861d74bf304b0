"""The image config: what the publisher says the container is. Parsed leniently in keys, strictly in types.

1. The publisher's bytes are kept and never re-encoded; this file only reads (re-encoding loses HEALTHCHECK, which the
   OCI specification merely reserves).
2. Engines are written in Go and match JSON keys without regard to case, the last one winning. So does this parser,
   except that a key which appears twice in any spelling is refused: `User` beside `user` is a way to show one user to
   the examiner and run as another.
3. Durations are Go's: integer nanoseconds, 0 means the engine's default.
(OCI image-spec config.md; docker-image-spec v1, HealthcheckConfig.)
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from customhouse.errors import Invalid
from customhouse.oci.digest import Digest, InvalidDigest
from customhouse.oci.document import read_object
from customhouse.oci.manifest import Platform

MAX_CONFIG_BYTES = 4 * 1024 * 1024
MAX_LIST = 10_000
_EMPTY: Mapping[str, str] = MappingProxyType({})


class InvalidConfig(Invalid):
    """The image config cannot be understood, or could be understood in two ways."""

    def __init__(self, why: str) -> None:
        super().__init__(why, hint="Build the image again with a current tool and push it.")


@dataclass(frozen=True)
class Healthcheck:
    """HEALTHCHECK as declared; durations in nanoseconds, 0 where the engine's default holds."""

    test: tuple[str, ...]
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0

    @property
    def disabled(self) -> bool:
        return self.test[:1] == ("NONE",)

    @property
    def declared(self) -> bool:
        """A probe is named: not absent, not empty (which inherits), not NONE."""
        return bool(self.test) and not self.disabled


@dataclass(frozen=True)
class History:
    """One line of how the image was made, as its builder tells it."""

    created_by: str = ""
    created: str | None = None
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


@dataclass(frozen=True)
class ImageConfig:
    """The config of one platform. Empty strings and tuples stand for what was not said."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""
    created: str | None = None
    author: str = ""
    user: str = ""
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    healthcheck: Healthcheck | None = None
    labels: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    workdir: str = ""
    stop_signal: str = ""
    shell: tuple[str, ...] = ()
    on_build: tuple[str, ...] = ()
    diff_ids: tuple[Digest, ...] = ()
    history: tuple[History, ...] = ()

    @property
    def argv(self) -> tuple[str, ...]:
        """What the container runs: entrypoint, then command."""
        return self.entrypoint + self.cmd

    @property
    def environment(self) -> dict[str, str]:
        """The variables by name; a later line overrides an earlier one, as in the engine."""
        return {name: value for name, _, value in (line.partition("=") for line in self.env)}

    @property
    def platform(self) -> Platform:
        return Platform(os=self.os, architecture=self.architecture, variant=self.variant, os_version=self.os_version)

    @classmethod
    def parse(cls, raw: bytes) -> "ImageConfig":
        """Read a config blob (docker schema2 or OCI). Raises InvalidConfig."""
        document = _Fields(read_object(raw, most_bytes=MAX_CONFIG_BYTES, refuse=_refused), "config")
        inner = document.object("config")
        rootfs = document.object("rootfs")
        return cls(
            os=document.text("os"),
            architecture=document.text("architecture"),
            variant=document.text("variant"),
            os_version=document.text("os.version"),
            created=document.text("created") or None,
            author=document.text("author"),
            user=inner.text("User"),
            env=inner.texts("Env"),
            entrypoint=inner.command("Entrypoint"),
            cmd=inner.command("Cmd"),
            healthcheck=_healthcheck(inner),
            labels=inner.text_map("Labels"),
            exposed_ports=inner.names("ExposedPorts"),
            volumes=inner.names("Volumes"),
            workdir=inner.text("WorkingDir"),
            stop_signal=inner.text("StopSignal"),
            shell=inner.texts("Shell"),
            on_build=inner.texts("OnBuild"),
            diff_ids=_diff_ids(rootfs),
            history=tuple(_history(line) for line in document.objects("history")),
        )


def _refused(why: str) -> InvalidConfig:
    return InvalidConfig(f"the image config {why}")


def _healthcheck(inner: "_Fields") -> Healthcheck | None:
    if not inner.has("Healthcheck"):
        return None
    declared = inner.object("Healthcheck")
    return Healthcheck(
        test=declared.texts("Test"),
        interval=declared.integer("Interval"),
        timeout=declared.integer("Timeout"),
        start_period=declared.integer("StartPeriod"),
        start_interval=declared.integer("StartInterval"),
        retries=declared.integer("Retries"),
    )


def _history(line: "_Fields") -> History:
    return History(
        created_by=line.text("created_by"),
        created=line.text("created") or None,
        author=line.text("author"),
        comment=line.text("comment"),
        empty_layer=line.flag("empty_layer"),
    )


def _diff_ids(rootfs: "_Fields") -> tuple[Digest, ...]:
    kind = rootfs.text("type")
    if kind not in ("", "layers"):
        raise InvalidConfig(f"rootfs.type is {kind!r}, only 'layers' is known")
    try:
        return tuple(Digest.parse(text) for text in rootfs.texts("diff_ids"))
    except InvalidDigest as error:
        raise InvalidConfig(f"rootfs.diff_ids: {error}") from error


class _Fields:
    """One JSON object of a Go structure: keys without regard to case, each at most once; null is absent."""

    def __init__(self, document: dict[str, Any], where: str) -> None:
        self.where = where
        self.values: dict[str, Any] = {}
        for key, value in document.items():
            folded = key.casefold()
            if folded in self.values:
                raise InvalidConfig(f"{where} holds {key!r} twice in different spellings")
            self.values[folded] = value

    def has(self, name: str) -> bool:
        return self.values.get(name.casefold()) is not None

    def _get(self, name: str, kind: type, described: str, empty: Any) -> Any:
        value = self.values.get(name.casefold())
        if value is None:
            return empty
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise InvalidConfig(f"{self.where}.{name} must be {described}")
        return value

    def text(self, name: str) -> str:
        return str(self._get(name, str, "a string", ""))

    def integer(self, name: str) -> int:
        value: int = self._get(name, int, "an integer", 0)
        if not -(2**63) <= value < 2**63:
            raise InvalidConfig(f"{self.where}.{name} does not fit 64 bits")
        return value

    def flag(self, name: str) -> bool:
        return bool(self._get(name, bool, "true or false", False))

    def object(self, name: str) -> "_Fields":
        return _Fields(self._get(name, dict, "an object", {}), f"{self.where}.{name}")

    def objects(self, name: str) -> list["_Fields"]:
        found = []
        for number, item in enumerate(self._list(name)):
            if not isinstance(item, dict):
                raise InvalidConfig(f"{self.where}.{name}[{number}] must be an object")
            found.append(_Fields(item, f"{self.where}.{name}[{number}]"))
        return found

    def texts(self, name: str) -> tuple[str, ...]:
        items = self._list(name)
        if not all(isinstance(item, str) for item in items):
            raise InvalidConfig(f"{self.where}.{name} must be a list of strings")
        return tuple(items)

    def command(self, name: str) -> tuple[str, ...]:
        """Entrypoint and Cmd: engines also accept one plain string for a list of one."""
        value = self.values.get(name.casefold())
        return (value,) if isinstance(value, str) else self.texts(name)

    def names(self, name: str) -> tuple[str, ...]:
        """Go's sets: an object whose keys matter."""
        return tuple(sorted(self._get(name, dict, "an object", {})))

    def text_map(self, name: str) -> Mapping[str, str]:
        items: dict[str, Any] = self._get(name, dict, "an object of strings", {})
        if not all(isinstance(value, str) for value in items.values()):
            raise InvalidConfig(f"{self.where}.{name} must be an object of strings")
        return MappingProxyType(items)

    def _list(self, name: str) -> list[Any]:
        items: list[Any] = self._get(name, list, "a list", [])
        if len(items) > MAX_LIST:
            raise InvalidConfig(f"{self.where}.{name} has {len(items)} items; {MAX_LIST} are allowed")
        return items

