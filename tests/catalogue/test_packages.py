from customhouse.catalogue.packages import Catalogue, catalogue
from customhouse.oci.wants import Budget
from tests.catalogue.images import ALPINE, DEBIAN, Link, image, metadata, stanza

SITE = "usr/lib/python3/dist-packages"
BASE = {
    "etc/os-release": DEBIAN,
    "var/lib/dpkg/status": stanza("bash", "5.2-1") + stanza("libssl3", "3.0.1", "openssl"),
}


def names(found: Catalogue) -> list[tuple[str, str, str, int]]:
    return [(each.ecosystem, each.name, each.version, each.layer) for each in found.packages]


def test_an_empty_image_has_no_package_and_no_problem() -> None:
    found = catalogue(image({"bin/true": b"\x7fELF"}))
    assert (found.packages, found.distro, found.problems) == ((), None, ())


def test_packages_belong_to_the_first_layer_that_lists_them() -> None:
    upgraded = stanza("bash", "5.2-1") + stanza("libssl3", "3.0.2", "openssl") + stanza("curl", "7.88")
    found = catalogue(image(BASE, {"srv/x": b""}, {"var/lib/dpkg/status": upgraded}))
    assert names(found) == [
        ("Debian:12", "bash", "5.2-1", 0),
        ("Debian:12", "curl", "7.88", 2),
        ("Debian:12", "libssl3", "3.0.2", 2),
    ]
    assert found.complete


def test_a_package_has_a_url_and_its_source() -> None:
    package = next(each for each in catalogue(image(BASE)).packages if each.name == "libssl3")
    assert package.purl == "pkg:deb/debian/libssl3@3.0.1?arch=amd64&distro=debian-12"
    assert (package.source_name, package.source_version, package.path) == ("openssl", "3.0.1", "var/lib/dpkg/status")


def test_distroless_keeps_one_file_a_package() -> None:
    folder = "var/lib/dpkg/status.d/"
    found = catalogue(
        image(
            {"etc/os-release": DEBIAN, folder + "base": b"Package: base-files\nVersion: 12.4\n"},
            {folder + "ssl": b"Package: libssl3\nVersion: 3.0\nSource: openssl\n", folder + "ssl.md5sums": b"00  a\n"},
        )
    )
    assert names(found) == [("Debian:12", "base-files", "12.4", 0), ("Debian:12", "libssl3", "3.0", 1)]
    assert found.complete
    assert {path: owner.name for path, owner in found.owners.items()} == {"a": "libssl3"}


def test_apk_packages_are_found_behind_a_merged_lib() -> None:
    installed = b"P:musl\nV:1.2.5-r0\no:musl\n\nP:libcrypto3\nV:3.3.2-r0\no:openssl\n\n"
    plain = catalogue(image({"etc/os-release": ALPINE, "lib/apk/db/installed": installed}))
    merged = catalogue(image({"etc/os-release": ALPINE, "lib": Link("usr/lib"), "usr/lib/apk/db/installed": installed}))
    assert names(plain) == [("Alpine:v3.20", "libcrypto3", "3.3.2-r0", 0), ("Alpine:v3.20", "musl", "1.2.5-r0", 0)]
    assert names(merged) == names(plain)
    assert plain.packages[0].source_name == "openssl"


def test_language_packages_are_found_with_their_layer() -> None:
    found = catalogue(
        image(
            {"app/node_modules/@s/lib/package.json": b'{"name": "@s/lib", "version": "1.0.0"}'},
            {"opt/site-packages/Foo.Bar-2.0.dist-info/METADATA": metadata("Foo.Bar", "2.0")},
        )
    )
    assert names(found) == [("PyPI", "foo-bar", "2.0", 1), ("npm", "@s/lib", "1.0.0", 0)]
    assert [each.purl for each in found.packages] == ["pkg:pypi/foo-bar@2.0", "pkg:npm/%40s/lib@1.0.0"]


