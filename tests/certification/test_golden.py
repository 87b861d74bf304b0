"""Whole images end as their golden files say: `python -m tests.certification.test_golden` writes those anew."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from customhouse.certification.check import Check, discover
from customhouse.certification.findings import Outcome
from customhouse.certification.policy import Policy
from customhouse.certification.runner import run
from customhouse.testing.images import BuiltImage

from .golden_images import alpine_like, awful, scratch
from .subjects import subject

FOLDER = Path(__file__).parent / "golden"
STATIC = ("MAN", "TAR", "CFG", "HIS", "LAY", "FS", "PKG")
IMAGES: dict[str, tuple[Callable[[], BuiltImage], str]] = {
    "awful": (awful, "latest"),
    "alpine-like": (alpine_like, "1.4.2"),
    "scratch": (scratch, "1.4.2"),
}
# A size that fails takes minutes to build; a health-check is either missing or wrong.
NOT_AWFUL = {"MAN-SIZE", "CFG-HEALTH"}


def static() -> list[Check]:
    return [check for check in discover() if check.id.split("-")[0] in STATIC]


def results(name: str) -> list[list[str]]:
    """[check, outcome, severity, what it is about], in order."""
    build, tag = IMAGES[name]
    checks = static()
    found = run(checks, subject(build(), *checks, tag=tag), Policy.default())
    assert all(item.outcome is not Outcome.ERROR for item in found), found
    rows = []
    for item in found:
        about = next((str(item.evidence[key]) for key in ("purl", "path", "key") if key in item.evidence), item.message)
        fails = item.outcome is Outcome.FAIL
        rows.append([item.check, item.outcome.value, item.severity.value if fails else "", about if fails else ""])
    return sorted(rows)


def text(rows: list[list[str]]) -> str:
    return "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n"


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_ends_as_its_golden_file_says(name: str) -> None:
    assert results(name) == json.loads((FOLDER / f"{name}.json").read_text())


def test_the_awful_image_fails_every_static_check_but_those_that_are_named() -> None:
    failed = {check for check, outcome, _, _ in results("awful") if outcome == "fail"}
    assert {check.id for check in static()} - failed == NOT_AWFUL


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in IMAGES:
        (FOLDER / f"{name}.json").write_text(text(results(name)))
