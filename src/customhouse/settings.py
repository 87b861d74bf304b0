"""Settings: the only reader of the environment and of the configuration file.

1. Order: command line, then environment (`CUSTOMHOUSE_…`), then `DIR/customhouse.toml`, then the default.
2. A setting that is not known is an error, in the file and in the environment: a misspelt one must not fall back to
   a default in silence. One that is set to nothing in the environment is not set.
3. Settings are passed inward as values; no room reads them from here.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from customhouse.errors import Invalid

PREFIX = "CUSTOMHOUSE_"
# What a client is told: URL names the hub it talks to, so it is no setting of a hub.
_CLIENT_ONLY = frozenset({
    "url", "token", "ca_file", "debug", "root_passphrase", "repository_passphrase", "root_passphrase_file",
    "repository_passphrase_file", "pkcs11_pin", "pkcs11_pin_file",
})  # fmt: skip
_TESTS_ONLY = "test_"
# As every S3 client finds them.
_AMAZON = {
    "s3_endpoint": "AWS_ENDPOINT_URL", "s3_region": "AWS_REGION", "s3_access_key": "AWS_ACCESS_KEY_ID",
    "s3_secret_key": "AWS_SECRET_ACCESS_KEY", "s3_session_token": "AWS_SESSION_TOKEN",
}  # fmt: skip
_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._/-]*)?")
_SIGNER = re.compile(r"[a-z0-9][a-z0-9_-]*")
_LONGEST_HOST = 62  # the root certificate is for HOST/*, and a common name has 64 characters at most


@dataclass(frozen=True)
class Settings:
    """Everything an operator can set; see docs/reference/settings.md."""

    data: Path
    listen: str = field(default="127.0.0.1:5443", metadata={"help": "address and port to listen on"})
    url: str = field(default="https://localhost:5443", metadata={"help": "public URL; fixed by the first signature"})
    policy: str = field(default="baseline", metadata={"help": "name of a shipped policy, or path of a file"})
    database: str = field(default="", metadata={"help": "database URL; without one, SQLite in the data directory"})
    blobs: str = field(
        default="", metadata={"help": "s3://BUCKET/PREFIX for layers and configs; without one, the data directory"}
    )
    s3_endpoint: str = field(
        default="", metadata={"help": "URL of an S3 other than Amazon's; `AWS_ENDPOINT_URL` is known too"}
    )
    s3_region: str = field(default="", metadata={"help": "its region; `AWS_REGION` is known too"})
    s3_access_key: str = field(default="", repr=False, metadata={"help": "or `AWS_ACCESS_KEY_ID`"})
    s3_secret_key: str = field(default="", repr=False, metadata={"help": "or `AWS_SECRET_ACCESS_KEY`"})
    s3_session_token: str = field(default="", repr=False, metadata={"help": "or `AWS_SESSION_TOKEN`"})
    s3_path_style: bool = field(
        default=True, metadata={"help": "the bucket stands in the path of the URL, not in the host's name"}
    )
    s3_ca_file: Path | None = field(default=None, metadata={"help": "PEM file of the CA that signed the endpoint's"})
    blob_redirect: bool = field(
        default=True, metadata={"help": "clients get blobs from S3 itself; false: through the hub"}
    )
    engine: str = field(
        default="auto",
        metadata={"help": "container engine for the sandbox: auto, none, or a URL such as unix:///run/docker.sock"},
    )
    processes: int = field(
        default=1, metadata={"help": "processes that serve requests on this machine; the first does the duties as well"}
    )
    role: str = field(
        default="all", metadata={"help": "all; or api: serve requests, and leave all other work to the other hosts"}
    )
    clamd: str = field(
        default="", metadata={"help": "ClamAV's daemon: unix:/run/clamav/clamd.ctl or tcp:HOST:3310; without one, none"}
    )
    malware_rules: Path | None = field(default=None, metadata={"help": "folder of YARA rules beside the shipped ones"})
    workers: int = field(default=2, metadata={"help": "submissions examined at once in one process"})
    analysis_cache: Path | None = field(
        default=None,
        metadata={"help": "folder of what was learnt of layers, which hosts may share; without one, DIR/analysis"},
    )
    analysis_cache_gigabytes: int = field(
        default=4, metadata={"help": "how large it may grow before the oldest goes; 0: nothing is kept"}
    )
    quarantine_days: int = field(
        default=30, metadata={"help": "days for which quarantine keeps the content of a submission that is final"}
    )
    source_gigabytes: int = field(default=20, metadata={"help": "size of the largest image fetched from a source"})
    advisories_mirror: str = field(
        default="", metadata={"help": "mirror of OSV's dumps that is followed: a folder, or an https URL"}
    )
    advisories_ecosystems: str = field(
        default="", metadata={"help": "ecosystems that are followed, with commas; without any, all of ecosystems.txt"}
    )
    advisories_hours: int = field(default=6, metadata={"help": "hours between updates of advisories; 0: on request"})
    anonymous_pull: bool = field(default=True, metadata={"help": "official repositories can be read without login"})
    unverifying_clients: str = field(
        default="warn",
        metadata={"help": "official tags for docker 29 and later, which ignore content trust: warn, or refuse"},
    )
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
    def host_name(self) -> str:
        """The public name or address without port."""
        return urlsplit(self.url).hostname or ""

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
        if self.database_url.startswith("sqlite"):
            return f"sqlite:///{self.data / 'workflows.db'}"
        return self.database


def load(data: Path, environment: Mapping[str, str] | None = None, **given: Any) -> Settings:
    """The settings of the hub in directory `data`; `given` is what the command line said (None = not said)."""
    environment = os.environ if environment is None else environment
    values: dict[str, Any] = {}
    file = data / "customhouse.toml"
    known = {item.name: item for item in fields(Settings) if item.name != "data"}
    if file.exists():
        try:
            values.update(tomllib.loads(file.read_text(encoding="utf-8")))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise Invalid(f"{file} is not valid TOML: {error}") from error
        except OSError as error:
            raise Invalid(f"{file} cannot be read: {error.strerror}") from error
        if unknown := sorted(set(values) - set(known)):
            raise _unknown(f"{file}: there is no setting {unknown[0]!r}", known)
    for variable, text in environment.items():
        name = variable.removeprefix(PREFIX).lower()
        if not variable.startswith(PREFIX) or name in _CLIENT_ONLY or name.startswith(_TESTS_ONLY) or not text:
            continue
        if name not in known:
            raise _unknown(f"there is no setting {variable}", known)
        values[name] = text
    values.update({name: value for name, value in given.items() if value is not None})
    if values.get("engine", "auto") == "auto" and environment.get("DOCKER_HOST"):
        values["engine"] = environment["DOCKER_HOST"]  # as every docker client finds its engine
    if values.get("blobs"):  # keys belong together: those of settings and environment are not mixed
        keys = {"s3_access_key", "s3_secret_key", "s3_session_token"}
        foreign = _AMAZON.keys() - (keys if keys & values.keys() else set()) - values.keys()
        values |= {name: environment[_AMAZON[name]] for name in foreign if environment.get(_AMAZON[name])}
    return _checked(Settings(data=data, **{name: _typed(known[name].type, name, v) for name, v in values.items()}))


def _unknown(what: str, known: Mapping[str, Any]) -> Invalid:
    return Invalid(what, hint=f"Known: {', '.join(sorted(known))}.")


def _typed(kind: Any, name: str, value: Any) -> Any:
    if kind is bool:
        if isinstance(value, bool):
            return value
        if str(value).lower() in ("1", "true", "yes", "on", "0", "false", "no", "off"):
            return str(value).lower() in ("1", "true", "yes", "on")
        raise Invalid(f"setting {name}: {value!r} is neither true nor false")
    if kind is int:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if not (isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value)):
            raise Invalid(f"setting {name}: {value!r} is not a whole number")
        return int(value)
    if not isinstance(value, str | Path):
        raise Invalid(f"setting {name}: {value!r} is not a text", hint="Put it between quotation marks.")
    return Path(value) if kind == Path | None else value


def _checked(settings: Settings) -> Settings:
    settings = replace(settings, url=settings.url.removesuffix("/"), database=_database(settings.database))
    host = settings.url.removeprefix("https://")
    if host == settings.url or not _HOST.fullmatch(host) or not _port_fits(host):
        raise Invalid(
            f"the public URL {settings.url!r} is not https://HOST[:PORT] in lower case",
            hint="Clients of content trust speak TLS only; a path in front of /v2/ would break every GUN.",
        )
    if len(host) > _LONGEST_HOST:
        raise Invalid(f"the public host {host!r} is longer than {_LONGEST_HOST} characters")
    if not _SIGNER.fullmatch(settings.hub_name) or settings.hub_name == "releases":
        raise Invalid(
            f"hub_name {settings.hub_name!r} cannot name a signer",
            hint="It needs a-z 0-9 _ - and starts with a letter or digit; `releases` is taken by clients.",
        )
    _, _, port = settings.listen.rpartition(":")
    if not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise Invalid(f"--listen {settings.listen!r} is not HOST:PORT")
    if bool(settings.tls_certificate) != bool(settings.tls_key):
        raise Invalid("tls_certificate and tls_key belong together: only one of them is set")
    if settings.unverifying_clients not in ("warn", "refuse"):
        raise Invalid(f"unverifying_clients is {settings.unverifying_clients!r}; it must be warn or refuse")
    if not 1 <= settings.processes <= 64:
        raise Invalid(f"processes is {settings.processes}; it must be from 1 to 64")
    if settings.blobs and not _BUCKET.fullmatch(settings.blobs):
        raise Invalid(f"blobs is {settings.blobs[:200]!r}", hint="Write s3://BUCKET or s3://BUCKET/PREFIX.")
    if bool(settings.s3_access_key) != bool(settings.s3_secret_key):
        raise Invalid("s3_access_key and s3_secret_key belong together: only one of them is set")
    if not re.fullmatch(r"(https?://[^/@?#\s]+/?)?", settings.s3_endpoint):
        raise Invalid("s3_endpoint is not http://HOST[:PORT] or https://HOST[:PORT]")
    _check_role(settings)
    if not 1 <= settings.workers <= 64:
        raise Invalid(f"workers is {settings.workers}; it must be from 1 to 64")
    if not 1 <= settings.quarantine_days <= 3650:
        raise Invalid(f"quarantine_days is {settings.quarantine_days}; it must be from 1 to 3650")
    if not 1 <= settings.source_gigabytes <= 10_000:
        raise Invalid(f"source_gigabytes is {settings.source_gigabytes}; it must be from 1 to 10000")
    return settings


def _check_role(settings: Settings) -> None:
    if settings.role not in ("all", "api"):
        raise Invalid(f"role is {settings.role[:40]!r}; it must be all or api")
    if settings.role == "api" and settings.database_url.startswith("sqlite"):
        raise Invalid("role is api, and there are no other hosts: hosts share a PostgreSQL database")


def _port_fits(host: str) -> bool:
    port = host.rpartition(":")[2] if not host.endswith("]") and ":" in host else "443"
    return 0 < int(port) <= 65535


def _database(url: str) -> str:
    """With the driver that is installed; raises Invalid for an engine that is not known here."""
    if url.startswith(("postgresql://", "postgres://")):
        return "postgresql+psycopg://" + url.partition("://")[2]
    if url and not url.startswith(("sqlite:///", "postgresql+psycopg://")):
        raise Invalid(
            f"the database {url.partition(':')[0]!r} is not known",
            hint="Give postgresql://USER@HOST/NAME; without one, SQLite in the data directory is used.",
        )
    return url


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
    cache: Path
    docker_config: Path
    docker_host: str
    debug: bool
    passphrases: Mapping[str, str] = field(repr=False)
    passphrase_files: Mapping[str, str]
    source_date_epoch: str = ""

    def now(self) -> datetime:
        """The moment at which ages are judged: that of https://reproducible-builds.org/specs/source-date-epoch/ where
        it is set. Raises Invalid."""
        epoch = self.source_date_epoch
        if not epoch:
            return system_clock()
        if not (epoch.isascii() and epoch.isdigit() and len(epoch) < 12):
            raise Invalid(f"SOURCE_DATE_EPOCH is {epoch[:40]!r}", hint="It is a number of seconds since 1970.")
        return datetime.fromtimestamp(int(epoch), UTC)


def client_environment(environment: Mapping[str, str] | None = None) -> ClientEnvironment:
    """Read once per command. Folders follow the XDG base directories; passphrases may have docker's names."""
    environment = os.environ if environment is None else environment
    home = Path(environment.get("HOME") or "/")

    def either(*names: str) -> str:
        return next((environment[name] for name in names if environment.get(name)), "")

    return ClientEnvironment(
        source_date_epoch=either("SOURCE_DATE_EPOCH"),
        url=either("CUSTOMHOUSE_URL"),
        token=either("CUSTOMHOUSE_TOKEN"),
        ca_file=either("CUSTOMHOUSE_CA_FILE"),
        config=Path(either("XDG_CONFIG_HOME") or home / ".config") / "customhouse",
        state=Path(either("XDG_STATE_HOME") or home / ".local/state") / "customhouse",
        cache=Path(either("XDG_CACHE_HOME") or home / ".cache") / "customhouse",
        docker_config=Path(either("DOCKER_CONFIG") or home / ".docker"),
        docker_host=either("DOCKER_HOST"),
        debug=either("CUSTOMHOUSE_DEBUG") not in ("", "0", "false"),
        passphrases={
            "root": either("CUSTOMHOUSE_ROOT_PASSPHRASE", "DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE"),
            "repository": either("CUSTOMHOUSE_REPOSITORY_PASSPHRASE", "DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE"),
            "pkcs11": either("CUSTOMHOUSE_PKCS11_PIN"),
        },
        passphrase_files={
            "root": either("CUSTOMHOUSE_ROOT_PASSPHRASE_FILE"),
            "repository": either("CUSTOMHOUSE_REPOSITORY_PASSPHRASE_FILE"),
            "pkcs11": either("CUSTOMHOUSE_PKCS11_PIN_FILE"),
        },
    )
