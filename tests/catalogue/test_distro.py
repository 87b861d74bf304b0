from datetime import date

import pytest

from customhouse.catalogue.distro import Distro, detect, parse_os_release
from customhouse.catalogue.eol import SupportTable
from tests.catalogue.images import ALPINE, DEBIAN, Link, image


def found(**files: bytes) -> Distro | None:
    return detect({name.replace("__", "/"): raw for name, raw in files.items()}.get)


@pytest.mark.parametrize(
    ("distro", "ecosystem"),
    [
        (Distro("debian", "12"), "Debian:12"),
        (Distro("debian", "12.5"), "Debian:12"),
        (Distro("debian", ""), "Debian:unstable"),
        (Distro("ubuntu", "22.04"), "Ubuntu:22.04:LTS"),
        (Distro("ubuntu", "23.04"), "Ubuntu:23.04"),
        (Distro("ubuntu", "25.10"), "Ubuntu:25.10"),
        (Distro("alpine", "3.20.3"), "Alpine:v3.20"),
        (Distro("alpine", "3.21_alpha20240923"), "Alpine:edge"),
        (Distro("wolfi", "20230201"), "Wolfi"),
        (Distro("raspbian", "12", like=("debian",)), "raspbian:12"),
    ],
)
def test_the_ecosystem_is_named_as_osv_names_it(distro: Distro, ecosystem: str) -> None:
    assert distro.ecosystem == ecosystem


def test_a_derivative_belongs_to_the_family_of_its_parent() -> None:
    assert Distro("raspbian", "12", like=("debian",)).family == "dpkg"
    assert Distro("unheard-of", "1").family == ""


def test_os_release_is_found_through_a_link_and_in_its_second_place() -> None:
    linked = image({"usr/lib/os-release": DEBIAN, "etc/os-release": Link("../usr/lib/os-release")})
    second = image({"usr/lib/os-release": DEBIAN})
    outside = image({"etc/os-release": Link("../../../../../../etc/passwd")})
    assert detect(linked.fs.read) == Distro("debian", "12", "Debian GNU/Linux 12 (bookworm)", path="etc/os-release")
    assert str(detect(second.fs.read)) == "Debian GNU/Linux 12 (bookworm)"
    assert detect(outside.fs.read) is None


def test_older_files_are_read_where_os_release_is_missing() -> None:
    assert found(etc__alpine_release=b"") is None
    assert detect({"etc/alpine-release": b"3.20.3\n"}.get) == Distro(
        "alpine", "3.20.3", "Alpine Linux 3.20.3", path="etc/alpine-release"
    )
    debian = detect({"etc/debian_version": b"12.5\n"}.get)
    testing = detect({"etc/debian_version": b"trixie/sid\n"}.get)
    assert debian is not None and debian.ecosystem == "Debian:12"
    assert testing is not None and (testing.id, testing.version_id) == ("debian", "")


def test_no_file_means_no_distribution() -> None:
    assert found() is None


def test_quotes_are_undone_and_nothing_is_expanded() -> None:
    fields = parse_os_release(b'ID=\'debian\'\nPRETTY_NAME="a \\"b\\" $(id) `id`"\n# X=1\nlower=no\nVERSION_ID=12 \n')
    assert fields == {"ID": "debian", "PRETTY_NAME": 'a "b" $(id) `id`', "VERSION_ID": "12"}


@pytest.mark.parametrize("raw", [b"ID=../../etc\n", b"ID=\n", b"\x00" * 100, b"ID=" + b"a" * 100_000])
def test_a_hostile_os_release_names_nothing(raw: bytes) -> None:
    assert detect({"etc/os-release": raw}.get) is None


def test_support_dates_follow_the_release_number() -> None:
    table = SupportTable.shipped()
    debian, alpine = table.release(Distro("debian", "12")), table.release(Distro("alpine", "3.20.3"))
    assert debian is not None and alpine is not None
    assert debian.last_day() == date(2028, 6, 30)
    assert debian.last_day(long_term=False) == date(2026, 7, 11)
    assert alpine.last_day() == date(2026, 4, 1)


