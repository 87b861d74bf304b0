"""One bucket of an object store that speaks S3, and how it fails.

1. Every request has a time limit and few repeats: a store that does not answer is an error within seconds, not minutes.
2. What the client library raises leaves here as errors of ours, without addresses or keys; FileNotFoundError and
   `Taken` are answers, not failures.
3. Reading is by ranges that grow while they are read on from: bounded memory, and no connection that waits for a slow
   reader.

S3 API reference: PutObject (If-None-Match), CopyObject, multipart upload, ListObjectsV2.
"""

import io
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import obstore
from obstore import exceptions as x
from obstore.store import S3Store

from customhouse.errors import Invalid, StorageFull, Unavailable

Buffer: TypeAlias = bytes | bytearray | memoryview
PART = 8 * 1024 * 1024  # S3 wants 5 MiB at least, and takes 10,000 parts
LARGEST_COPY = 5 * 1024**3
_AT_ONCE = 2  # parts of one upload on their way
_FIRST_WINDOW, _LARGEST_WINDOW = 256 * 1024, 8 * 1024 * 1024
_QUICK, _LONG = timedelta(seconds=20), timedelta(seconds=300)
_DELETIONS = 3
_BIG_COPY = 256 * 1024 * 1024
_log = logging.getLogger("customhouse.blobs")


class Taken(Exception):
    """There is an object of this name already."""


class StoreFails(Unavailable):
    """The object store did not answer, or answered with an error of its own."""

    def __init__(self) -> None:
        super().__init__("the object store does not answer as it should", hint="Try again; the hub's log tells more.")


@dataclass(frozen=True)
class Place:
    """Where a hub's blobs are: `s3://BUCKET/PREFIX`, at an endpoint, with what opens it. Empty means: as the client
    library finds it in the environment."""

    url: str
    endpoint: str = ""
    region: str = ""
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    path_style: bool = True
    ca_file: Path | None = None


@dataclass(frozen=True)
class Object:
    """One object of a listing; `changed` by the store's own clock."""

    key: str
    size: int
    changed: datetime
    tag: str


