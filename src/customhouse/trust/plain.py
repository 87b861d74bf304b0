"""Files of targets as publishers mostly have them, read at the speed of C: a repository may have 100,000 tags.

1. Taken here is only what gives the very same bytes when it is written again. A reader that lost, merged or turned
   anything into something else would write something else, so nothing in such a file can be read in two ways.
2. Taken are ASCII files without escapes and without custom parts. Whatever is not taken is read by metadata.py word
   for word, and that alone says what is wrong with it; both give equal values for what both take.
3. Digests stay in the text of the file's own base64 until somebody asks for them.
4. What was read last is remembered by its bytes, within a budget of bytes: of a publish into a large repository only
   what was sent is read, and a submission of each of its tags reads nothing.
"""

import base64
import re
from collections import OrderedDict
from threading import Lock
from typing import Annotated, Generic, Literal, TypeVar

import msgspec

from customhouse.trust.canonical import MAXIMUM_INTEGER

MOST_REMEMBERED = 48 * 1024 * 1024  # bytes of files; what was read from them takes four times as much
LEAST_REMEMBERED = 16 * 1024  # shorter ones are read as fast as found

T = TypeVar("T")

# The one form of base64 of 32 and of 64 bytes: what is left over of the last letter is zero.
_SHA256 = re.compile("(?:[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=\n)*")
_SHA512 = re.compile("(?:[A-Za-z0-9+/]{85}[AQgw]==\n)*")


class Hashes(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """Digests in base64."""

    sha256: str
    sha512: str = ""

    def raw(self) -> dict[str, bytes]:
        """Digests in bytes, by algorithm."""
        found = {"sha256": base64.b64decode(self.sha256)}
        return {**found, "sha512": base64.b64decode(self.sha512)} if self.sha512 else found


class Entry(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """What a target must be."""

    hashes: Hashes
    length: Annotated[int, msgspec.Meta(ge=0, le=MAXIMUM_INTEGER)]


class _Signed(msgspec.Struct, forbid_unknown_fields=True):
    kind: Literal["Targets"] = msgspec.field(name="_type")
    delegations: msgspec.Raw
    expires: str
    targets: dict[str, Entry]
    version: msgspec.Raw


class PlainFile(msgspec.Struct, forbid_unknown_fields=True):
    """A file of targets: what is not the list of targets is left as it stands there."""

    signed: _Signed
    signatures: msgspec.Raw


_DECODE = msgspec.json.Decoder(PlainFile)
_ENCODE = msgspec.json.Encoder(order="deterministic")  # the fields above in their order, names by their bytes


def read(raw: bytes) -> PlainFile | None:
    """The file, or None when it is not one that is taken here."""
    if not raw.isascii() or b"\\" in raw or b"\x7f" in raw:
        return None
    try:
        found = _DECODE.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        return None
    if _ENCODE.encode(found) != raw:
        return None
    entries = found.signed.targets.values()
    # Line by line: no text in such a file holds the end of a line.
    sha256 = "".join([f"{entry.hashes.sha256}\n" for entry in entries])
    sha512 = "".join([f"{entry.hashes.sha512}\n" for entry in entries if entry.hashes.sha512])
    return found if _SHA256.fullmatch(sha256) and _SHA512.fullmatch(sha512) else None


def payload(raw: bytes) -> bytes:
    """What was signed of a file that is taken here: without escapes, it stands in the file as it is."""
    return raw[len(b'{"signed":') : raw.rindex(b',"signatures":')]


class Recent(Generic[T]):
    """What was read from bytes, by role and bytes: the latest used."""

    def __init__(self, most: int = MOST_REMEMBERED, least: int = LEAST_REMEMBERED) -> None:
        self._most, self._least, self._held = most, least, 0
        self._known: OrderedDict[tuple[str, bytes], T] = OrderedDict()
        self._lock = Lock()

    def get(self, role: str, raw: bytes) -> T | None:
        """What was put."""
        if len(raw) < self._least:
            return None
        with self._lock:
            found = self._known.get((role, raw))
            if found is not None:
                self._known.move_to_end((role, raw))
            return found

    def put(self, role: str, raw: bytes, value: T) -> None:
        """Remember it, unless it is short."""
        if len(raw) < self._least:
            return
        with self._lock:
            if (role, raw) not in self._known:
                self._known[role, raw] = value
                self._held += len(raw)
            while self._held > self._most:
                (_, oldest), _ = self._known.popitem(last=False)
                self._held -= len(oldest)
