"""Software bills of materials of a catalogue: CycloneDX 1.6 and SPDX 2.3, both as JSON.

1. The same image, at the same moment, gives the same document: serial number and namespace follow from the image's
   digest, and components are in the order of the catalogue.
2. Every component names the layer it came with, by digest, and the path that told of it.
3. What is declared is given as declared: licences that are no SPDX expression are given by their text, and what was
   not found out is NOASSERTION. A catalogue with problems says that it is incomplete.
(CycloneDX 1.6 JSON, ECMA-424; SPDX 2.3 §6 to §11 with Annex E.)
"""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from customhouse.catalogue.licences import together
from customhouse.catalogue.package import Catalogue, Package
from customhouse.oci.reader import JSON

_NAMESPACE = uuid.UUID("6f6b0c1e-9d0a-5a57-8f0e-6d2f0c2b9a11")
_PREFIX = "customhouse:"
_PURPOSES = {"os": "library", "library": "library", "binary": "application"}


@dataclass(frozen=True)
class Described:
    """The image that a document is about: `name` as people call it, `digest` and `layers` as `sha256:…`, `made` the
    moment of the examination, `version` that of the product."""

    name: str
    digest: str
    platform: str
    layers: Sequence[str]
    made: datetime
    version: str

    @property
    def purl(self) -> str:
        """https://github.com/package-url/purl-spec, type oci."""
        short = self.name.partition("@")[0].rpartition("/")[2].partition(":")[0].lower() or "image"
        safe = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in short)
        return f"pkg:oci/{safe}@{self.digest.replace(':', '%3A')}"


def cyclonedx(image: Described, packages: Catalogue) -> dict[str, JSON]:
    """A CycloneDX 1.6 document."""
    root = f"image-{image.digest}"
    known: list[JSON] = [_component(each, image, number) for number, each in enumerate(packages.packages)]
    document: dict[str, JSON] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{_identity(image, 'cyclonedx')}",
        "version": 1,
        "metadata": {
            "timestamp": _moment(image.made),
            "tools": {"components": [{"type": "application", "name": "customhouse", "version": image.version}]},
            "component": {
                "type": "container",
                "bom-ref": root,
                "name": image.name,
                "version": image.digest,
                "purl": image.purl,
                "properties": [{"name": f"{_PREFIX}platform", "value": image.platform}],
            },
        },
        "components": known,
        "dependencies": [{"ref": root, "dependsOn": [f"{number}" for number in range(len(known))]}],
        "compositions": [{"aggregate": "complete" if packages.complete else "incomplete", "assemblies": [root]}],
    }
    if packages.distro is not None:
        system = packages.distro
        said: dict[str, JSON] = {
            "type": "operating-system", "bom-ref": "system", "name": system.id, "description": str(system)
        }
        if system.version_id:
            said["version"] = system.version_id
        known.append(said)
    return document


def _component(package: Package, image: Described, number: int) -> JSON:
    said: dict[str, JSON] = {
        "type": _PURPOSES[package.kind], "bom-ref": f"{number}", "name": package.name, "version": package.version
    }
    if package.purl:
        said["purl"] = package.purl
    if package.supplier:
        said["supplier"] = {"name": package.supplier}
    licences = _cyclonedx_licences(package)
    if licences:
        said["licenses"] = licences
    said["evidence"] = {"occurrences": [{"location": f"/{path}"} for path in _paths(package)]}
    said["properties"] = [
        {"name": f"{_PREFIX}{name}", "value": value}
        for name, value in (
            ("ecosystem", package.ecosystem),
            ("layer", _layer(package, image)),
            ("source", f"{package.source_name} {package.source_version}".strip()),
            *((f"{key}", package.properties[key]) for key in sorted(package.properties)),
        )
        if value
    ]
    return said


def _cyclonedx_licences(package: Package) -> list[JSON]:
    """Either one expression or a list of licences; the schema takes no mixture."""
    found, unknown = together(package.licenses)
    if found is not None and not unknown:
        return [{"expression": found}]
    return [{"license": {"name": each}} for each in package.licenses if each]


def spdx(image: Described, packages: Catalogue) -> dict[str, JSON]:
    """An SPDX 2.3 document."""
    identity, texts = _identity(image, "spdx"), dict[str, str]()
    root: dict[str, JSON] = {
        "SPDXID": "SPDXRef-Image",
        "name": image.name,
        "versionInfo": image.digest,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "primaryPackagePurpose": "CONTAINER",
        "comment": f"platform {image.platform}" + ("" if packages.complete else "; the list of packages is incomplete"),
        "externalRefs": [_purl_reference(image.purl)],
    }
    listed: list[JSON] = [root]
    relations: list[JSON] = [_related("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-Image")]
    for number, package in enumerate(packages.packages):
        listed.append(_spdx_package(package, image, number, texts))
        relations.append(_related("SPDXRef-Image", "CONTAINS", f"SPDXRef-Package-{number}"))
    document: dict[str, JSON] = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": image.name,
        "documentNamespace": f"urn:uuid:{identity}",
        "creationInfo": {"created": _moment(image.made), "creators": [f"Tool: customhouse-{image.version}"]},
        "packages": listed,
        "relationships": relations,
    }
    if texts:
        document["hasExtractedLicensingInfos"] = [
            {"licenseId": name, "extractedText": text, "name": text} for text, name in texts.items()
        ]
    return document


def _spdx_package(package: Package, image: Described, number: int, texts: dict[str, str]) -> JSON:
    said: dict[str, JSON] = {
        "SPDXID": f"SPDXRef-Package-{number}",
        "name": package.name,
        "versionInfo": package.version,
        "supplier": f"Organization: {package.supplier}" if package.supplier else "NOASSERTION",
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": _declared(package, texts),
        "copyrightText": "NOASSERTION",
        "primaryPackagePurpose": "APPLICATION" if package.kind == "binary" else "LIBRARY",
        "sourceInfo": f"/{package.path} in layer {_layer(package, image)}",
    }
    if package.purl:
        said["externalRefs"] = [_purl_reference(package.purl)]
    return said


def _declared(package: Package, texts: dict[str, str]) -> str:
    """An expression in which what SPDX has no name for is a LicenseRef of this document."""
    found, unknown = together(package.licenses)
    parts = [] if found is None else [f"({found})" if unknown and " OR " in found else found]
    for each in unknown:
        parts.append(texts.setdefault(each, f"LicenseRef-{hashlib.sha256(each.encode()).hexdigest()[:16]}"))
    return " AND ".join(parts) or "NOASSERTION"


def _purl_reference(purl: str) -> JSON:
    return {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl}


def _related(one: str, how: str, other: str) -> JSON:
    return {"spdxElementId": one, "relationshipType": how, "relatedSpdxElement": other}


def _paths(package: Package) -> list[str]:
    return list(dict.fromkeys((package.path, *package.locations)))


def _layer(package: Package, image: Described) -> str:
    return image.layers[package.layer] if package.layer < len(image.layers) else ""


def _identity(image: Described, form: str) -> uuid.UUID:
    return uuid.uuid5(_NAMESPACE, f"{form} {image.digest} {_moment(image.made)} {image.version}")


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
