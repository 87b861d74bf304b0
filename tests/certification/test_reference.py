"""The reference page of checks is what the checks say."""

from pathlib import Path

from customhouse.certification.check import discover
from customhouse.certification.policy import Policy
from customhouse.certification.reference import page

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "checks.md"


def test_the_page_is_up_to_date() -> None:
    written = PAGE.read_text(encoding="utf-8")
    assert written == page(discover(), Policy.default()), "run: make docs"


def test_every_check_has_a_row_and_a_section() -> None:
    written = page(discover(), Policy.default())
    for check in discover():
        assert f"\n## {check.id}\n" in written and f"| [{check.id}](#{check.id.lower()}) |" in written
        for name in check.params:
            assert f"| `{name}` |" in written
