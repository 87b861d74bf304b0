"""Sources: the only other servers that the hub ever asks for a publisher, and how it asks them.

1. An administrator registers each by its address, for one publisher. The hub asks no other server: neither one that a
   submission names, nor one that a redirect, a token challenge or a page of a list leads to. Without that, whoever
   may submit, or whoever runs a source, could look into the network that the hub stands in.
2. A login serves the publisher that it was given for: nobody else reads with it.
3. The secret is sealed under "source:PUBLISHER@HOST" and opened for the length of one reading; it is in no answer, no
   error, no log and no audit entry.
4. TLS always, except on loopback. A source's own authority, if it has one, is believed instead of the system's.
5. What goes wrong there is said as the source's: it is no refusal of ours, and no verdict about an image.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from customhouse import faults
from customhouse.accounts.people import Principal
from customhouse.address import bare
from customhouse.audit import Audit
from customhouse.errors import Conflict, Denied, Invalid, NotFound, Undetermined
from customhouse.remote import RemoteDenied, RemoteFailed, RemoteUnauthenticated, SentElsewhere, Unreachable
from customhouse.signing import SealBroken, Vault
from customhouse.sources.store import SourcesStore
from customhouse.transport import Credentials, Patience, Tls, Transport

PATIENCE = Patience(connect=10, read=30, total=60)
SECONDS = 120.0  # for all that one reading asks; whoever fetches content moves the end by its size
LONGEST_SECRET, LONGEST_CA = 4096, 64 * 1024


class SourceUnknown(Conflict):
    """Nobody registered this server for the publisher."""

    def __init__(self, where: str, publisher: str) -> None:
        url = where if "://" in where else f"https://{where}"
        super().__init__(
            f"{where} is no source of publisher {publisher}",
            hint=f"An administrator registers it: customhouse source add {url} --publisher {publisher}",
        )


class SourceFailed(Undetermined):
    """A source did not give what was asked for; whether it would is not known."""


@dataclass(frozen=True)
class Source:
    """A registered server, without its secret. `ca` is PEM, empty for the system's authorities."""

    publisher: str
    host: str
    url: str
    ca: str
    username: str
    added_by: str
    added: datetime


def check_login(ca: str, username: str, secret: str) -> None:
    """What an administrator says of another server: its authority in PEM, and a login or none. Raises Invalid."""
    if bool(username) != bool(secret):
        raise Invalid("a login is a user name with its secret: only one of them was given")
    if len(secret) > LONGEST_SECRET or len(ca) > LONGEST_CA or len(username) > 255 or ":" in username:
        raise Invalid("the login or the authority is longer than any that is taken, or the name has a colon")
    if ca:
        Tls(ca_pem=ca).context()


