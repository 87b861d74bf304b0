"""Scans kept by the digest of their layer and all that has a say in them, so that a shared base is read once for ever.

1. The key is the layer's digest with the version of the pass, the patterns, the readers with their versions, and the
   budgets: whoever asks for anything else has another key.
2. Only what will be the same again is kept: whole, undamaged, the bytes their digest promises.
3. A file is written beside its name and renamed, and carries its own digest: what is torn or altered is a miss.
   Several processes and hosts may share the folder; nothing is locked.
4. The oldest by use go when the files are larger than `limit` together.
5. Whoever may write to the folder decides what is found: it is the hub's own, mode 0700.
"""

import contextlib
import hashlib
import os
import secrets
from dataclasses import replace
from pathlib import Path

from customhouse.oci.layer import PASS_VERSION, LayerScan
from customhouse.oci.manifest import Descriptor
from customhouse.oci.wants import Budget, Wants
from customhouse.scanning.wire import FORMAT, LARGEST, Torn, pack, unpack

SUFFIX = ".scan"
_SPARE = 0.9  # of the limit is left after a clearing, so that not every scan clears


class ScanCache:
    """A folder of scans, at most `limit` bytes. Trouble with the folder is a miss, never an error."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder, self._limit = folder, limit
        self._written = limit  # the first scan that is kept looks at what others left

    def find(self, descriptor: Descriptor, wants: Wants, budget: Budget, layer: int) -> LayerScan | None:
        """The scan of this layer, if it is kept."""
        file = self._file(descriptor, wants, budget)
        try:
            with file.open("rb") as stream:
                raw = stream.read(LARGEST + 1)
            found = unpack(raw, descriptor, layer)
            if found.computed != descriptor.digest or found.compressed_size != descriptor.size:
                raise Torn("a scan of another layer")
            os.utime(file)
        except Torn:
            with contextlib.suppress(OSError):
                file.unlink()
            return None
        except OSError:
            return None
        return found

    def keep(self, scan: LayerScan, wants: Wants, budget: Budget, packed: bytes | None = None) -> None:
        """Keep a scan, if it is one to keep. `packed` is its form on the wire, if that is at hand."""
        if not _lasting(scan):
            return
        file = self._file(scan.descriptor, wants, budget)
        partial = file.with_suffix(f".{secrets.token_hex(8)}")
        raw = pack(scan) if packed is None else packed
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            file.parent.mkdir(mode=0o700, exist_ok=True)
            partial.write_bytes(raw)
            partial.replace(file)
        except OSError:
            with contextlib.suppress(OSError):
                partial.unlink()
            return
        self._written += len(raw)
        if self._written > self._limit * (1 - _SPARE):
            self._written = 0
            self._clear()

    def _file(self, descriptor: Descriptor, wants: Wants, budget: Budget) -> Path:
        hasher = hashlib.sha256(FORMAT)
        # What an image leaves of these two decides only whether the scan is complete, and incomplete ones are not kept.
        same = replace(budget, unpacked=0, entries=0)
        readers = sorted((reader.name, reader.version, reader.limit) for reader in wants.readers)
        for part in (str(descriptor.digest), PASS_VERSION, sorted(wants.patterns), readers, same):
            hasher.update(f"{part!r}\n".encode())
        name = hasher.hexdigest()
        return self._folder / name[:2] / (name + SUFFIX)

    def _clear(self) -> None:
        found: list[tuple[float, int, str]] = []
        with contextlib.suppress(OSError), os.scandir(self._folder) as folders:
            for folder in folders:
                with contextlib.suppress(OSError), os.scandir(folder.path) as files:
                    for file in files:
                        with contextlib.suppress(OSError):  # another host was faster
                            status = file.stat()
                            found.append((status.st_mtime, status.st_size, file.path))
        held = sum(size for _, size, _ in found)
        if held <= self._limit:
            return
        for _, size, path in sorted(found):
            if held <= self._limit * _SPARE:
                break
            with contextlib.suppress(OSError):
                Path(path).unlink()
                held -= size


def _lasting(scan: LayerScan) -> bool:
    if not scan.complete or scan.damage or scan.computed != scan.digest:
        return False
    if scan.compressed_size != scan.descriptor.size:
        return False
    # Memory may be there the next time.
    return not any("MemoryError" in why for learnt in scan.facts.values() for why in learnt.unread.values())
