"""The hubs this person is signed in to: `$XDG_CONFIG_HOME/customhouse/config.json`, mode 0600.

1. Which hub: what the command says, else CUSTOMHOUSE_URL, else the hub that was logged in to last.
2. Who: CUSTOMHOUSE_TOKEN (a session `ch_…`, or USERNAME:SECRET of an access token), else the stored login; for a
   registry that is no hub, what `docker login` has stored.
3. A CA given at login is kept with it, its text and not its path.
"""

import base64
import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from customhouse.errors import Invalid
from customhouse.settings import ClientEnvironment
from customhouse.transport import Credentials, Tls


@dataclass(frozen=True)
class Login:
    """One hub, and who we are there."""

    url: str
    username: str
    token: str = field(repr=False)
    role: str = ""
    expires: str = ""
    ca_pem: str = ""
    insecure: bool = False

    @property
    def host(self) -> str:
        """`host[:port]`."""
        return urlsplit(self.url).netloc


class Logins:
    """The file; read at once, written whole."""

    def __init__(self, environment: ClientEnvironment) -> None:
        self.environment = environment
        self.path = environment.config / "config.json"
        document = _read(self.path)
        try:
            stored = [Login(**entry) for entry in document.get("logins", [])]
        except TypeError as error:
            raise Invalid(f"{self.path} is damaged", hint="Delete it and log in again.") from error
        self._logins = {login.url: login for login in stored}
        self._last = str(document.get("last", ""))

    def url(self, given: str | None = None, host: str | None = None) -> str:
        """The hub to talk to. `host`: of a reference, which decides unless a URL is given."""
        chosen = given or ("" if host and urlsplit(self.environment.url).netloc != host else self.environment.url)
        if not chosen and host:
            known = [login.url for login in self._logins.values() if login.host == host]
            chosen = known[0] if known else f"https://{host}"
        chosen = chosen or self._last
        if not chosen:
            raise Invalid("no hub is known", hint="Run customhouse login URL -u USER, or set CUSTOMHOUSE_URL.")
        return chosen.rstrip("/")

    def get(self, url: str) -> Login | None:
        """The stored login at this hub."""
        return self._logins.get(url)

    def credentials(self, url: str) -> Credentials:
        """Who we are there; nobody when nothing is stored."""
        token, login = self.environment.token, self.get(url)
        if token and (not self.environment.url or self.environment.url.rstrip("/") == url):
            username, colon, secret = token.partition(":")
            return Credentials(username, secret) if colon else Credentials(bearer=token)
        if login:
            return Credentials(username=login.username, secret=login.token, bearer=login.token)
        return _docker_login(self.environment.docker_config / "config.json", urlsplit(url).netloc)

    def tls(self, url: str, ca_file: Path | None, insecure: bool) -> Tls:
        """Whom to believe there."""
        if insecure or ca_file:
            return Tls(ca_file=ca_file, insecure=insecure)
        if self.environment.ca_file:
            return Tls(ca_file=Path(self.environment.ca_file))
        login = self.get(url)
        return Tls(ca_pem=login.ca_pem, insecure=login.insecure) if login else Tls()

    def keep(self, login: Login) -> None:
        """Store a login and make it the one that is used."""
        self._logins[login.url] = login
        self._last = login.url
        self._write()

    def forget(self, url: str) -> None:
        """Remove a login."""
        self._logins.pop(url, None)
        if self._last == url:
            self._last = next(reversed(self._logins), "")
        self._write()

    def _write(self) -> None:
        document = {"last": self._last, "logins": [asdict(login) for login in self._logins.values()]}
        write_private(self.path, json.dumps(document, indent=2).encode() + b"\n")


def write_private(path: Path, content: bytes) -> None:
    """A file of mode 0600, whole or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise Invalid(f"{path} is damaged", hint="Delete it and log in again.") from error
    return document if isinstance(document, dict) else {}


def _docker_login(path: Path, host: str) -> Credentials:
    try:
        entry = json.loads(path.read_bytes())["auths"][host]
        username, _, secret = base64.b64decode(entry.get("auth", "")).decode().partition(":")
        return Credentials(username=username, secret=secret, refresh_token=entry.get("identitytoken", ""))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Credentials()
