"""Fuzz targets of the advisories: what feeds and makers send."""

import json
from collections.abc import Iterator

from customhouse.advisories import csaf, epss, kev, modified, openvex, osv
from customhouse.advisories.folding import fold
from customhouse.advisories.vex import Flaw, InvalidVex, Stated, Subject, VexDocument, apply
from tests.advisories import records, test_vex
from tests.advisories.test_epss import HEAD


def osv_record(data: bytes) -> bool:
    """An accepted record names something, and folds alone."""
    try:
        found = osv.parse(data)
    except osv.InvalidRecord as error:
        assert str(error)
        return False
    assert found.id and found.modified.tzinfo is not None
    assert all(entry.ecosystem and entry.package for entry in found.affected)
    assert all(entry.fix_state(False) for entry in found.affected)
    assert len(fold([found], lambda record: record)) <= 1
    return True


def osv_seeds() -> Iterator[bytes]:
    entries = (
        records.fixed_in("npm", "x", "2", versions=["1", "1.1"]),
        records.affected("Debian:12", "x", {"introduced": "0"}, ecosystem_specific={"urgency": "unimportant"}),
        records.affected("Go", "x", {"introduced": "0"}, ecosystem_specific={"imports": [{"path": "x"}]}),
        records.affected("Alpine:v3.20", "x", {"introduced": "0"}, {"fixed": "0"}),
    )
    more = {"aliases": ["CVE-2026-1"], "upstream": ["CVE-2026-2"], "severity": records.HIGH, "related": ["CVE-2026-3"]}
    for entry in entries:
        yield json.dumps(records.record("GHSA-1111", entry, **more)).encode()


def kev_list(data: bytes) -> bool:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return False
    if not kev.is_catalog(document):
        return False
    try:
        found = kev.from_document(document)
    except kev.InvalidCatalog as error:
        assert str(error)
        return False
    return bool(found.entries)


def kev_seeds() -> Iterator[bytes]:
    for number in range(1, 5):
        yield json.dumps(records.kev(*(f"CVE-2026-{each:04}" for each in range(1, number + 1)))).encode()


def epss_table(data: bytes) -> bool:
    try:
        found = epss.parse(data)
    except epss.InvalidScores as error:
        assert str(error)
        return False
    assert all(0 <= score <= 1 and 0 <= percentile <= 1 for _, score, percentile in found.scores)
    return bool(found.version)


def epss_seeds() -> Iterator[bytes]:
    lines = [b"CVE-2021-44228,0.94358,0.99958\r\n", b"CVE-1999-0001,1.0e-05,0.5\n", b"CVE-2024-0001,0,1", b"\n\n"]
    yield from (HEAD + b"".join(lines[: number + 1]) for number in range(len(lines)))


def _vex(read: VexDocument) -> bool:
    """Whatever it says, applying it ends, and each statement either covers something or is given back."""
    names = frozenset(name for each in read.statements for name in each.names[:1])
    purls = frozenset(product.purl for each in read.statements for product in each.products[:2])
    flaw = Flaw(names or frozenset({"CVE-2026-1"}), purls)
    given = [Stated(each, "d", number) for number, each in enumerate(read.statements)]
    found = apply(given, [flaw], Subject(frozenset({test_vex.DIGEST}), purls, "cpe:/o:vendor:linux:9"))
    covering = {each.position for stated in found.covering.values() for each in stated}
    assert covering | {each.stated.position for each in found.unmatched} == set(range(len(given)))
    return True


def openvex_document(data: bytes) -> bool:
    try:
        return _vex(openvex.parse(data))
    except InvalidVex as error:
        assert str(error)
        return False


def openvex_seeds() -> Iterator[bytes]:
    parts = {"@id": "pkg:oci/web", "hashes": {"sha-256": "ab" * 32}, "subcomponents": [{"@id": "pkg:deb/debian/x@1"}]}
    old = {"vulnerability": "CVE-2026-1", "products": ["pkg:npm/x"], "status": "under_investigation"}
    for statements in ([], [old], [test_vex.statement(parts)], [test_vex.statement("pkg:npm/x", "affected"), old]):
        yield json.dumps(test_vex.document(*statements)).encode()


def csaf_document(data: bytes) -> bool:
    try:
        return _vex(csaf.parse(data))
    except InvalidVex as error:
        assert str(error)
        return False


def csaf_seeds() -> Iterator[bytes]:
    for change in ({}, {"flags": []}, {"ids": [{"text": "GHSA-1"}]}, {"product_status": {"fixed": ["linux-9:curl"]}}):
        yield json.dumps(test_vex.vendor(**change)).encode()


def index_of_changes(data: bytes) -> bool:
    """Whatever it names stays within a mirror."""
    try:
        found = modified.parse(data)
    except modified.InvalidIndex as error:
        assert str(error)
        return False
    assert not any("/" in name or name.startswith(".") for name in found.modified)
    return modified.due(found, found.modified, None) == []


def index_seeds() -> Iterator[bytes]:
    line = b"2026-11-02T00:00:00.123456Z,GHSA-0001\r\n"
    yield from (line, line * 2, b"2026-11-02T00:00:00Z,npm/GHSA-0002\n" + line, line + b"\n\n")