class SourcesService:
    """Registers sources, and opens them."""

    def __init__(
        self, store: SourcesStore, vault: Vault, audit: Audit, clock: Callable[[], datetime], *,
        publisher_exists: Callable[[str], bool], host: str, seconds: float = SECONDS,
    ) -> None:
        """`seconds` are what one reading may take, before whoever reads moves the end."""
        self._store, self._vault, self._audit, self._clock = store, vault, audit, clock
        self._publisher_exists, self._host, self._seconds = publisher_exists, host, seconds

    def add(
        self, principal: Principal, publisher: str, url: str, *, ca: str = "", username: str = "", secret: str = ""
    ) -> Source:
        """Register a server for a publisher, or replace what was registered for both."""
        _may_register(principal)
        if not self._publisher_exists(publisher):
            raise NotFound(f"there is no publisher {publisher}", hint=f"`customhouse publisher add {publisher}`")
        url, host = bare(url)
        if host == self._host:
            raise Invalid(f"{host} is this hub", hint=f"Push to {host}/staging/{publisher}/NAME instead.")
        check_login(ca, username, secret)
        now = self._clock()
        made = Source(publisher, host, url, ca, username, principal.owner, now)
        sealed = self._vault.seal(secret.encode(), _context(publisher, host)) if secret else None
        with self._store.write() as tx:
            self._store.put(tx, {**made.__dict__, "secret": sealed})
            faults.point("source.add.stored")
            detail = {"url": url, "username": username, "own_authority": bool(ca)}
            subject = f"{publisher}@{host}"
            self._audit.append(tx, actor=principal.owner, action="source.add", subject=subject, detail=detail, now=now)
        return made

    def remove(self, principal: Principal, publisher: str, host: str) -> None:
        """From now on the hub does not ask this server for the publisher any more."""
        _may_register(principal)
        with self._store.write() as tx:
            if not self._store.remove(tx, publisher, host.lower()):
                raise NotFound(f"{host} is no source of publisher {publisher}", hint="See `customhouse source list`.")
            faults.point("source.remove.gone")
            self._audit.append(
                tx, actor=principal.owner, action="source.remove", subject=f"{publisher}@{host}", now=self._clock()
            )

    def visible(self, principal: Principal) -> list[Source]:
        """All to certifiers and administrators, to others those of their publishers."""
        mine = frozenset(name for name in principal.publishers if principal.works_for(name, "pull"))
        with self._store.read() as tx:
            rows = self._store.all(tx, None if principal.certifies else mine)
        return [_source(row) for row in rows]

    @contextmanager
    def open(self, publisher: str, where: str) -> Iterator[Transport]:
        """A server by its host or its address, with the publisher's login. Raises SourceUnknown, SourceFailed."""
        with self._store.read() as tx:
            rows = self._store.all(tx, frozenset({publisher}))
        row = next((row for row in rows if where.lower() in (row["host"], row["url"])), None)
        if row is None:
            raise SourceUnknown(where, publisher)
        transport = Transport(
            row["url"], credentials=self._login(row), tls=Tls(ca_pem=row["ca"]), patience=PATIENCE,
            onward={each["url"]: Tls(ca_pem=each["ca"]) for each in rows}, deadline=time.monotonic() + self._seconds,
        )
        again = f"customhouse source add {row['url']} --publisher {publisher}"
        try:
            yield transport
        except SentElsewhere as error:
            raise SourceFailed(
                f"{row['host']} sends the hub on to {error.origin}, which is no source of publisher {publisher}",
                hint=f"If it belongs to it: customhouse source add {error.origin} --publisher {publisher}",
            ) from error
        except (RemoteUnauthenticated, RemoteDenied) as error:
            hint = f"An administrator gives the hub a login there: {again} --username NAME --password-stdin"
            raise SourceFailed(f"{row['host']} does not let the hub read this: {error.message}", hint=hint) from error
        except (Unreachable, RemoteFailed) as error:
            hint = "Try again later."
            for each in rows:
                if error.message.startswith(f"{each['host']} could not prove"):
                    add = f"customhouse source add {each['url']} --publisher {publisher} --authority FILE"
                    hint = f"An administrator gives its authority: {add}"
            raise SourceFailed(error.message, hint=hint) from error
        finally:
            transport.close()

    def _login(self, row: dict[str, Any]) -> Credentials:
        if row["secret"] is None:
            return Credentials()
        try:
            secret = self._vault.unseal(row["secret"], _context(row["publisher"], row["host"])).decode()
        except SealBroken as error:
            hint = "An administrator registers the source again, with its login."
            raise SourceFailed(f"the login for {row['host']} does not open any more", hint=hint) from error
        return Credentials(row["username"], secret)


def _may_register(principal: Principal) -> None:
    if not principal.administers:
        raise Denied(
            "only an administrator may register a source", hint="It lets the hub ask that server: ask one of this hub."
        )


def _context(publisher: str, host: str) -> str:
    return f"source:{publisher}@{host}"


def _source(row: dict[str, Any]) -> Source:
    return Source(**{name: value for name, value in row.items() if name != "secret"})
