"""Which repositories a key signs in, as far as this machine has seen: what docker, notary and we keep of each.

`<trust directory>/tuf/<GUN>/metadata/` holds the root that was trusted last, and the targets that were read last. Files
that cannot be read are passed over: they are a cache, and nothing is decided by them.
"""

from collections.abc import Iterator

from customhouse.errors import Invalid
from customhouse.trust.key_directory import KeyDirectory
from customhouse.trust.metadata import parse_root, parse_targets
from customhouse.trust.names import ROOT, TARGETS, Gun

LARGEST = 4 * 1024 * 1024


def known_uses(keys: KeyDirectory) -> dict[str, list[dict[str, str]]]:
    """Canonical key id -> repository and role, for every role but those of servers."""
    found: dict[str, list[dict[str, str]]] = {}
    for gun, role, key_id in _uses(keys):
        use = {"repository": str(gun), "role": role}
        if use not in found.setdefault(key_id, []):
            found[key_id].append(use)
    return found


def repositories_of_root(keys: KeyDirectory, canonical_id: str) -> list[Gun]:
    """Repositories whose root, as last seen here, is signed by this key."""
    return [gun for gun, role, key_id in _uses(keys) if role == ROOT and key_id == canonical_id]


def _uses(keys: KeyDirectory) -> Iterator[tuple[Gun, str, str]]:
    folder = keys.directory / "tuf"
    for path in sorted(folder.rglob("metadata/root.json")):
        try:
            gun = Gun.parse(path.parent.parent.relative_to(folder).as_posix())
            if path.stat().st_size > LARGEST:
                continue
            root = parse_root(path.read_bytes()).body
        except (Invalid, OSError):
            continue
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