def test_paid_extensions_do_not_count_as_support() -> None:
    ubuntu = SupportTable.shipped().release(Distro("ubuntu", "20.04"))
    assert ubuntu is not None and ubuntu.last_day().year == 2025


def test_an_unknown_release_has_no_date() -> None:
    table = SupportTable.shipped()
    assert table.release(Distro("debian", "99")) is None
    assert table.release(Distro("debian", "")) is None
    assert table.release(Distro("alpine", "3.21_alpha20240923")) is None
    assert not table.knows(Distro("hannah-montana", "1"))


def test_the_image_of_alpine_is_recognised() -> None:
    alpine = detect(image({"etc/os-release": ALPINE}).fs.read)
    assert alpine is not None and alpine.ecosystem == "Alpine:v3.20"


@pytest.mark.parametrize(
    ("release", "ecosystem"),
    [
        ('ID="almalinux"\nVERSION_ID="9.4"\n', "AlmaLinux:9"),
        ('ID="rocky"\nVERSION_ID="8.10"\n', "Rocky Linux:8"),
        ('ID="rhel"\nVERSION_ID="9.4"\n', "Red Hat:enterprise_linux:9"),
        ('ID="sles"\nPRETTY_NAME="SUSE Linux Enterprise Server 15 SP5"\n', "SUSE:Linux Enterprise Server 15 SP5"),
        ('ID="opensuse-leap"\nVERSION_ID="15.6"\nPRETTY_NAME="openSUSE Leap 15.6"\n', "openSUSE:Leap 15.6"),
        ('ID="opensuse-tumbleweed"\nVERSION_ID="20261101"\n', "openSUSE:Tumbleweed"),
        ("ID=mageia\nVERSION_ID=9\n", "Mageia:9"),
        ('ID=photon\nVERSION_ID="5.0"\n', "Photon OS:5.0"),
        ('ID=azurelinux\nVERSION_ID="3.0"\n', "Azure Linux:3"),
        ('ID="openEuler"\nVERSION_ID="24.03"\nPRETTY_NAME="openEuler 24.03 (LTS-SP1)"\n', "openEuler:24.03-LTS-SP1"),
        ("ID=fedora\nVERSION_ID=42\n", "fedora:42"),
        ('ID="amzn"\nVERSION_ID="2023"\n', "amzn:2023"),
        ("ID=minimos\nVERSION_ID=20250101\n", "MinimOS"),
    ],
)  # fmt: skip
def test_other_distributions_have_the_names_that_osv_gives_them(release: str, ecosystem: str) -> None:
    found = detect({"etc/os-release": release.encode()}.get)
    assert found is not None and found.ecosystem == ecosystem
    assert found.family == ("apk" if found.id == "minimos" else "rpm")


def test_releases_that_had_no_os_release_are_known_by_their_own_files() -> None:
    centos = detect({"etc/redhat-release": b"CentOS release 6.10 (Final)\n"}.get)
    assert centos == Distro("centos", "6.10", "CentOS release 6.10 (Final)", path="etc/redhat-release")
    rhel = detect({"etc/redhat-release": b"Red Hat Enterprise Linux Server release 6.9 (Santiago)\n"}.get)
    assert rhel is not None and rhel.ecosystem == "Red Hat:enterprise_linux:6"
    lsb = b'DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=12.04\nDISTRIB_DESCRIPTION="Ubuntu 12.04.5 LTS"\n'
    ubuntu = detect({"etc/lsb-release": lsb}.get)
    assert ubuntu is not None and ubuntu.ecosystem == "Ubuntu:12.04:LTS"
    assert detect({"etc/redhat-release": b"\0\0" * 300, "etc/lsb-release": b"DISTRIB_ID=\n"}.get) is None
