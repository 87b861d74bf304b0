"""OpenVEX documents, https://github.com/openvex/spec (0.2.0, and the plain texts of 0.0.x)

1. The statements' times and products may be left to the document: a statement without a time has the document's. One
   without products is about the thing the document came with (`subject`), and is refused where there is none.
2. `not_affected` without any reason is kept: `VexStatement.acceptable` says what it is worth. A status that is not
   known, or a statement about nothing, makes the document invalid: the rest might mean something else without it.
3. Budgets: bytes, statements, products, subcomponents, names, and the length of each text.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from customhouse.advisories.osv import parse_time
from customhouse.advisories.specifics import LONGEST_TEXT, is_text
from customhouse.advisories.vex import Component, InvalidVex, Product, Status, VexDocument, VexStatement

LARGEST = 16 << 20
MOST_STATEMENTS = 20_000
MOST_PRODUCTS = 100_000
MOST_NAMES = 64
LONGEST_NAME = 120
LONGEST_REASON = 4000
_CONTEXT = "https://openvex.dev/ns"
_HASHES = {"sha-256": ("sha256", 64), "sha256": ("sha256", 64), "sha-512": ("sha512", 128), "sha512": ("sha512", 128)}


def is_document(document: object) -> bool:
    """Told by its `@context`."""
    context = document.get("@context") if isinstance(document, dict) else None
    return isinstance(context, str) and context.startswith(_CONTEXT)


def parse(raw: bytes, subject: Component | None = None) -> VexDocument:
    """A document from its bytes. Raises InvalidVex."""
    if len(raw) > LARGEST:
        raise InvalidVex(f"is larger than {LARGEST} bytes")
    try:
        document = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidVex("is no JSON") from error
    return from_document(document, subject)


def from_document(document: object, subject: Component | None = None) -> VexDocument:
    """A document from decoded JSON. Raises InvalidVex."""
    if not isinstance(document, dict) or not is_document(document):
        raise InvalidVex("is no OpenVEX document")
    issued = parse_time(document.get("last_updated")) or parse_time(document.get("timestamp"))
    if issued is None:
        raise InvalidVex("has no timestamp")
    version = document.get("version", 1)
    entries = document.get("statements")
    if not isinstance(entries, list) or len(entries) > MOST_STATEMENTS:
        raise InvalidVex("has no list of statements, or one that is too long")
    left = [MOST_PRODUCTS]
    return VexDocument(
        identifier=_required(document.get("@id"), "@id"),
        author=_required(document.get("author"), "author"),
        form="openvex",
        version=str(version)[:64] if isinstance(version, int | str) else "",
        issued=issued,
        statements=tuple(_statement(entry, document, issued, subject, left) for entry in entries),
    )


def _statement(
    entry: object, document: dict[str, Any], issued: datetime, subject: Component | None, left: list[int]
) -> VexStatement:
    if not isinstance(entry, dict):
        raise InvalidVex("has a statement that is no object")
    try:
        status = Status(str(entry.get("status")))
    except ValueError:
        raise InvalidVex("has a statement of no known status") from None
    names = _names(entry.get("vulnerability"))
    if not names:
        raise InvalidVex("has a statement about no vulnerability")
    products = tuple(_product(each, left) for each in _list(entry.get("products"), left))
    if not products and subject is not None:
        products = (Product(subject.purl, subject.digests, subject.cpe),)
    if not products:
        raise InvalidVex("has a statement about no product")
    for key in ("last_updated", "timestamp"):
        if entry.get(key) is not None and parse_time(entry[key]) is None:
            raise InvalidVex("has a statement with a time that is none")
    at = parse_time(entry.get("last_updated")) or parse_time(entry.get("timestamp")) or issued
    return VexStatement(
        names=names,
        products=products,
        status=status,
        at=at,
        justification=_reason(entry.get("justification")),
        impact=_reason(entry.get("impact_statement")),
        action=_reason(entry.get("action_statement")),
    )


def _names(said: object) -> tuple[str, ...]:
    if isinstance(said, str):
        return (said,) if _is_name(said) else ()
    if not isinstance(said, dict):
        return ()
    aliases = said.get("aliases")
    if aliases is not None and (not isinstance(aliases, list) or len(aliases) > MOST_NAMES):
        raise InvalidVex("has a vulnerability with no list of aliases, or one that is too long")
    name = said.get("name")
    if not _is_name(name) and _is_name(said.get("@id")):
        name = said["@id"].rsplit("/", 1)[-1]
    return tuple(dict.fromkeys(each for each in (name, *(aliases or ())) if _is_name(each)))


def _is_name(value: object) -> bool:
    return is_text(value) and len(value) <= LONGEST_NAME


def _product(said: object, left: list[int]) -> Product:
    own = _component(said)
    parts = said.get("subcomponents") if isinstance(said, dict) else None
    found = tuple(_component(each) for each in _list(parts, left))
    return Product(own.purl, own.digests, own.cpe, found)


def _component(said: object) -> Component:
    if isinstance(said, str):
        said = {"@id": said}
    if not isinstance(said, dict):
        raise InvalidVex("has a product that is none")
    identifiers = said.get("identifiers")
    identifiers = identifiers if isinstance(identifiers, dict) else {}
    name = said.get("@id")
    purl = identifiers.get("purl") or (name if is_text(name) and name.startswith("pkg:") else "")
    cpe = identifiers.get("cpe23") or identifiers.get("cpe22") or ""
    hashes = said.get("hashes")
    digests = tuple(digests_of(hashes.items())) if isinstance(hashes, dict) else ()
    purl, cpe = purl if is_text(purl) else "", cpe if is_text(cpe) else ""
    if not (purl or digests or cpe) and not is_text(name):
        raise InvalidVex("has a product without a name")
    return Component(purl, digests, "" if purl or digests else cpe)


def digests_of(hashes: Iterable[tuple[object, object]]) -> Iterable[str]:
    """Digests as OCI writes them, of the hashes that it knows."""
    for algorithm, value in hashes:
        known = _HASHES.get(algorithm.lower()) if isinstance(algorithm, str) else None
        if known and isinstance(value, str) and len(value) == known[1] and value.isascii() and value.isalnum():
            yield f"{known[0]}:{value.lower()}"


def _list(value: object, left: list[int]) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidVex("has products that are no list")
    left[0] -= len(value)
    if left[0] < 0:
        raise InvalidVex(f"names more than {MOST_PRODUCTS} products")
    return value


def _reason(value: object) -> str:
    return value[:LONGEST_REASON].replace("\0", "") if isinstance(value, str) else ""


def _required(value: object, key: str) -> str:
    if not is_text(value):
        raise InvalidVex(f"has no {key}, or one longer than {LONGEST_TEXT} characters")
    return value
