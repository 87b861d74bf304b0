"""The merged view of an image's layers: what a process in the container would see.

1. Whiteouts hide names of lower layers only, wherever they stand in their own tar; an opaque folder hides all lower
   children. An entry over a non-folder replaces it, a folder over a folder keeps the children and takes the attributes.
2. Symbolic links are followed inside the image alone: `..` stops at the root, forty links are the most, a cycle is
   an absent name.
3. A folder that no tar names is a folder of mode 0755 owned by root.
(OCI image-spec layer.md §Whiteouts, §Applying Changesets.)
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from msgspec.structs import replace

from customhouse.oci.entry import FileEntry
from customhouse.oci.layer import LayerScan
from customhouse.oci.wants import path_pattern

MOST_LINKS = 40


class Overlay:
    """Layers applied one after the other, lowest first."""

    def __init__(self) -> None:
        self.entries: dict[str, FileEntry] = {"": FileEntry("", "dir", mode=0o755)}
        self.children: dict[str, set[str]] = {"": set()}
        # Names below a lower layer's link which the layer itself does not name: engines disagree on where they land.
        self.ambiguous: list[tuple[int, str, str]] = []

    def apply(self, scan: LayerScan) -> None:
        """Put one layer on top."""
        for path in scan.opaque:
            for name in tuple(self.children.get(path, ())):
                self._remove(f"{path}/{name}" if path else name)
        for path in scan.whiteouts:
            self._remove(path)
        own = {entry.path: entry for entry in scan.entries}
        linked: dict[str, FileEntry] = {}
        entries, children = self.entries, self.children
        for entry in scan.entries:
            path, kind = entry.path, entry.kind
            if kind == "hardlink":
                entry = linked[path] = _hard_link(entry, own, linked)
                kind = entry.kind
            parent, _, name = path.rpartition("/")
            siblings = children.get(parent)
            if not path or siblings is None or (kind != "dir" and path in children):
                self._put(entry, own)
                continue
            if kind == "dir" and path not in children:
                children[path] = set()
            entries[path] = entry
            siblings.add(name)

    def size_below(self, path: str) -> int:
        """Bytes of a file, or of all files in and below a folder; 0 if there is no such name."""
        total, waiting = 0, [path]
        while waiting:
            current = waiting.pop()
            entry = self.entries.get(current)
            total += entry.size if entry is not None and entry.kind == "file" else 0
            waiting.extend(f"{current}/{name}" if current else name for name in self.children.get(current, ()))
        return total

    def _put(self, entry: FileEntry, own: Mapping[str, FileEntry]) -> None:
        path = entry.path
        if not path:
            if entry.kind == "dir":
                self.entries[""] = entry
            return
        self._parents(entry, own)
        if entry.kind == "dir":
            self.children.setdefault(path, set())
        elif path in self.children:
            self._remove(path)
        self.entries[path] = entry
        parent, _, name = path.rpartition("/")
        self.children[parent].add(name)

    def _parents(self, entry: FileEntry, own: Mapping[str, FileEntry]) -> None:
        parent = entry.path.rpartition("/")[0]
        if parent in self.children:
            return
        parts = parent.split("/")
        above = ""
        for part in parts:
            here = f"{above}/{part}" if above else part
            if here not in self.children:
                standing = self.entries.get(here)
                if standing is not None and standing.layer != entry.layer and here not in own:
                    self.ambiguous.append((entry.layer, entry.path, here))
                self.entries[here] = FileEntry(here, "dir", mode=0o755, layer=entry.layer)
                self.children[here] = set()
                self.children[above].add(part)
            above = here

    def _remove(self, path: str) -> None:
        if not path or path not in self.entries:
            return
        waiting = [path]
        while waiting:
            current = waiting.pop()
            self.entries.pop(current, None)
            waiting.extend(f"{current}/{name}" for name in self.children.pop(current, ()))
        parent, _, name = path.rpartition("/")
        self.children[parent].discard(name)


def _hard_link(entry: FileEntry, own: Mapping[str, FileEntry], linked: Mapping[str, FileEntry]) -> FileEntry:
    target_path = "/".join(part for part in entry.link.split("/") if part not in ("", "."))
    target = linked.get(target_path) or own.get(target_path)
    if target is None or target.kind == "dir":
        return entry
    if target.kind == "symlink":
        return replace(target, path=entry.path)
    return replace(
        entry,
        size=target.size,
        mode=target.mode | entry.mode & 0o6000,
        uid=target.uid,
        gid=target.gid,
        xattrs=target.xattrs,
        head=target.head,
        link=target.link if target.kind == "hardlink" else target_path,
    )


class Filesystem:
    """Paths may be written with or without a leading slash; entries carry them without."""

    def __init__(self, overlay: Overlay, contents: Sequence[Mapping[str, bytes]] = ()) -> None:
        self._entries = overlay.entries
        self._children = overlay.children
        self._contents = tuple(contents)
        self.ambiguous = tuple(overlay.ambiguous)
        self._ordered: tuple[FileEntry, ...] | None = None
        self._linked: dict[tuple[int, str], list[FileEntry]] | None = None

    @classmethod
    def merged(cls, layers: Sequence[LayerScan]) -> "Filesystem":
        """The view over these layers, lowest first; each entry's `layer` must be the layer's position here."""
        overlay = Overlay()
        for scan in layers:
            overlay.apply(scan)
        return cls(overlay, [scan.contents for scan in layers])

    def resolve(self, path: str) -> str | None:
        """The path that `path` names when all links are followed, the last too; None if there is no such name."""
        plain = path.strip("/")
        standing = self._entries.get(plain)
        if standing is not None and standing.kind != "symlink":  # nothing stands below what is no folder
            return plain
        waiting = [part for part in reversed(path.split("/")) if part not in ("", ".")]
        here: list[str] = []
        links = 0
        while waiting:
            part = waiting.pop()
            if part == "..":
                if here:
                    here.pop()
                continue
            current = "/".join((*here, part))
            entry = self._entries.get(current)
            if entry is None:
                return None
            if entry.kind == "symlink":
                links += 1
                if links > MOST_LINKS:
                    return None
                if entry.link.startswith("/"):
                    here = []
                waiting.extend(step for step in reversed(entry.link.split("/")) if step not in ("", "."))
                continue
            if waiting and entry.kind != "dir":
                return None
            here.append(part)
        return "/".join(here)

    def entry(self, path: str, *, follow: bool = True) -> FileEntry | None:
        """What stands at `path`; with `follow=False` a link at the very end is answered itself."""
        if not follow:
            parent, _, name = path.rstrip("/").rpartition("/")
            folder = self.resolve(parent)
            return None if folder is None else self._entries.get(f"{folder}/{name}" if folder else name)
        resolved = self.resolve(path)
        return None if resolved is None else self._entries[resolved]

    def exists(self, path: str) -> bool:
        return self.resolve(path) is not None

    def executable(self, path: str) -> bool:
        """Is there, links followed, a regular file with an execute bit?"""
        entry = self.entry(path)
        return entry is not None and entry.executable

    def read(self, path: str) -> bytes | None:
        """The bytes of a regular file, links followed, if they were wanted and kept; else None."""
        entry = self.entry(path)
        if entry is None or entry.kind not in ("file", "hardlink") or entry.layer >= len(self._contents):
            return None
        kept = self._contents[entry.layer]
        found = kept.get(entry.path)
        return kept.get(entry.link) if found is None and entry.kind == "hardlink" else found

    def stored_at(self, path: str) -> tuple[int, str] | None:
        """Layer position and path in its tar of the bytes behind `path`, or None if it is no regular file."""
        entry = self.entry(path)
        if entry is None or entry.kind not in ("file", "hardlink"):
            return None
        return entry.layer, entry.link if entry.kind == "hardlink" else entry.path

    def names(self, layer: int, path: str) -> Iterator[FileEntry]:
        """Every name of the bytes that stand at `path` in the tar of a layer: it, and hard links to it."""
        entry = self._entries.get(path)
        if entry is not None and entry.layer == layer and entry.kind == "file":
            yield entry
        if self._linked is None:
            self._linked = {}
            for one in self._entries.values():
                if one.kind == "hardlink":
                    self._linked.setdefault((one.layer, one.link), []).append(one)
        yield from self._linked.get((layer, path), ())

    def children(self, path: str) -> tuple[str, ...]:
        """The names in a folder, sorted."""
        resolved = self.resolve(path)
        return () if resolved is None else tuple(sorted(self._children.get(resolved, ())))

    def glob(self, pattern: str) -> Iterator[FileEntry]:
        """Entries whose own path fits a pattern of `Wants`, by path; links are not followed."""
        compiled = re.compile(path_pattern(pattern.lstrip("/")))
        fixed = re.split(r"[*?]", pattern.lstrip("/"), maxsplit=1)[0].rpartition("/")[0]
        return (entry for entry in self.walk(fixed) if compiled.fullmatch(entry.path))

    def walk(self, below: str = "") -> Iterator[FileEntry]:
        """Every entry in and below a folder, the folder itself excepted, by path."""
        if below:
            return self._walk(below)
        if self._ordered is None:  # a dozen checks go over the whole tree, each sorting it anew
            # Part by part: what is below a folder comes before its neighbours. No path holds a NUL.
            paths = sorted(self._entries, key=lambda path: path.replace("/", "\0"))
            self._ordered = tuple(self._entries[path] for path in paths if path)
        return iter(self._ordered)

    def _walk(self, below: str) -> Iterator[FileEntry]:
        waiting = [below]
        while waiting:
            current = waiting.pop()
            entry = self._entries.get(current)
            if entry is not None and current != below:
                yield entry
            names = self._children.get(current, ())
            waiting.extend(f"{current}/{name}" if current else name for name in sorted(names, reverse=True))
