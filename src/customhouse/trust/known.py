"""What this machine has seen of repositories: which of them a key signs in, and which root keys were given up.

`<trust directory>/tuf/<GUN>/metadata/` holds the root that was trusted last, and the targets that were read last. Files
that cannot be read are passed over: they are a cache, and nothing is decided by them that a server decides.
"""

from collections.abc import Iterator
from pathlib import Path

from customhouse.errors import Invalid
from customhouse.trust.metadata import Root, parse_root, parse_targets
from customhouse.trust.names import ROOT, TARGETS, Gun

LARGEST = 4 * 1024 * 1024


def known_uses(directory: Path) -> dict[str, list[dict[str, str]]]:
    """Canonical key id -> repository and role, for every role but those of servers."""
    found: dict[str, list[dict[str, str]]] = {}
    for gun, role, key_id in _uses(directory):
        use = {"repository": str(gun), "role": role}
        if use not in found.setdefault(key_id, []):
            found[key_id].append(use)
    return found


def repositories_of_root(directory: Path, canonical_id: str) -> list[Gun]:
    """Repositories whose root, as last seen here, is signed by this key."""
    return [gun for gun, role, key_id in _uses(directory) if role == ROOT and key_id == canonical_id]


def former_roots(directory: Path) -> set[str]:
    """Canonical ids of root keys that some repository was rotated away from: their certificates are listed, unused."""
    return {
        key.canonical_id
        for _, _, root in _roots(directory)
        for key_id, key in root.keys.items()
        if key.certificates and key_id not in root.roles[ROOT].key_ids
    }


def _roots(directory: Path) -> Iterator[tuple[Gun, Path, Root]]:
    folder = directory / "tuf"
    for path in sorted(folder.rglob("metadata/root.json")):
        try:
            gun = Gun.parse(path.parent.parent.relative_to(folder).as_posix())
            if path.stat().st_size <= LARGEST:
                yield gun, path, parse_root(path.read_bytes()).body
        except (Invalid, OSError):
            continue


def _uses(directory: Path) -> Iterator[tuple[Gun, str, str]]:
    for gun, path, root in _roots(directory):
        for role in (ROOT, TARGETS):
            for key_id in root.roles[role].key_ids:
                yield gun, role, root.keys[key_id].canonical_id
        try:
            cached = path.with_name("targets.json")
            targets = parse_targets(cached.read_bytes(), TARGETS).body if cached.stat().st_size <= LARGEST else None
        except (Invalid, OSError):
            continue
        for entry in targets.delegations if targets else ():
            for key_id in entry.keys.key_ids:
                yield gun, entry.name, targets.keys[key_id].canonical_id if targets else ""
