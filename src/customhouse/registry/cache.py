"""Manifest bytes in memory. What a digest means never changes, so no entry is ever wrong."""

from collections import OrderedDict
from threading import Lock

from customhouse.oci.digest import Digest


class RawCache:
    """Manifest bytes by digest: the latest used, within a budget of bytes."""

    def __init__(self, most_bytes: int) -> None:
        self._most, self._held = most_bytes, 0
        self._raw: OrderedDict[Digest, bytes] = OrderedDict()
        self._lock = Lock()

    def get(self, digest: Digest) -> bytes | None:
        with self._lock:
            raw = self._raw.get(digest)
            if raw is not None:
                self._raw.move_to_end(digest)
            return raw

    def put(self, digest: Digest, raw: bytes) -> None:
        with self._lock:
            if digest not in self._raw:
                self._raw[digest] = raw
                self._held += len(raw)
                while self._held > self._most:
                    self._held -= len(self._raw.popitem(last=False)[1])
