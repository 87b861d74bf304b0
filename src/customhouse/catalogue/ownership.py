"""Which files the operating system's packages own, so that what they installed is not counted twice.

Debian's python3-requests brings a dist-info folder: its version is upstream's, its fixes are Debian's. Such a language
package is the distribution's business and is left out of the list. The question is put to the merged view, because
the package may be recorded in another layer than its files, and only packages that are installed own anything.
A path is compared where it lies when all links of its folders are followed: a package made before /lib became a link
to /usr/lib wrote the shorter name.

A package that somebody else made for the distribution (Docker's docker-ce, NodeSource's nodejs) gets no fixes from it:
what lies in such a package is listed. rpm names the vendor; a Debian package is taken for the distribution's unless its
maintainer writes from a vendor's domain that is known here, since Debian's own maintainers write from anywhere.
"""

import re
from collections.abc import Iterable, Mapping

from customhouse.catalogue.distro import Distro
from customhouse.catalogue.package import Package
from customhouse.oci.filesystem import Filesystem

_VENDORS = {
    "almalinux": ("almalinux",), "amzn": ("amazon",), "azurelinux": ("microsoft",), "centos": ("centos", "red hat"),
    "fedora": ("fedora",), "mageia": ("mageia",), "mariner": ("microsoft",), "ol": ("oracle",),
    "openeuler": ("openeuler",), "opensuse-leap": ("suse",), "opensuse-tumbleweed": ("suse",),
    "photon": ("vmware", "broadcom"), "rhel": ("red hat",), "rocky": ("rocky",), "sled": ("suse",), "sles": ("suse",),
}  # fmt: skip
_DOMAINS = frozenset(
    {
        "amazon.com", "clickhouse.com", "cloudflare.com", "confluent.io", "datadoghq.com", "docker.com", "elastic.co",
        "f5.com", "github.com", "gitlab.com", "google.com", "grafana.com", "hashicorp.com", "influxdata.com",
        "mariadb.org", "microsoft.com", "mongodb.com", "nginx.com", "nodesource.com", "nvidia.com", "oracle.com",
        "percona.com", "redis.com", "redis.io",
    }
)  # fmt: skip
_ADDRESS = re.compile(r"@(?:[a-z0-9-]{1,63}\.){0,4}?([a-z0-9-]{1,63}\.[a-z]{2,16})>?\s*$")


def of_distribution(package: Package, distro: Distro | None) -> bool:
    """Does the distribution itself maintain this package of its kind?"""
    said = package.supplier.lower()
    if package.purl.startswith("pkg:rpm/") and distro is not None and said:
        vendors = _VENDORS.get(distro.id)
        return vendors is None or any(vendor in said for vendor in vendors)
    if package.purl.startswith("pkg:deb/"):
        found = _ADDRESS.search(said[-200:])
        return found is None or found[1] not in _DOMAINS
    return True


def owners(packages: Iterable[Package], fs: Filesystem) -> dict[str, Package]:
    """By the path in the merged view (folders' links followed), the package that owns it; the first one wins."""
    folders: dict[str, str | None] = {}
    found: dict[str, Package] = {}
    for package in packages:
        for path in package.files:
            folder, slash, name = path.rpartition("/")
            if folder not in folders:
                folders[folder] = fs.resolve(folder)
            real = folders[folder]
            if real is not None:
                found.setdefault(path if real == folder else f"{real}/{name}" if real else name, package)
    return found


def not_owned(
    found: Iterable[Package], owned: Mapping[str, Package], fs: Filesystem, distro: Distro | None
) -> list[Package]:
    """The packages that no package of the distribution brought."""
    theirs = {id(owner): of_distribution(owner, distro) for owner in owned.values()}

    def brought(path: str) -> bool:
        return any(name in owned and theirs[id(owned[name])] for name in _names(path, fs))

    return [package for package in found if not brought(package.path)]


def _names(path: str, fs: Filesystem) -> Iterable[str]:
    yield path
    folder, _, name = path.rpartition("/")
    real = fs.resolve(folder)
    if real is not None and real != folder:
        yield f"{real}/{name}" if real else name
    target = fs.resolve(path)
    if target is not None:
        yield target
