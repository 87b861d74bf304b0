"""A subject from a built image, and what one check says of it."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from customhouse.advisories.matching import AdvisoryReport
from customhouse.catalogue.packages import READERS, WANTS, Catalogue, catalogue
from customhouse.certification.check import Check, Subject, wants
from customhouse.certification.findings import JSON, Finding, Outcome
from customhouse.certification.policy import Policy, Rule
from customhouse.certification.runner import run
from customhouse.oci.image import load_image
from customhouse.oci.manifest import parse_manifest
from customhouse.oci.wants import Budget
from customhouse.testing.images import BuiltImage

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def subject(
    built: BuiltImage,
    *checks: Check,
    tag: str = "1",
    index: BuiltImage | None = None,
    budget: Budget | None = None,
) -> Subject:
    needed = wants(checks, *WANTS, readers=READERS)
    image = load_image(built.content, built.manifest_raw, needed, budget, media_type=built.media_type, tag=tag)
    listing = parse_manifest(index.manifest_raw, index.media_type) if index else None
    packages: Catalogue = catalogue(image)
    return Subject(image, tag, listing, packages, AdvisoryReport(), None, NOW)


def findings(
    check: Check,
    built: BuiltImage,
    *,
    tag: str = "1",
    index: BuiltImage | None = None,
    budget: Budget | None = None,
    params: Mapping[str, JSON] | None = None,
) -> list[Finding]:
    policy = _with(check, params) if params else Policy.default()
    return run([check], subject(built, check, tag=tag, index=index, budget=budget), policy)


def failed(found: list[Finding]) -> list[Finding]:
    """The failures; asserts that the check did not break."""
    assert all(item.outcome is not Outcome.ERROR for item in found), found
    return [item for item in found if item.outcome is Outcome.FAIL]


def outcomes(found: list[Finding]) -> set[str]:
    return {item.outcome.value for item in found}


def _with(check: Check, params: Mapping[str, JSON]) -> Policy:
    policy = Policy.default()
    return replace(policy, rules={**policy.rules, check.id: Rule(params=params)})