def test_a_removed_language_package_is_not_installed() -> None:
    path = "opt/site-packages/x-1.dist-info/METADATA"
    assert not catalogue(image({path: metadata("x", "1")}, {"-" + path: b""})).packages


def test_what_the_distribution_installed_is_not_counted_twice() -> None:
    evidence = f"{SITE}/requests-2.28.1.egg-info/PKG-INFO"
    owned = {
        **BASE,
        "var/lib/dpkg/status": stanza("python3-requests", "2.28.1+dfsg-1", "requests", arch="all"),
        evidence: metadata("requests", "2.28.1"),
        f"{SITE}/mine-1.dist-info/METADATA": metadata("mine", "1"),
    }
    found = catalogue(image(owned, {"var/lib/dpkg/info/python3-requests.list": f"/.\n/{evidence}\n".encode()}))
    assert [each.name for each in found.packages] == ["python3-requests", "mine"]


def test_what_another_vendor_packaged_is_listed_besides() -> None:
    evidence = f"{SITE}/x-1.dist-info/METADATA"
    for maintainer, listed in (
        ("Docker <support@docker.com>", True),
        ("NodeSource <gpg-rpm@deb.nodesource.com>", True),
        ("Somebody <somebody@mail.example>", False),
        ("Debian Python Team <team+python@tracker.debian.org>", False),
        ("docker.com", False),
    ):
        status = stanza("tool", "1").replace(b"Version:", f"Maintainer: {maintainer}\nVersion:".encode())
        files = {"var/lib/dpkg/status": status, "var/lib/dpkg/info/tool.list": f"/{evidence}\n".encode()}
        found = catalogue(image({**BASE, evidence: metadata("x", "1"), **files}))
        assert ("x" in [each.name for each in found.packages]) is listed, maintainer


def test_a_list_of_a_package_that_is_not_installed_owns_nothing() -> None:
    evidence = f"{SITE}/requests-2.28.1.egg-info/PKG-INFO"
    hidden = {
        **BASE,
        evidence: metadata("requests", "2.28.1"),
        "var/lib/dpkg/info/ghost.list": f"/{evidence}\n".encode(),
    }
    assert "requests" in [each.name for each in catalogue(image(hidden)).packages]


def test_a_list_written_before_the_merge_of_lib_owns_the_file_all_the_same() -> None:
    written = "lib/python3/dist-packages/x-1.egg-info"
    files = {
        **BASE,
        "lib": Link("usr/lib"),
        "usr/" + written: metadata("x", "1"),
        "var/lib/dpkg/info/bash:amd64.list": f"/{written}\n".encode(),
    }
    assert "x" not in [each.name for each in catalogue(image(files)).packages]


def test_apk_owns_its_python_packages() -> None:
    site = "usr/lib/python3.12/site-packages/x-1.dist-info"
    installed = f"P:py3-x\nV:1-r0\nF:{site}\nR:METADATA\n\n".encode()
    found = catalogue(
        image({"etc/os-release": ALPINE, "lib/apk/db/installed": installed, f"{site}/METADATA": metadata("x", "1")})
    )
    assert [each.name for each in found.packages] == ["py3-x"]


def test_a_distribution_without_its_database_is_a_problem() -> None:
    found = catalogue(image(BASE, {"-var/lib/dpkg/status": b""}))
    assert not found.packages
    assert "there is no dpkg database" in found.problems[0].reason


def test_a_package_struck_out_of_the_database_is_a_problem() -> None:
    info = {"var/lib/dpkg/info/bash.list": b"/bin/bash\n", "var/lib/dpkg/info/libssl3:amd64.list": b"/x\n"}
    removed = stanza("bash", "5.2-1") + stanza("libssl3", "3.0.1", state="deinstall ok config-files")
    assert catalogue(image({**BASE, **info, "var/lib/dpkg/status": removed})).complete
    struck = catalogue(image({**BASE, **info}, {"var/lib/dpkg/status": stanza("bash", "5.2-1")}))
    assert "libssl3" in struck.problems[0].reason