class Bucket:
    """The objects below one prefix. Raises StoreFails, StorageFull where nothing else is said."""

    def __init__(self, place: Place) -> None:
        parts = urlsplit(place.url)
        if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment:
            raise Invalid(f"blobs is {place.url[:200]!r}", hint="Write s3://BUCKET or s3://BUCKET/PREFIX.")
        self.name = parts.netloc
        self._prefix = parts.path.strip("/")
        self._store = _store(place, self.name, self._prefix, _QUICK, 2)
        self._patient = _store(place, self.name, self._prefix, _LONG, 0)

    def check(self) -> None:
        """Is it there, and may we read it? Raises Unavailable."""
        with _failures():
            try:
                obstore.list_with_delimiter(self._store)
            except FileNotFoundError:
                hint = "Make it first: the hub does not make buckets."
                raise Invalid(f"there is no bucket {self.name} at the object store", hint=hint) from None

    def put(self, key: str, content: Buffer) -> None:
        """Write a small object, durably, over whatever has its name."""
        with _failures():
            obstore.put(self._store, key, bytes(content), use_multipart=False)

    def put_new(self, key: str, content: bytes) -> None:
        """Raises Taken where there is one (If-None-Match: *)."""
        with _failures():
            obstore.put(self._store, key, content, mode="create", use_multipart=False)

    def size(self, key: str) -> int | None:
        """In bytes; None where there is no such object."""
        found = self.look(key)
        return found.size if found else None

    def look(self, key: str) -> Object | None:
        """What a listing would say."""
        with _failures():
            try:
                return _object(obstore.head(self._store, key))
            except FileNotFoundError:
                return None

    def list(self, prefix: str) -> Iterator[Object]:
        """All below a prefix, by name; a page at a time."""
        with _failures():
            for page in obstore.list(self._store, prefix):
                yield from map(_object, page)

    def delete(self, keys: Sequence[str]) -> None:
        """Those that are not there are no failure."""
        with _failures():
            for key in keys:  # bulk deletion is not spoken by every store
                self._delete(key)

    def _delete(self, key: str) -> None:
        for turn in range(_DELETIONS):
            try:
                obstore.delete(self._store, key)
                return
            except FileNotFoundError:
                return
            except x.GenericError as error:
                # An answer about one object, which the library does not repeat: two deleted it at once.
                if turn == _DELETIONS - 1 or "DeleteObjects request failed" not in str(error):
                    raise
                time.sleep(0.1)

    def copy(self, source: str, target: str, size: int) -> None:
        """In the store itself; `size` may be LARGEST_COPY at most."""
        with _failures():
            obstore.copy(self._patient if size > _BIG_COPY else self._store, source, target)

    def read(self, key: str, start: int, count: int) -> memoryview:
        """A range that lies within the object. Raises FileNotFoundError."""
        with _failures():
            return memoryview(obstore.get_range(self._store, key, start=start, length=count))

    def writer(self, key: str, size: int = 0) -> "Writer":
        """Write an object of any length, as it comes; `size` is what is known of its length."""
        with _failures():
            part = max(PART, -(-size // 9_000))
            return Writer(obstore.open_writer(self._store, key, buffer_size=part, max_concurrency=_AT_ONCE))

    def address(self, key: str, expires: timedelta) -> str:
        """A URL by which anybody may GET the object for a while; no request is made."""
        with _failures():
            return str(obstore.sign(self._store, "GET", key, expires))


class Writer:
    """An object that is not there before `finish`, and never after `abort`."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, data: Buffer) -> None:
        with _failures(absent=False):
            self._file.write(data)

    def finish(self) -> None:
        with _failures(absent=False):
            self._file.close()

    def abort(self) -> None:
        """Also what was sent so far; a store that does not answer keeps it until its own rules end it."""
        reason = x.GenericError("aborted")
        try:
            self._file.__exit__(type(reason), reason, None)
        except Exception as error:  # whatever it is, the first failure is the one to tell
            _log.warning("an unfinished upload stays in the object store: %s", type(error).__name__)


class Content(io.RawIOBase):
    """An object as a file to read and seek in; to be wrapped in a BufferedReader."""

    def __init__(self, bucket: Bucket, key: str, size: int) -> None:
        self._bucket, self._key, self._size = bucket, key, size
        self._at = 0
        self._window = memoryview(b"")
        self._start = 0
        self._next = _FIRST_WINDOW

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("before the start of the content")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        wanted = memoryview(buffer).cast("B")
        if self._at >= self._size or not len(wanted):
            return 0
        if not self._start <= self._at < self._start + len(self._window):
            self._load(len(wanted))
        within = self._at - self._start
        count = min(len(wanted), len(self._window) - within)
        wanted[:count] = self._window[within : within + count]
        self._at += count
        return count

    def close(self) -> None:
        self._window = memoryview(b"")
        super().close()

    def _load(self, wanted: int) -> None:
        followed = self._at == self._start + len(self._window)
        self._next = min(self._next * 2, _LARGEST_WINDOW) if followed else _FIRST_WINDOW
        count = min(max(self._next, min(wanted, _LARGEST_WINDOW)), self._size - self._at)
        self._window = memoryview(b"")  # not both at once
        try:
            self._window = self._bucket.read(self._key, self._at, count)
        except FileNotFoundError:
            raise OSError("the content was deleted while it was read") from None
        if len(self._window) != count:
            raise OSError("the content is shorter than it was")
        self._start = self._at


def _store(place: Place, bucket: str, prefix: str, limit: timedelta, repeats: int) -> S3Store:
    given = {
        "endpoint": place.endpoint, "region": place.region or ("us-east-1" if place.endpoint else ""),
        "access_key_id": place.access_key, "secret_access_key": place.secret_key,
        "session_token": place.session_token,
    }  # fmt: skip
    options: Any = {"timeout": limit, "connect_timeout": timedelta(seconds=3)}
    options["allow_http"] = place.endpoint.startswith("http://")
    if place.ca_file is not None:
        options["root_certificate"] = place.ca_file.read_bytes()
    settings: Any = {name: value for name, value in given.items() if value}
    # The length and the hash of what arrives are looked at by the hub; over TLS the wire is safe without a second hash.
    settings |= {"virtual_hosted_style_request": not place.path_style, "unsigned_payload": True}
    backoff: Any = {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=2), "base": 2}
    retry: Any = {"max_retries": repeats, "retry_timeout": limit, "backoff": backoff}
    try:
        return S3Store(bucket, prefix=prefix or None, client_options=options, retry_config=retry, config=settings)
    except (x.BaseError, ValueError) as error:
        _log.error("the object store cannot be used: %s", _said(error))
        hint = "The hub's log tells more."
        raise Invalid("the settings of the object store do not fit together", hint=hint) from None


def _object(meta: Any) -> Object:
    return Object(meta["path"], meta["size"], meta["last_modified"], meta["e_tag"] or "")


@contextmanager
def _failures(absent: bool = True) -> Iterator[None]:
    """Errors of the library become ours; `absent`: FileNotFoundError is an answer."""
    try:
        yield
    except x.AlreadyExistsError:
        raise Taken from None
    except (x.BaseError, OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError) and absent:
            raise
        text = str(error)
        if "QuotaExceeded" in text or "EntityTooLarge" in text or "XMinioStorageFull" in text:
            hint = "Give the hub's bucket more room."
            raise StorageFull("there is no room left in the object store", hint=hint) from None
        _log.warning("the object store: %s", _said(error))
        raise StoreFails from None


def _said(error: BaseException) -> str:
    """What the library says, on one line; its requests are signed in a header, so there is no secret in a URL."""
    return f"{type(error).__name__}: {' '.join(str(error).partition('Debug source')[0].split())[:300]}"
