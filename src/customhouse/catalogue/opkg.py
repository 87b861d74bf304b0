"""The package database of opkg (OpenWrt, Yocto): a status file of dpkg's form, and lists of files beside it."""

from collections.abc import Iterator

from customhouse.catalogue.cataloguer import Cataloguer, Evidence, Key
from customhouse.catalogue.dpkg import Stanza, parse_list, parse_status
from customhouse.catalogue.package import Package, purl

FOLDERS = ("usr/lib/opkg", "var/lib/opkg", "lib/opkg")
DATABASES = tuple(f"{folder}/status" for folder in FOLDERS)
WANTS = (*DATABASES, *(f"{folder}/info/*.list" for folder in FOLDERS))


def _packages(evidence: Evidence) -> Iterator[Package]:
    seen: set[str | None] = set()
    for folder in FOLDERS:
        path = f"{folder}/status"
        real = evidence.fs.resolve(path)
        raw = None if real in seen else evidence.read(path)
        seen.add(real)
        if not raw:
            continue
        listed = evidence.parsed(path, raw, parse_status)
        layers = evidence.first_layers(path, lambda r: (_key(stanza) for stanza in parse_status(r)[0]))
        release = evidence.release("opkg", path) if listed else None
        for stanza in listed:
            assert release is not None
            files = evidence.fs.read(f"{folder}/info/{stanza.name}.list")
            qualifiers = {"arch": stanza.architecture, "distro": release.tag}
            yield Package(
                ecosystem=release.ecosystem,
                name=stanza.name,
                version=stanza.version,
                source_name=stanza.source_name,
                source_version=stanza.source_version,
                purl=purl("opkg", release.namespace, stanza.name, stanza.version, qualifiers),
                path=path,
                layer=layers.get(_key(stanza), 0),
                architecture=stanza.architecture,
                kind="os",
                supplier=stanza.maintainer,
                files=() if files is None else tuple(parse_list(files)),
            )


def _key(stanza: Stanza) -> Key:
    return stanza.name, stanza.version, stanza.architecture


CATALOGUER = Cataloguer("opkg", _packages, WANTS)
