"""Lists of packages that lie in the image: Bitnami's SPDX files, and SBOMs in SPDX or CycloneDX form (JSON).

1. Such a list is the publisher's word. What it alone tells carries `evidence: claim`; packages.py drops a claim of what
   is proven otherwise. It never says that nothing else is there.
2. Bitnami's files (`opt/bitnami/**/.spdx-NAME.spdx`) are the only trace of what was compiled there: a broken one is a
   problem. Another broken list is no list.
3. Only packages of languages and of Bitnami count: what belongs to an operating system is told by its own database.
"""

from collections.abc import Iterator

import msgspec
from packageurl import PackageURL

from customhouse.catalogue.cataloguer import Cataloguer
from customhouse.catalogue.language import ECOSYSTEMS, Fact, LanguageReader, Unreadable, packages, stated
from customhouse.catalogue.package import LARGEST_DATABASE, Package

MOST_COMPONENTS = 9_000
DEEPEST = 16
_SUFFIXES = (".spdx.json", ".cdx.json", ".spdx")
_TYPES = frozenset(ECOSYSTEMS) | {"conda", "generic", "github", "luarocks", "swift"}


def is_evidence(path: str) -> bool:
    """Is a file at this path a list of packages? Their form must be JSON."""
    return path.endswith(_SUFFIXES) and (not path.endswith(".spdx") or _of_bitnami(path))


def _of_bitnami(path: str) -> bool:
    return path.startswith("opt/bitnami/") and path.rpartition("/")[2].startswith(".spdx-")


def parse(path: str, raw: bytes) -> Iterator[Fact]:
    """The packages of a list. Raises Unreadable where the list is the only trace of them."""
    try:
        document = msgspec.json.decode(raw.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        if _of_bitnami(path):
            raise Unreadable("is no JSON") from error
        return
    if not isinstance(document, dict):
        document = {}
    told = _spdx(document) if "spdxVersion" in document else _cyclonedx(document.get("components"), 0)
    for number, (url, licenses) in enumerate(told):
        if number == MOST_COMPONENTS:
            raise Unreadable(f"lists more than {MOST_COMPONENTS} packages")
        fact = _stated(url, licenses, "bitnami" if _of_bitnami(path) else "claim")
        if fact is not None:
            yield fact


def without_proven_claims(found: list[Package]) -> list[Package]:
    """The packages without those that only a list tells of, where the package itself is there, or another list."""
    claims = [package for package in found if package.properties.get("evidence") == "claim"]
    if not claims:
        return found
    known = {_key(package) for package in found if package.properties.get("evidence") != "claim"}
    kept = [package for package in found if package.properties.get("evidence") != "claim"]
    for package in claims:
        if _key(package) not in known:
            known.add(_key(package))
            kept.append(package)
    return kept


def _key(package: Package) -> str:
    return package.purl.partition("?")[0]


def _spdx(document: dict[str, object]) -> Iterator[tuple[str, list[object]]]:
    for package in _objects(document.get("packages")):
        for reference in _objects(package.get("externalRefs")):
            url = reference.get("referenceLocator")
            if reference.get("referenceType") == "purl" and isinstance(url, str):
                yield url, [one for one in (package.get("licenseDeclared"),) if one not in ("NOASSERTION", "NONE")]


def _cyclonedx(components: object, depth: int) -> Iterator[tuple[str, list[object]]]:
    for component in _objects(components) if depth <= DEEPEST else ():
        url = component.get("purl")
        if isinstance(url, str):
            licenses: list[object] = []
            for choice in _objects(component.get("licenses")):
                named = choice.get("license")
                known = named if isinstance(named, dict) else {}
                licenses.append(choice.get("expression") or known.get("id") or known.get("name"))
            yield url, licenses
        yield from _cyclonedx(component.get("components"), depth + 1)


def _objects(value: object) -> Iterator[dict[str, object]]:
    return (each for each in value if isinstance(each, dict)) if isinstance(value, list) else iter(())


def _stated(url: str, licenses: list[object], evidence: str) -> Fact | None:
    try:
        known = PackageURL.from_string(url[:1000])
    except ValueError:
        return None
    if known.type not in _TYPES or not known.version:
        return None
    return stated(
        known.type, known.name, known.version,
        namespace=known.namespace or "", licenses=licenses, evidence=evidence,
    )  # fmt: skip


READER = LanguageReader("sbom", 1, is_evidence, parse, LARGEST_DATABASE)
CATALOGUER = Cataloguer("sbom", packages(READER), readers=(READER,))
