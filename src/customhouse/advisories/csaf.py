"""CSAF VEX documents, https://docs.oasis-open.org/csaf/csaf/v2.0/os/csaf-v2.0-os.html (profile 5: VEX)

1. Products are what the product tree names: `branches`, `full_product_names`, and `relationships`, which put a
   component into a platform: such a product is the component's purl bound to the platform's CPE.
2. Of `product_status`, `known_not_affected`, `known_affected`, `fixed`, `first_fixed` and `under_investigation` become
   statements; a product with a remediation `no_fix_planned` is one that will not be fixed. Justifications are `flags`.
3. A status that names a product the tree has not makes the document invalid. A product without purl, hash or CPE says
   nothing about images, and its statements are passed over.
4. Budgets: bytes, products, depth of branches, references to products, and the length of each text.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec

from customhouse.advisories.openvex import LONGEST_REASON, digests_of
from customhouse.advisories.osv import parse_time
from customhouse.advisories.specifics import is_text
from customhouse.advisories.vex import Component, InvalidVex, Product, Status, VexDocument, VexStatement

LARGEST = 64 << 20
MOST_PRODUCTS = 200_000
MOST_REFERENCES = 1_000_000
MOST_VULNERABILITIES = 10_000
DEPTH = 32
_STATUS = {
    "known_not_affected": Status.NOT_AFFECTED, "known_affected": Status.AFFECTED, "fixed": Status.FIXED,
    "first_fixed": Status.FIXED, "under_investigation": Status.UNDER_INVESTIGATION,
}  # fmt: skip
_NEVER = "no_fix_planned"


def is_document(document: object) -> bool:
    """Told by `document.csaf_version`."""
    head = document.get("document") if isinstance(document, dict) else None
    return isinstance(head, dict) and isinstance(head.get("csaf_version"), str)


def parse(raw: bytes) -> VexDocument:
    """A document from its bytes. Raises InvalidVex."""
    if len(raw) > LARGEST:
        raise InvalidVex(f"is larger than {LARGEST} bytes")
    try:
        document = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidVex("is no JSON") from error
    return from_document(document)


def from_document(document: object) -> VexDocument:
    """A document from decoded JSON. Raises InvalidVex."""
    if not isinstance(document, dict) or not is_document(document):
        raise InvalidVex("is no CSAF document")
    head = document["document"]
    tracking, publisher = _object(head, "tracking"), _object(head, "publisher")
    issued = parse_time(tracking.get("current_release_date"))
    identifier, author, version = tracking.get("id"), publisher.get("name"), tracking.get("version")
    if issued is None or not is_text(identifier) or not is_text(author):
        raise InvalidVex("has no id, publisher and time of release")
    reader = _Reader(_object(document, "product_tree"))
    entries = _list(document, "vulnerabilities", MOST_VULNERABILITIES)
    statements = tuple(found for entry in entries for found in reader.statements(entry, issued))
    return VexDocument(identifier, author, "csaf", version[:64] if is_text(version) else "", issued, statements)


class _Reader:
    """The product tree, and what the vulnerabilities say of it."""

    def __init__(self, tree: dict[str, Any]) -> None:
        self._left = MOST_REFERENCES
        self._products: dict[str, Product] = {}
        self._bound: set[str] = set()  # whose CPE is that of a platform, not their own
        self._branches(tree, DEPTH)
        for entry in _list(tree, "full_product_names", MOST_PRODUCTS):
            self._add(entry)
        self._relationships(tree)
        self._groups = {
            group["group_id"]: self._ids(group, "product_ids")
            for group in _list(tree, "product_groups", MOST_PRODUCTS)
            if isinstance(group, dict) and is_text(group.get("group_id"))
        }

    def statements(self, entry: object, issued: datetime) -> Iterator[VexStatement]:
        """One statement for each status, reason and way out, with all the products that share them."""
        if not isinstance(entry, dict):
            raise InvalidVex("has a vulnerability that is no object")
        ids = [each.get("text") for each in _list(entry, "ids", 64) if isinstance(each, dict)]
        names = tuple(dict.fromkeys(name for name in (entry.get("cve"), *ids) if is_text(name) and len(name) <= 120))
        if not names:
            raise InvalidVex("has a vulnerability without a name")
        flags = self._said(entry, "flags", "label")
        impacts = self._said(entry, "threats", "details", category="impact")
        actions = self._said(entry, "remediations", "details")
        never = self._said(entry, "remediations", "category", category=_NEVER)
        shared: dict[tuple[Status, str, str, str, bool], dict[str, None]] = {}
        said = _object(entry, "product_status")
        for key, status in _STATUS.items():
            for product in self._ids(said, key):
                if product not in self._products:
                    raise InvalidVex("names a product that its tree has not")
                clean = status is Status.NOT_AFFECTED
                affected = status is Status.AFFECTED
                kind = (
                    status, flags.get(product, "") if clean else "", impacts.get(product, "") if clean else "",
                    actions.get(product, "") if affected else "", affected and product in never,
                )  # fmt: skip
                shared.setdefault(kind, {})[product] = None
        for (status, justification, impact, action, stays), ids_of in shared.items():
            products = tuple(dict.fromkeys(p for each in ids_of if (p := self._named(each)) != Product()))
            if products:
                yield VexStatement(names, products, status, issued, justification, impact, action, stays)

    def _named(self, product: str) -> Product:
        found = self._products[product]
        return found if product in self._bound else replace(found, cpe="")

    def _branches(self, node: dict[str, Any], depth: int) -> None:
        if depth == 0:
            raise InvalidVex(f"has branches more than {DEPTH} deep")
        for branch in _list(node, "branches", MOST_PRODUCTS):
            if not isinstance(branch, dict):
                raise InvalidVex("has a branch that is no object")
            if "product" in branch:
                self._add(branch["product"])
            self._branches(branch, depth - 1)

    def _add(self, entry: object, product: Product | None = None) -> None:
        if not isinstance(entry, dict) or not is_text(entry.get("product_id")):
            raise InvalidVex("has a product without an id")
        if len(self._products) >= MOST_PRODUCTS:
            raise InvalidVex(f"has more than {MOST_PRODUCTS} products")
        self._products[entry["product_id"]] = product or _product(entry)

    def _relationships(self, tree: dict[str, Any]) -> None:
        for each in _list(tree, "relationships", MOST_PRODUCTS):
            if not isinstance(each, dict):
                raise InvalidVex("has a relationship that is no object")
            ends = each.get("product_reference"), each.get("relates_to_product_reference")
            part, whole = (self._products.get(end) if is_text(end) else None for end in ends)
            if part is None or whole is None:
                raise InvalidVex("has a relationship between products that its tree has not")
            own = _product(each["full_product_name"]) if isinstance(each.get("full_product_name"), dict) else Product()
            purl, digests = own.purl or part.purl, own.digests or part.digests
            if whole.purl or whole.digests:
                joined = Product(whole.purl, whole.digests, "", (Component(purl, digests),))
            elif purl or digests:
                joined = Product(purl, digests, whole.cpe)
            else:
                joined = Product()  # a part that cannot be told must not stand for the whole platform
            self._add(each.get("full_product_name"), joined)
            self._bound.add(each["full_product_name"]["product_id"])

    def _said(self, entry: dict[str, Any], key: str, field: str, category: str = "") -> dict[str, str]:
        """By product, a text of the entries that name it, by id or group."""
        found: dict[str, str] = {}
        for each in _list(entry, key, MOST_PRODUCTS):
            if not isinstance(each, dict):
                raise InvalidVex(f"has an entry in {key} that is no object")
            text = each.get(field)
            if not isinstance(text, str) or (category and each.get("category") != category):
                continue
            products = list(self._ids(each, "product_ids"))
            for group in self._ids(each, "group_ids"):
                members = self._groups.get(group, [])
                self._spend(len(members))
                products += members
            for product in products:
                found.setdefault(product, text[:LONGEST_REASON].replace("\0", ""))
        return found

    def _ids(self, node: dict[str, Any], key: str) -> list[str]:
        value = node.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise InvalidVex(f"has {key} that are no list")
        self._spend(len(value))
        if not all(is_text(each) for each in value):
            raise InvalidVex(f"has {key} that are no texts")
        return value

    def _spend(self, references: int) -> None:
        self._left -= references
        if self._left < 0:
            raise InvalidVex(f"refers to products more than {MOST_REFERENCES} times")


def _product(entry: dict[str, Any]) -> Product:
    helper = entry.get("product_identification_helper")
    if not isinstance(helper, dict):
        return Product()
    purls = helper.get("purls")
    purl = helper.get("purl") or (purls[0] if isinstance(purls, list) and purls else "")
    cpe = helper.get("cpe")
    hashes: list[tuple[object, object]] = []
    for each in _list(helper, "hashes", 64):
        for file in _list(each, "file_hashes", 64) if isinstance(each, dict) else ():
            if isinstance(file, dict):
                hashes.append((file.get("algorithm"), file.get("value")))
    return Product(
        purl if is_text(purl) else "", tuple(digests_of(hashes)), cpe if is_text(cpe) else ""
    )


def _object(node: dict[str, Any], key: str) -> dict[str, Any]:
    value = node.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidVex(f"has `{key}` that is no object")
    return value


def _list(node: dict[str, Any], key: str, most: int) -> list[Any]:
    value = node.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > most:
        raise InvalidVex(f"has `{key}` that is no list, or too long a one")
    return value
