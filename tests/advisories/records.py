"""Advisory records and dumps for the tests of this room."""

import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Installed:
    """An installed package as matching asks for it."""

    ecosystem: str
    name: str
    version: str
    source_name: str = ""
    source_version: str = ""
    purl: str = ""
    path: str = "var/lib/dpkg/status"
    layer: int = 0
    properties: Mapping[str, str] = field(default_factory=dict, hash=False)


def deb(name: str, version: str, source: str = "", source_version: str = "", ecosystem: str = "Debian:12") -> Installed:
    return Installed(
        ecosystem, name, version, source or name, source_version or version, f"pkg:deb/debian/{name}@{version}"
    )


def lib(ecosystem: str, name: str, version: str) -> Installed:
    return Installed(ecosystem, name, version, name, version, f"pkg:{ecosystem.lower()}/{name}@{version}")


def affected(
    ecosystem: str, package: str, *events: dict[str, str], kind: str = "ECOSYSTEM", **more: Any
) -> dict[str, Any]:
    entry: dict[str, Any] = {"package": {"ecosystem": ecosystem, "name": package}, **more}
    if events:
        entry["ranges"] = [{"type": kind, "events": list(events)}]
    return entry


def fixed_in(ecosystem: str, package: str, version: str, **more: Any) -> dict[str, Any]:
    return affected(ecosystem, package, {"introduced": "0"}, {"fixed": version}, **more)


def record(name: str, *entries: dict[str, Any], modified: str = "2026-11-20T00:00:00Z", **more: Any) -> dict[str, Any]:
    return {"id": name, "modified": modified, "published": "2026-01-01T00:00:00Z", "affected": list(entries), **more}


HIGH = [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"}]
LOW = [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:L/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N"}]
CRITICAL = [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}]


def kev(*cves: str, released: str = "2026-11-20T16:45:47.0648Z", version: str = "2026.11.20") -> dict[str, Any]:
    entries = [{"cveID": cve, "dateAdded": "2026-01-02", "dueDate": "2026-01-20"} for cve in cves]
    return {"catalogVersion": version, "dateReleased": released, "count": len(cves), "vulnerabilities": entries}


def dump(records: Iterable[dict[str, Any]], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for each in records:
            archive.writestr(f"{each.get('id', 'none')}.json", json.dumps(each))
    return out.getvalue()


def written(folder: Path, name: str, content: bytes | dict[str, Any] | list[Any]) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path
