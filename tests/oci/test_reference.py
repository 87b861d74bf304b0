"""References: read as every client reads them, refused where clients would differ."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from customhouse.errors import Invalid
from customhouse.oci.digest import Digest
from customhouse.oci.reference import InvalidReference, Reference, valid_repository, valid_tag

D = Digest.of(b"x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("localhost:5443/staging/acme/web:1", Reference("localhost:5443", "staging/acme/web", "1", None)),
        ("localhost/acme/web", Reference("localhost", "acme/web")),
        ("registry.vendor.example/app:1.2_3-x", Reference("registry.vendor.example", "app", "1.2_3-x")),
        ("acme/web:1", Reference(None, "acme/web", "1")),
        ("web", Reference(None, "web")),
        (f"acme/web@{D}", Reference(None, "acme/web", None, D)),
        (f"[::1]:5443/acme/web:1@{D}", Reference("[::1]:5443", "acme/web", "1", D)),
    ],
)
def test_a_reference_is_read_into_its_parts_and_written_as_it_was(text: str, expected: Reference) -> None:
    parsed = Reference.parse(text)
    assert parsed == expected
    assert str(parsed) == text


@pytest.mark.parametrize(
    "text",
    [
        "", "/web", "web/", "Acme/web", "acme//web", "acme/web:", "acme/web:-1", "acme/web:a b", "acme/../web",
        "acme/web@", "acme/web@sha256:abc", "-host.example/web", "host.example:port/web", "https://host.example/web",
        "acme/web:" + "1" * 129, "a/" * 128 + "b", "web\n", "_a", "a._b",
    ],
)  # fmt: skip
def test_a_wrong_reference_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        Reference.parse(text)
    assert refused.value.message and refused.value.hint


def test_the_name_without_tag_is_what_notary_calls_the_gun() -> None:
    assert Reference.parse("localhost:5443/acme/web:1").name == "localhost:5443/acme/web"


@given(st.text(max_size=40))
def test_no_text_makes_the_parser_fail_in_another_way(text: str) -> None:
    try:
        parsed = Reference.parse(text)
    except Invalid:
        return
    assert str(parsed) == text


def test_a_long_run_of_separators_is_judged_at_once() -> None:
    assert not valid_repository("a" + "-" * 100_000)
    assert not valid_repository("a" + "-" * 250 + "/")
    assert not valid_tag("a" * 100_000)


def test_the_error_keeps_what_was_given() -> None:
    with pytest.raises(InvalidReference) as refused:
        Reference.parse("UPPER")
    assert refused.value.text == "UPPER"
