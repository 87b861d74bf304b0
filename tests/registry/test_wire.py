"""Paths and headers of the registry, read without a server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from customhouse.errors import Invalid
from customhouse.oci import manifest as m
from customhouse.registry import wire
from customhouse.registry.wire import Span, Target


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/v2/", Target("base")),
        ("/v2", Target("base")),
        ("/v2/staging/acme/web/manifests/1", Target("manifest", "staging/acme/web", "1")),
        ("/v2/web/manifests/sha256:ab", Target("manifest", "web", "sha256:ab")),
        ("/v2/a/b/tags/list", Target("tags", "a/b")),
        ("/v2/a/b/blobs/uploads/", Target("uploads", "a/b")),
        ("/v2/a/b/blobs/uploads", Target("uploads", "a/b")),
        ("/v2/a/b/blobs/uploads/42", Target("upload", "a/b", "42")),
        ("/v2/a/b/blobs/sha256:ab", Target("blob", "a/b", "sha256:ab")),
        ("/v2/a/b/referrers/sha256:ab", Target("referrers", "a/b", "sha256:ab")),
        ("/v2/blobs/uploads/manifests/manifests/1", Target("manifest", "blobs/uploads/manifests", "1")),
        ("/v2/tags/list/tags/list", Target("tags", "tags/list")),
        ("/v2/a/_trust/tuf/root.json", None),
        ("/v2/manifests/1", None),
        ("/v2/a/manifests/", None),
        ("/v1/a/manifests/1", None),
        ("", None),
    ],
)
def test_a_path_is_read_from_its_right_end(path: str, target: Target | None) -> None:
    assert Target.parse(path) == target


@pytest.mark.parametrize(
    ("accept", "taken"),
    [
        ("", True), ("*/*", True), ("application/*", True), (m.OCI_MANIFEST, True),
        (f"{m.DOCKER_MANIFEST}, {m.OCI_MANIFEST}", True), (f"{m.OCI_MANIFEST};q=0.5", True),
        (m.DOCKER_MANIFEST, False), ("text/html", False), (f"{m.OCI_MANIFEST};q=0", False),
        (f"text/html, {m.OCI_MANIFEST.upper()}", True),
    ],
)  # fmt: skip
def test_an_accept_header_leaves_a_type_in_or_out(accept: str, taken: bool) -> None:
    assert wire.accepts(accept, m.OCI_MANIFEST) is taken


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-0", Span(0, 1)), ("bytes=2-", Span(2, 8)), ("bytes=-3", Span(7, 3)), ("bytes=-30", Span(0, 10)),
        ("bytes=5-100", Span(5, 5)), ("bytes=1-2,4-5", None), ("bytes=-", None),
        ("items=0-1", None), ("", None), ("bytes=a-b", None), ("bytes=" + "9" * 30 + "-", None),
    ],
)  # fmt: skip
def test_a_range_of_ten_bytes_is_one_run_or_everything(header: str, span: Span | None) -> None:
    assert wire.parse_range(header, 10) == span


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=5-4"])
def test_a_range_outside_the_content_cannot_be_satisfied(header: str) -> None:
    with pytest.raises(wire.RangeNotSatisfiable) as refused:
        wire.parse_range(header, 10)
    assert refused.value.size == 10


@given(st.text(max_size=30), st.integers(0, 100))
def test_no_range_leads_outside_the_content(header: str, size: int) -> None:
    for text in (header, f"bytes={header}"):
        try:
            span = wire.parse_range(text, size)
        except Invalid:
            continue
        assert span is None or (0 <= span.start <= span.last < size)


@pytest.mark.parametrize("text", ["0-9", "bytes=0-9", "bytes 0-9/10", "bytes 0-9/*"])
def test_a_chunk_is_read_in_every_form_that_clients_send(text: str) -> None:
    assert wire.parse_chunk(text) == Span(0, 10)


@pytest.mark.parametrize("text", ["", "9-0", "a-b", "0", "-1-2", "0-1-2", "0-" + "9" * 40])
def test_a_broken_chunk_range_is_refused(text: str) -> None:
    with pytest.raises(wire.InvalidContentRange):
        wire.parse_chunk(text)


def test_an_entity_tag_is_compared_weakly_and_in_a_list() -> None:
    assert wire.tag_matches('"a", W/"b"', '"b"') and wire.tag_matches("*", '"b"')
    assert not wire.tag_matches("", '"b"') and not wire.tag_matches('"bb"', '"b"')


@pytest.mark.parametrize("text", ["-1", "x", "", "1.5", "٣", "9" * 10])
def test_a_page_size_that_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(wire.InvalidPage):
        wire.parse_page(text, 10)


def test_a_page_is_never_larger_than_the_hub_allows() -> None:
    assert (wire.parse_page(None, 10), wire.parse_page("3", 10), wire.parse_page("99", 10)) == (10, 3, 10)
