"""Settings: the only reader of the environment and of the configuration file.

1. Order: command line, then environment (`CUSTOMHOUSE_…`), then `DIR/customhouse.toml`, then the default.
2. A setting that is not known is an error: a misspelt one must not fall back to a default in silence.
3. Settings are passed inward as values; no room reads them from here.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from customhouse.errors import Invalid

PREFIX = "CUSTOMHOUSE_"
_CLIENT_ONLY = {"url", "token", "debug", "root_passphrase", "repository_passphrase", "passphrase", "config"}


@dataclass(frozen=True)
class Settings:
    """Everything an operator can set; see docs/reference/settings.md."""

    data: Path
    listen: str = field(default="127.0.0.1:5443", metadata={"help": "address and port to listen on"})
    url: str = field(default="https://localhost:5443", metadata={"help": "public URL; fixed by the first signature"})
    policy: Path | None = field(default=None, metadata={"help": "policy file; without one, the shipped default"})
    database: str = field(default="", metadata={"help": "database URL; without one, SQLite in the data directory"})
    engine: str = field(
        default="auto",
        metadata={"help": "container engine for the sandbox: auto, none, or a URL such as unix:///run/docker.sock"},
    )
    workers: int = field(default=2, metadata={"help": "submissions examined at once in one process"})
    anonymous_pull: bool = field(default=True, metadata={"help": "official repositories can be read without login"})
    hub_name: str = field(default="customhouse", metadata={"help": "the signer that clients see on official tags"})
    tls_certificate: Path | None = field(default=None, metadata={"help": "PEM chain; without one, a local CA is made"})
    tls_key: Path | None = field(default=None, metadata={"help": "PEM key of tls_certificate"})
    plain_http: bool = field(
        default=False, metadata={"help": "speak HTTP where we listen: a proxy in front ends TLS for the public URL"}
    )
    admin_password: str = field(default="", repr=False, metadata={"help": "first administrator's password"})
    master_key_file: Path | None = field(
        default=None, metadata={"help": "32 bytes as hex that seal the hub's keys; without one, DIR/master-key"}
    )
    fault: str = field(default="", metadata={"help": "for tests: the fault point at which the process dies"})

    @property
    def host(self) -> str:
        """Public `host[:port]`: the first part of every GUN."""
        return urlsplit(self.url).netloc

    @property
    def listen_address(self) -> tuple[str, int]:
        """The address and port to bind."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def database_url(self) -> str:
        """The database of the hub's rows."""
        return self.database or f"sqlite:///{self.data / 'hub.db'}"

    @property
    def workflow_database_url(self) -> str:
        """The durable engine keeps its own tables: a file of its own on SQLite, a schema on PostgreSQL."""
        return self.database or f"sqlite:///{self.data / 'workflows.db'}"


def load(data: Path, environment: Mapping[str, str] | None = None, **given: Any) -> Settings:
    """The settings of the hub in directory `data`; `given` is what the command line said (None = not said)."""
    environment = os.environ if environment is None else environment
    values: dict[str, Any] = {}
    file = data / "customhouse.toml"
    known = {item.name: item for item in fields(Settings) if item.name != "data"}
    if file.exists():
        try:
            values.update(tomllib.loads(file.read_text()))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise Invalid(f"{file} is not valid TOML: {error}") from error
        if unknown := sorted(set(values) - set(known)):
            raise Invalid(f"{file}: there is no setting {unknown[0]!r}", hint=f"Known: {', '.join(sorted(known))}.")
    for name in known:
        if name not in _CLIENT_ONLY and (text := environment.get(PREFIX + name.upper())) is not None:
            values[name] = text
    values.update({name: value for name, value in given.items() if value is not None})
    if values.get("engine", "auto") == "auto" and environment.get("DOCKER_HOST"):
        values["engine"] = environment["DOCKER_HOST"]  # as every docker client finds its engine
    return _checked(Settings(data=data, **{name: _typed(known[name].type, name, v) for name, v in values.items()}))


def _typed(kind: Any, name: str, value: Any) -> Any:
    if kind is bool:
        if isinstance(value, bool):
            return value
        if str(value).lower() in ("1", "true", "yes", "on", "0", "false", "no", "off"):
            return str(value).lower() in ("1", "true", "yes", "on")
        raise Invalid(f"setting {name}: {value!r} is neither true nor false")
    if kind is int:
        try:
            return int(value)
        except (TypeError, ValueError) as error:
            raise Invalid(f"setting {name}: {value!r} is not a whole number") from error
    return Path(value) if kind == Path | None and value else value


def _checked(settings: Settings) -> Settings:
    parts = urlsplit(settings.url)
    if parts.scheme != "https" or not parts.netloc or parts.path.strip("/") or parts.query:
        raise Invalid(
            f"the public URL {settings.url!r} is not https://HOST[:PORT]",
            hint="Clients of content trust speak TLS only; a path in front of /v2/ would break every GUN.",
        )
    _, _, port = settings.listen.rpartition(":")
    if not port.isdigit() or not 0 <= int(port) <= 65535:
        raise Invalid(f"--listen {settings.listen!r} is not HOST:PORT")
    if bool(settings.tls_certificate) != bool(settings.tls_key):
        raise Invalid("tls_certificate and tls_key belong together: only one of them is set")
    if not 1 <= settings.workers <= 64:
        raise Invalid(f"workers is {settings.workers}; it must be from 1 to 64")
    return settings


def system_clock() -> datetime:
    """Now. The only clock of the product; everything else is told the time."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class ClientEnvironment:
    """What the command line is told by its environment; empty where nothing is said."""

    url: str
    token: str = field(repr=False)
    ca_file: str
    config: Path
    state: Path
    docker_config: Path
    docker_host: str
    debug: bool
    passphrases: Mapping[str, str] = field(repr=False)


def client_environment(environment: Mapping[str, str] | None = None) -> ClientEnvironment:
    """Read once per command. Folders follow the XDG base directories; passphrases may have docker's names."""
    environment = os.environ if environment is None else environment
    home = Path(environment.get("HOME") or "/")

    def either(*names: str) -> str:
        return next((environment[name] for name in names if environment.get(name)), "")

    return ClientEnvironment(
        url=either("CUSTOMHOUSE_URL"),
        token=either("CUSTOMHOUSE_TOKEN"),
        ca_file=either("CUSTOMHOUSE_CA_FILE"),
        config=Path(either("XDG_CONFIG_HOME") or home / ".config") / "customhouse",
        state=Path(either("XDG_STATE_HOME") or home / ".local/state") / "customhouse",
        docker_config=Path(either("DOCKER_CONFIG") or home / ".docker"),
        docker_host=either("DOCKER_HOST"),
        debug=either("CUSTOMHOUSE_DEBUG") not in ("", "0", "false"),
        passphrases={
            "root": either("CUSTOMHOUSE_ROOT_PASSPHRASE", "DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE"),
            "repository": either("CUSTOMHOUSE_REPOSITORY_PASSPHRASE", "DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE"),
        },
    )
