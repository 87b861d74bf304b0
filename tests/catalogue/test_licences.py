"""Licences: what SPDX calls what people declare."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from customhouse.catalogue.licences import MOST_CHOICES, alternatives, expression, together

KNOWN = [
    ("MIT", "MIT"),
    ("Expat", "MIT"),
    ("GPL-2.0+", "GPL-2.0-or-later"),
    ("GPL-2", "GPL-2.0-only"),
    ("GPLv2+", "GPL-2.0-or-later"),
    ("GPL version 3 or later", "GPL-3.0-or-later"),
    ("LGPL-2.1", "LGPL-2.1-only"),
    ("mit or apache-2.0", "MIT OR Apache-2.0"),
    ("(MIT or GPL-3+) and ISC", "(MIT OR GPL-3.0-or-later) AND ISC"),
    ("Apache License, Version 2.0", "Apache-2.0"),
    ("GPL-2.0-only WITH Classpath-exception-2.0", "GPL-2.0-only WITH Classpath-exception-2.0"),
]


@pytest.mark.parametrize(("declared", "found"), KNOWN)
def test_a_declaration_is_read_as_spdx(declared: str, found: str) -> None:
    assert expression(declared) == found


@pytest.mark.parametrize("declared", ["", "BSD", "see LICENSE", "(MIT", "MIT,", "GPL-2+ with a twist", "x" * 600])
def test_what_is_not_known_is_not_guessed(declared: str) -> None:
    assert expression(declared) is None


def test_several_declarations_all_apply() -> None:
    assert together(["MIT OR ISC", "GPL-2", "weird", "GPL-2"]) == ("(MIT OR ISC) AND GPL-2.0-only", ("weird",))
    assert together([]) == (None, ())


def test_choices_are_counted_by_what_must_be_kept_together() -> None:
    assert alternatives("(MIT OR ISC) AND Zlib") == (frozenset({"ISC", "Zlib"}), frozenset({"MIT", "Zlib"}))
    names = ("ISC", "Zlib", "X11", "Ruby", "Vim", "curl", "FTL", "IJG", "HPND")
    many = " AND ".join(f"(MIT OR {name})" for name in names)
    assert MOST_CHOICES < 2**9 and len(alternatives(many)) <= MOST_CHOICES


@given(st.text(st.sampled_from("MITGPL-2.0+()andorwith ,/v3ISC\x00é"), max_size=120))
@settings(max_examples=150, deadline=None)
def test_no_text_breaks_the_reading(text: str) -> None:
    found = expression(text)
    assert found is None or (expression(found) == found and alternatives(found))
