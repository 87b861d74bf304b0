from hypothesis import given, settings
from hypothesis import strategies as st

from customhouse.catalogue import dpkg
from tests.catalogue.images import stanza


def test_a_package_without_a_source_field_is_its_own_source() -> None:
    found, problems = dpkg.parse_status(stanza("bash", "5.2.15-2+b2"))
    assert not problems
    assert (found[0].source_name, found[0].source_version) == ("bash", "5.2.15-2+b2")


def test_the_source_field_gives_name_and_version() -> None:
    raw = stanza("bash", "5.2.15-2+b2", source="bash-src (5.2.15-2)") + stanza("libssl3", "3.0.11-1", source="openssl")
    found, _ = dpkg.parse_status(raw)
    assert (found[0].source_name, found[0].source_version) == ("bash-src", "5.2.15-2")
    assert (found[1].source_name, found[1].source_version) == ("openssl", "3.0.11-1")


def test_removed_packages_are_not_installed_and_half_configured_ones_are() -> None:
    raw = (
        stanza("gone", "1", state="deinstall ok config-files")
        + stanza("never", "1", state="unknown ok not-installed")
        + stanza("half", "1", state="install ok half-configured")
        + stanza("held", "1", state="hold ok installed")
    )
    found, problems = dpkg.parse_status(raw)
    assert [each.name for each in found] == ["half", "held"]
    assert not problems


def test_a_stanza_of_distroless_without_status_counts() -> None:
    found, _ = dpkg.parse_status(b"Package: tzdata\nVersion: 2024a-0+deb12u1\nArchitecture: all\n")
    assert [each.name for each in found] == ["tzdata"]


def test_lines_of_a_description_are_no_fields() -> None:
    raw = b"Package: a\nVersion: 1\nDescription: x\n Version: 9\n Package: b\n\n"
    found, _ = dpkg.parse_status(raw)
    assert [(each.name, each.version) for each in found] == [("a", "1")]


def test_broken_stanzas_are_problems_and_the_others_are_read() -> None:
    raw = stanza("good", "1") + b"Package: bad\n\n" + b"Version: 1\n\n" + stanza("fine", "2")
    found, problems = dpkg.parse_status(raw)
    assert [each.name for each in found] == ["good", "fine"]
    assert len(problems) == 2


def test_bytes_that_are_no_database_are_a_problem() -> None:
    found, problems = dpkg.parse_status(b"\x7fELF\x00\xff\xfe" * 100)
    assert not found and problems


def test_an_empty_database_is_no_problem() -> None:
    assert dpkg.parse_status(b"\n") == ([], [])


def test_windows_line_ends_are_read() -> None:
    found, _ = dpkg.parse_status(b"Package: a\r\nVersion: 1\r\n\r\nPackage: b\r\nVersion: 2\r\n")
    assert [each.version for each in found] == ["1", "2"]


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=400), st.text("PackageVrsion: 1\n\r()-:", max_size=300).map(str.encode)))
def test_no_bytes_raise(raw: bytes) -> None:
    found, _ = dpkg.parse_status(raw)
    assert all(each.name and each.version for each in found)


def test_lists_of_files_lose_the_leading_slash() -> None:
    assert list(dpkg.parse_list(b"/.\n/usr\n/usr/bin/x y\nrelative\n")) == ["usr", "usr/bin/x y"]
    assert list(dpkg.parse_md5sums(b"d41d8cd98f00b204e9800998ecf8427e  usr/share/doc/x\n")) == ["usr/share/doc/x"]