def test_a_database_that_went_with_its_os_release_leaves_traces() -> None:
    for trace in ("var/lib/dpkg/lock", "etc/apk/world", "usr/bin/rpm"):
        found = catalogue(image({trace: b"x"}))
        assert [each.kind for each in found.problems] == ["missing"]
    assert catalogue(image({"usr/bin/rpm": b"x", **BASE})).complete


def test_licences_of_debian_come_from_the_copyright_file() -> None:
    dep5 = b"Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nLicense: Apache-2.0\n\n"
    more = b"Files: x\nLicense: GPL-2+ or Artistic\n text\n\nLicense: Apache-2.0\n"
    files = {
        **BASE,
        "usr/share/doc/libssl3/copyright": dep5 + more,
        "usr/share/doc/bash/copyright": b"see /usr/share/common-licenses/GPL-3.\n",
    }
    found = {each.name: each.licenses for each in catalogue(image(files)).packages}
    assert found == {"libssl3": ("Apache-2.0", "GPL-2+ or Artistic"), "bash": ("GPL-3",)}


def test_opkg_keeps_a_database_of_the_same_form() -> None:
    files = {
        "etc/os-release": b"ID=openwrt\nVERSION_ID=23.05.3\n",
        "usr/lib/opkg/status": stanza("busybox", "1.36.1-1", state="install user installed", arch="x86_64"),
        "usr/lib/opkg/info/busybox.list": b"/bin/busybox\n",
    }
    (package,) = catalogue(image(files)).packages
    assert (package.ecosystem, package.kind) == ("openwrt:23.05.3", "os")
    assert package.purl == "pkg:opkg/openwrt/busybox@1.36.1-1?arch=x86_64&distro=openwrt-23.05.3"
    assert package.files == ("bin/busybox",)


def test_a_database_without_a_distribution_is_a_problem() -> None:
    found = catalogue(image({"var/lib/dpkg/status": stanza("bash", "5")}))
    assert [each.ecosystem for each in found.packages] == ["dpkg"]
    assert not found.complete


def test_a_database_of_another_family_than_the_distribution_is_a_problem() -> None:
    found = catalogue(image({"etc/os-release": ALPINE, "var/lib/dpkg/status": stanza("bash", "5")}))
    assert [each.ecosystem for each in found.packages] == ["dpkg"]
    assert not found.complete


def test_a_database_larger_than_the_budget_is_a_problem_and_not_an_absence() -> None:
    found = catalogue(image({**BASE, "var/lib/dpkg/status": stanza("bash", "5") * 100}, budget=Budget(file=1000)))
    assert not found.packages
    assert any(each.path == "var/lib/dpkg/status" and "could not be read" in each.reason for each in found.problems)


def test_hostile_content_everywhere_ends_as_problems() -> None:
    noise = bytes(range(256)) * 8
    found = catalogue(
        image(
            {
                "etc/os-release": DEBIAN,
                "var/lib/dpkg/status": noise,
                "lib/apk/db/installed": noise,
                "a/node_modules/b/package.json": noise,
                "a/x.dist-info/METADATA": noise,
                "a/y.egg-info": noise,
                "var/lib/dpkg/status.d": Link("status.d"),
            }
        )
    )
    assert not found.packages
    assert {each.path for each in found.problems} >= {
        "var/lib/dpkg/status", "lib/apk/db/installed", "a/node_modules/b/package.json", "a/x.dist-info/METADATA",
    }  # fmt: skip


def test_a_distribution_hidden_behind_a_linked_folder_is_named() -> None:
    found = catalogue(
        image({"hidden/x/METADATA": metadata("evil", "1"), "site-packages/evil-1.dist-info": Link("../hidden/x")})
    )
    assert [each.name for each in found.packages] == ["evil"] or not found.complete


def test_problems_are_bounded() -> None:
    found = catalogue(image({f"a/x{i}.dist-info/METADATA": b"" for i in range(300)}))
    assert 0 < len(found.problems) <= 50
