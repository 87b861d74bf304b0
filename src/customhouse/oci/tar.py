"""The walk over a layer's tar: what Go's archive/tar (docker, containerd) would unpack, and every trick on the way.

1. Where readers differ, the reading is Go's and the difference itself is a violation: no two tools may see two images.
2. A block that is no header is damage and ends the walk; a name, type or link that must not be is a violation and the
   walk goes on, without that entry where unpacking it would leave the root.
3. Every entry costs a budget: count, name length, extension bytes, kept contents.
(POSIX pax and ustar; GNU long names and sparse; OCI image-spec layer.md for whiteouts and duplicates.)
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TypeAlias

from msgspec.structs import replace

from customhouse.oci.compression import Damaged, Decompressed
from customhouse.oci.entry import ELF_HEAD_BYTES, HEAD_BYTES, FileEntry, Kind, Violation
from customhouse.oci.reader import Learnt, forget, learn
from customhouse.oci.tarheader import checksum_holds, decimal, number, pax_records, seconds, shown, stored_name, xattrs
from customhouse.oci.wants import Budget, Wants

BLOCK = 512
LARGE = 24 * 1024 * 1024
Turn: TypeAlias = Callable[[], AbstractContextManager[object]]
_ZEROS = bytes(BLOCK)
_KINDS: Mapping[int, Kind] = {
    0: "file",
    ord("0"): "file",
    ord("7"): "file",
    ord("S"): "file",
    ord("1"): "hardlink",
    ord("2"): "symlink",
    ord("3"): "char",
    ord("4"): "block",
    ord("5"): "dir",
    ord("6"): "fifo",
}
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"


class TarWalk:
    """One pass. `run` fills the lists; `stopped` is true when a budget ended it before the end of the tar."""

    def __init__(
        self, source: Decompressed, wants: Wants, budget: Budget, layer: int, turn: Turn = nullcontext
    ) -> None:
        self._source, self._wants, self._budget, self._layer, self._turn = source, wants, budget, layer, turn
        self.entries: list[FileEntry] = []
        self.whiteouts: list[str] = []
        self.opaque: list[str] = []
        self.contents: dict[str, bytes] = {}
        self.unread: set[str] = set()
        self.facts = {reader.name: Learnt() for reader in wants.readers}
        self.violations: list[Violation] = []
        self.stopped = False
        self._seen: dict[str, Kind] = {}
        self._folders: set[str] = {""}
        self._headers = 0
        self._names_left = budget.names
        self._extensions: dict[str, bytes] = {}
        self._contents_left, self._heads_left, self._facts_left = budget.contents, budget.heads, budget.facts

    def run(self) -> None:
        """Walk to the end of the tar. Raises Damaged and, from the stream, Overrun."""
        while not self.stopped:
            header = self._source.take(BLOCK)
            if not header:
                break
            if len(header) < BLOCK:
                raise Damaged("the tar is cut off within a header")
            if header == _ZEROS:
                self._end()
                break
            self._headers += 1
            if self._headers > self._budget.entries:
                self.stop("entries", "", str(self._headers), f"has more than {self._budget.entries} entries")
                break
            self._member(header)
        self._through_links()

    def stop(self, kind: str, path: str, value: str, message: str) -> None:
        """A violation after which nothing more can be known of this layer."""
        self.stopped = True
        self.violations.append(Violation(kind, path, message, value))

    def _violate(self, kind: str, path: str, value: str, message: str) -> None:
        if len(self.violations) < self._budget.violations:
            self.violations.append(Violation(kind, path[:1024], message, value[:1024]))

    def _end(self) -> None:
        second = self._source.take(BLOCK)
        if second and second != _ZEROS[: len(second)]:
            raise Damaged("the tar goes on after half of its end marker")
        if not self._source.only_zeros_follow():
            self._violate("trailing", "", "", "bytes follow the end of the tar, where some tools read on")

    def _member(self, header: bytes) -> None:
        if not checksum_holds(header):
            raise Damaged(f"header {self._headers} of the tar has a wrong checksum")
        flag, size = header[156], number(header[124:136])
        if size < 0:
            raise Damaged(f"header {self._headers} of the tar has a negative size")
        if flag in b"xgLK":
            self._extension(flag, size)
            return
        extensions, self._extensions = self._extensions, {}
        self._entry(header, flag, size, extensions)

    def _extension(self, flag: int, size: int) -> None:
        if size > self._budget.extension:
            self.stop("extension", "", str(size), f"has an extension header of {size} bytes")
            return
        body = self._exactly(size)
        self._skip(-size % BLOCK)
        if flag == ord("g"):
            # docker ignores global headers, GNU tar applies them.
            if {"path", "linkpath", "size"} & pax_records(body).keys():
                self._violate("extension", "", "g", "a global pax header renames or resizes what follows it")
            return
        found = pax_records(body) if flag == ord("x") else {}
        if flag in b"LK":
            found = {"path" if flag == ord("L") else "linkpath": body.split(b"\0", 1)[0]}
        if found.keys() & self._extensions.keys():
            self._violate("extension", "", chr(flag), "two extension headers give one entry two names or sizes")
        self._extensions.update(found)

    def _entry(self, header: bytes, flag: int, size: int, pax: dict[str, bytes]) -> None:
        raw = pax.get("path") or stored_name(header)
        kind = _KINDS.get(flag)
        if kind == "file" and raw.endswith(b"/"):
            kind = "dir"
        sparse = self._sparse(header, flag, pax)
        if "size" in pax:
            size = decimal(pax["size"], "size")
        if kind not in ("file", None) and size:
            # Go takes such an entry for a header alone and reads its bytes as further headers.
            self._violate("size", shown(raw), str(size), f"{shown(raw)!r} is no regular file and has content")
            size = 0
        stored = size
        raw = pax.get("GNU.sparse.name", raw) if sparse is not None else raw
        path = self._path(raw)
        if path is None or kind is None:
            if kind is None:
                self._violate("type", shown(raw), chr(flag), f"{shown(raw)!r} is of the unknown tar type {chr(flag)!r}")
            self._skip(stored + -stored % BLOCK)
            return
        if self._whiteout(path, kind, stored):
            self._skip(stored + -stored % BLOCK)
            return
        if not self._link_and_type(path, kind, raw_link := pax.get("linkpath", header[157:257].split(b"\0", 1)[0])):
            self._skip(stored + -stored % BLOCK)
            return
        entry = FileEntry(
            path=path,
            kind=kind,
            size=stored if sparse is None else sparse,
            mode=number(header[100:108]) & 0o7777,
            uid=decimal(pax["uid"], "uid") if "uid" in pax else number(header[108:116]),
            gid=decimal(pax["gid"], "gid") if "gid" in pax else number(header[116:124]),
            link=shown(raw_link) if kind in ("symlink", "hardlink") else "",
            layer=self._layer,
            mtime=number(header[136:148]) if "mtime" not in pax else seconds(pax["mtime"]),
            xattrs=xattrs(pax),
        )
        head = self._content(entry, stored, sparse is not None)
        self._remember(replace(entry, head=head) if head else entry)

    def _remember(self, entry: FileEntry) -> None:
        before = self._seen.get(entry.path)
        if before is not None and (before, entry.kind) != ("dir", "dir"):
            self._violate("duplicate", entry.path, before, f"{entry.path!r} is in the layer twice")
        self._seen[entry.path] = entry.kind
        self.entries.append(entry)
        self._names_left -= len(entry.path) + len(entry.link)
        self._heads_left -= sum(len(value) for value in entry.xattrs.values())
        folder = entry.path.rpartition("/")[0]
        while folder not in self._folders:
            # Folders that only occur in longer names cost what folders with an entry of their own cost.
            self._folders.add(folder)
            self._headers += 1
            self._names_left -= len(folder)
            folder = folder.rpartition("/")[0]
        if self._names_left < 0:
            self.stop("names", entry.path, "", f"has more than {self._budget.names} bytes of names")
        elif self._heads_left < 0:
            self.stop("extension", entry.path, "", "has more extended attributes than are kept")

    def _content(self, entry: FileEntry, stored: int, sparse: bool) -> bytes:
        """Pass over the bytes of an entry: keep them if wanted, show them to readers, and answer their head."""
        path, head, left = entry.path, b"", stored
        if entry.kind == "file":
            for learnt in self.facts.values():
                forget(path, learnt)
        if entry.kind == "file" and stored and not sparse:
            head = self._exactly(min(stored, HEAD_BYTES))
            if head.startswith(b"\x7fELF") and stored > HEAD_BYTES:
                head += self._exactly(min(stored, ELF_HEAD_BYTES) - HEAD_BYTES)
            left -= len(head)
        if entry.kind == "file" and self._read(replace(entry, head=head), left, sparse):
            left = 0
        self._skip(left + -stored % BLOCK)
        if not (entry.mode & 0o111 or head.startswith((b"\x7fELF", b"#!"))) or len(head) > self._heads_left:
            return b""
        self._heads_left -= len(head)
        return head

    def _read(self, file: FileEntry, left: int, sparse: bool) -> bool:
        """Read the rest of a file if anybody wants its content; answers whether it was read."""
        path, stored = file.path, len(file.head) + left
        kept = path in self._wants
        if kept:
            self.contents.pop(path, None)
            self.unread.discard(path)
            if sparse or stored > min(self._budget.file, self._contents_left):
                self.unread.add(path)
                kept = False
        readers = []
        for reader in self._wants.readers:
            if reader.wants(file):
                if sparse or stored > reader.limit:
                    self.facts[reader.name].unread[path] = f"is too large to be read ({file.size} bytes)"
                else:
                    readers.append(reader)
        if not kept and not readers:
            return False
        with self._turn() if stored > LARGE else nullcontext():
            body = self._source.body(file.head, left)
            if len(body) < stored:
                raise Damaged("the tar is cut off within a file")
            if kept:
                self._contents_left -= stored
                self.contents[path] = body
            for reader in readers:
                self._facts_left -= learn(reader, path, body, self.facts[reader.name], self._facts_left)
        return True

    def _path(self, raw: bytes) -> str | None:
        """The path without leading slash, or None if the entry must not be looked at further."""
        text = shown(raw)
        if b"\0" in raw:
            self._violate("name", text.replace("\0", "\\0"), "", "a name holds a NUL, where some tools cut it")
            return None
        if len(raw) > self._budget.name:
            self._violate("name", text, str(len(raw)), f"a name has {len(raw)} bytes")
            return None
        parts = [part for part in text.split("/") if part not in ("", ".")]
        if raw.startswith(b"/"):
            self._violate("absolute", text, text, f"{text!r} is an absolute path")
        if ".." in parts:
            self._violate("escape", text, text, f"{text!r} leaves its folder by '..'")
            return None
        if len(parts) > self._budget.depth:
            self._violate("name", text, str(len(parts)), f"a name lies in more than {self._budget.depth} folders")
            return None
        if any(len(part) > 255 for part in parts):
            self._violate("name", text, "", f"a part of {text[:80]!r}… is longer than any filesystem takes")
            return None
        return "/".join(parts)

    def _whiteout(self, path: str, kind: Kind, size: int) -> bool:
        if _WHITEOUT not in path:
            return False
        parent, _, name = path.rpartition("/")
        if any(part.startswith(_WHITEOUT) for part in parent.split("/")):
            self._violate("whiteout", path, parent, f"{path!r} lies in a folder named like a whiteout")
            return True
        if not name.startswith(_WHITEOUT):
            return False
        hidden = name.removeprefix(_WHITEOUT)
        self._names_left -= len(path)
        if kind not in ("file", "hardlink") or size:
            self._violate("whiteout", path, kind, f"the whiteout {path!r} is no empty file")
        if name == _OPAQUE:
            self.opaque.append(parent)
        elif hidden in ("", ".", "..") or hidden.startswith(_WHITEOUT):
            self._violate("whiteout", path, hidden, f"{path!r} is no whiteout of a name")
        else:
            self.whiteouts.append(f"{parent}/{hidden}" if parent else hidden)
        return True

    def _link_and_type(self, path: str, kind: Kind, raw_link: bytes) -> bool:
        """Judge devices and link targets. False: the entry cannot be part of any filesystem."""
        link = shown(raw_link)
        if kind in ("char", "block"):
            self._violate("device", path, kind, f"{path!r} is a device")
        elif kind == "symlink":
            if not raw_link or b"\0" in raw_link or len(raw_link) > self._budget.name:
                self._violate("link", path, link, f"the symbolic link {path!r} has no usable target")
                return False
            if not raw_link.startswith(b"/") and _climbs(path.split("/")[:-1], link):
                self._violate("escape", path, link, f"the symbolic link {path!r} points out of the image")
        elif kind == "hardlink":
            return self._hard_link(path, raw_link, link)
        return True

    def _hard_link(self, path: str, raw_link: bytes, link: str) -> bool:
        parts = [part for part in link.split("/") if part not in ("", ".")]
        if ".." in parts:
            self._violate("escape", path, link, f"the hard link {path!r} points at {link!r}, out of its folder")
            return False
        if raw_link.startswith(b"/"):
            self._violate("absolute", path, link, f"the hard link {path!r} has an absolute target")
        target = self._seen.get("/".join(parts))
        if target is None or target == "dir":
            what = "is not in the layer before it" if target is None else "is a folder"
            self._violate("hardlink", path, link, f"the hard link {path!r} points at {link!r}, which {what}")
            return False
        return True

    def _sparse(self, header: bytes, flag: int, pax: dict[str, bytes]) -> int | None:
        """The full size of a sparse file, or None. Its map is passed over."""
        if flag == ord("S"):
            size = number(header[483:495])
            more = header[482]
            while more:
                self._headers += 1
                if self._headers > self._budget.entries:
                    raise Damaged("the map of a sparse file does not end")
                more = self._exactly(BLOCK)[504]
        elif any(key.startswith("GNU.sparse.") for key in pax):
            size = decimal(pax.get("GNU.sparse.realsize") or pax.get("GNU.sparse.size") or b"0", "GNU.sparse.size")
        else:
            return None
        path = shown(stored_name(header))
        self._violate("sparse", path, str(size), f"{path!r} is stored sparse, which tools unpack differently")
        return max(size, 0)

    def _through_links(self) -> None:
        """Entries below a name that is no folder in this same layer are written through a link, or not at all."""
        for folder in self._folders:
            kind = self._seen.get(folder, "dir")
            if kind != "dir":
                self._violate("through", folder, kind, f"entries lie below {folder!r}, which is a {kind}")

    def _exactly(self, count: int) -> bytes:
        found = self._source.take(count)
        if len(found) < count:
            raise Damaged("the tar is cut off within a file")
        return found

    def _skip(self, count: int) -> None:
        if self._source.skip(count):
            raise Damaged("the tar is cut off within a file")


def _climbs(folder: list[str], link: str) -> bool:
    depth = len(folder)
    for part in link.split("/"):
        if part == "..":
            depth -= 1
            if depth < 0:
                return True
        elif part not in ("", "."):
            depth += 1
    return False
