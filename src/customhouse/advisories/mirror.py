"""A mirror of OSV's dumps: a folder, or an https URL; `<Ecosystem>/all.zip`, `<ID>.json`, `modified_id.csv`.

1. Every file has a budget of bytes; what is not there is None, and everything else that fails is an error.
2. A large file is fetched into a folder that is given; a fetch that broke is gone on with where it stopped, if the
   server answers ranges.
3. Names are checked by the caller's parsers; here nothing leads out of the mirror.
"""

import re
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urlsplit

from customhouse.advisories.feed import FeedTooLarge, FeedUnreadable
from customhouse.errors import Invalid, Unavailable
from customhouse.transport import Patience, Tls, Transport

ATTEMPTS = 4
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:+-]{0,199}")


class Mirror(Protocol):
    """Where updates come from."""

    name: str

    def read(self, path: str, most: int) -> bytes | None:
        """A file of the mirror, at most `most` bytes."""

    def fetch(self, path: str, folder: Path, most: int) -> Path | None:
        """A file of the mirror as a file here."""


def open_mirror(where: str, tls: Tls | None = None) -> Mirror:
    """By its name: a URL, or a folder. Raises Invalid."""
    if where.startswith(("https://", "http://")):
        return HttpMirror(where, tls)
    if not Path(where).is_dir():
        raise Invalid(f"{where} is neither a folder nor an https URL", hint="Name a mirror of OSV's dumps.")
    return FolderMirror(Path(where))


def inside(path: str) -> str:
    """The path, if it stays within the mirror. Raises Invalid."""
    if not all(_PART.fullmatch(part) for part in path.split("/")):
        raise Invalid(f"{path[:200]!r} is no path in a mirror")
    return path


class FolderMirror:
    """A folder in the layout of the dumps, as `gsutil rsync` or `wget` leave it."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.name = folder, str(folder)

    def read(self, path: str, most: int) -> bytes | None:
        file = self.fetch(path, self._folder, most)
        return file.read_bytes() if file else None

    def fetch(self, path: str, folder: Path, most: int) -> Path | None:
        file = self._folder / inside(path)
        if not file.is_file():
            return None
        if file.stat().st_size > most:
            raise FeedTooLarge(path, f"is larger than {most} bytes")
        return file


class HttpMirror:
    """The same over https (http on loopback only)."""

    def __init__(self, url: str, tls: Tls | None = None) -> None:
        parts = urlsplit(url)
        self._base = parts.path.rstrip("/")
        self._transport = Transport(
            f"{parts.scheme}://{parts.netloc}", tls=tls, patience=Patience(read=60, total=3600)
        )
        self.name = url

    def read(self, path: str, most: int) -> bytes | None:
        answer = self._transport.request("GET", self._url(path), expect=(200, 404), budget=most)
        return answer.body if answer.status == 200 else None

    def fetch(self, path: str, folder: Path, most: int) -> Path | None:
        file = folder / path.replace("/", "-")
        file.unlink(missing_ok=True)
        version = ""
        for attempt in range(1, ATTEMPTS + 1):
            have = file.stat().st_size if file.exists() else 0
            headers = {"range": f"bytes={have}-", "if-range": version} if have and version else {}
            try:
                with self._transport.open("GET", self._url(path), headers=headers, expect=(200, 206, 404)) as stream:
                    if stream.status == 404:
                        return None
                    version = stream.headers.get("etag", "")
                    resumed = stream.status == 206 and stream.headers.get("content-range", "").startswith(
                        f"bytes {have}-"
                    )
                    size = have if resumed else 0
                    with file.open("ab" if resumed else "wb") as out:
                        for piece in stream.pieces():
                            size += len(piece)
                            if size > most:
                                raise FeedTooLarge(path, f"is larger than {most} bytes")
                            out.write(piece)
                return file
            except Unavailable:
                if attempt == ATTEMPTS:
                    raise
        raise FeedUnreadable(path, "could not be fetched")

    def _url(self, path: str) -> str:
        return f"{self._base}/{quote(inside(path))}"
