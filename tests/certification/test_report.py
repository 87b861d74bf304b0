"""The report of an examination: one value, and the forms that people and programs read."""

import html.parser
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from customhouse.advisories.matching import AdvisoryReport
from customhouse.certification.check import discover
from customhouse.certification.examination import Examiner, Material
from customhouse.certification.policy import Policy
from customhouse.certification.report.html import html as page
from customhouse.certification.report.html import size
from customhouse.certification.report.model import Report, actions, describe
from customhouse.certification.report.sarif import sarif
from customhouse.certification.verdict import judge
from customhouse.certification.waiver import Waiver
from customhouse.sandbox.runner import AbsentEngine
from customhouse.testing.images import BuiltImage, File, image, index, layer, minimal_server_image, server_config

NOW = datetime(2026, 11, 24, tzinfo=UTC)
CHECKS = discover()
POLICY = Policy.default().bind(CHECKS)
NASTY = "</code><script>alert(1)</script>&\"'"


def report(built: BuiltImage, *waivers: Waiver) -> Report:
    examiner = Examiner(CHECKS, POLICY, lambda packages: AdvisoryReport(), AbsentEngine(), lambda: NOW)
    material = Material("x", built.content, built.manifest_raw, built.media_type, "web.tar", "1.0.0")
    platforms = []
    found, inputs = examiner.content(material, lambda subject: platforms.append(describe(subject)))
    run, more = examiner.run(material, found, inputs)
    verdict = judge([*found, *run], POLICY, waivers, NOW)
    return Report(
        "web.tar", str(built.digest), NOW.isoformat(), "0", POLICY.name, str(POLICY.digest), verdict,
        actions(verdict, POLICY), tuple(platforms), more["runs"],
    )


def awful() -> BuiltImage:
    """Two layers, the second of which replaces and hides, and names that would break a page."""
    named = f"srv/{NASTY.replace('/', '')}"
    below = layer({"etc/a": b"x" * 3000, named: File(b"y" * 10, mode=0o4755), "srv/b": b"z" * 500})
    above = layer({"etc/a": b"x" * 100, "srv/.wh.b": b""})
    return image([below, above], config=server_config(User="0", Healthcheck=None), architecture="amd64")


@pytest.fixture(scope="module")
def bad() -> Report:
    return report(awful())


def test_layers_are_told_with_what_is_lost_in_them(bad: Report) -> None:
    (platform,) = bad.platforms
    assert platform.platform == "linux/amd64" and 0 < platform.efficiency < 1
    assert [(each.files, each.wasted) for each in platform.layers] == [(3, 3500), (1, 0)]
    assert [(each.path, each.size, each.times) for each in platform.waste] == [("etc/a", 3100, 2), ("srv/b", 500, 2)]


def test_every_platform_of_an_index_is_told() -> None:
    parts = [image([layer({"a": b"x"})], architecture=name, config=server_config()) for name in ("amd64", "arm64")]
    assert [each.platform for each in report(index(parts)).platforms] == ["linux/amd64", "linux/arm64"]


@pytest.mark.parametrize(
    "form", [lambda one: json.dumps(one.as_json()), lambda one: json.dumps(sarif(one, CHECKS)), page]
)
def test_the_same_examination_is_the_same_bytes(form: Callable[[Report], str]) -> None:
    assert form(report(awful())) == form(report(awful()))


class Page(html.parser.HTMLParser):
    """What a browser would find: tags that are open, texts, attributes."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "br", "rect"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag != "rect":
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_stands_alone_and_runs_nothing(bad: Report) -> None:
    source = page(bad)
    found = Page(source)
    assert found.open == [], "every tag is closed"
    tags = {tag for tag, _ in found.seen}
    assert not tags & {"script", "link", "img", "iframe", "object", "form"} and "svg" in tags
    assert not [attrs for _, attrs in found.seen if {"src", "href", "onclick", "onload"} & attrs.keys()]
    assert "default-src 'none'" in source
    assert NASTY.replace("/", "") in found.text, "a hostile name is shown as text"


def test_the_page_says_verdict_grade_findings_with_remedies_and_layers(bad: Report) -> None:
    text = " ".join(Page(page(bad)).text.split())
    assert bad.verdict.value == "refused" and "refused," in text and "Blocks (" in text
    failing = [item for item in bad.verdict.findings if item.outcome.value == "fail"]
    assert failing and all(item.message in text and item.remedy in text for item in failing if item.remedy)
    assert "CFG-USER" in text and "Written more than once" in text and "3.5 kB lost" in text


def test_the_grade_s_future_is_on_the_page_of_a_good_image() -> None:
    good = report(minimal_server_image())
    text = Page(page(good)).text
    assert all(step.on.date().isoformat() in text for step in good.verdict.graded.steps) and good.verdict.graded.steps


def run_of(one: Report) -> dict[str, Any]:
    log: Any = sarif(one, CHECKS)
    assert log["version"] == "2.1.0" and len(log["runs"]) == 1
    run: dict[str, Any] = log["runs"][0]
    return run


def test_sarif_has_a_result_for_each_failure_with_the_level_of_the_policy(bad: Report) -> None:
    run = run_of(bad)
    rules = run["tool"]["driver"]["rules"]
    failing = [item for item in bad.verdict.findings if item.outcome.value == "fail"]
    assert len(run["results"]) == len(failing) > 3
    for item, result in zip(failing, run["results"], strict=True):
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"] == item.check
        assert result["partialFingerprints"] == {"customhouse/v1": item.fingerprint}
        wanted = {"block": "error", "review": "warning", "note": "note"}[bad.actions[item.fingerprint]]
        assert result["level"] == wanted and result["message"]["text"] == item.message
        assert result["locations"][0]["logicalLocations"] or "physicalLocation" in result["locations"][0]


def test_sarif_does_not_take_silence_for_a_pass(bad: Report) -> None:
    told = run_of(bad)["invocations"][0]["toolExecutionNotifications"]
    silent = [item for item in bad.verdict.findings if item.outcome.value in ("not_evaluable", "error")]
    assert len(told) == len(silent) > 0 and "RUN-START gave no answer" in json.dumps(told)


def test_paths_in_sarif_are_uris_within_the_image(bad: Report) -> None:
    found = [
        place["physicalLocation"]["artifactLocation"]
        for result in run_of(bad)["results"] for place in result["locations"] if "physicalLocation" in place
    ]  # fmt: skip
    assert found and all(each["uriBaseId"] == "IMAGE" and not set(each["uri"]) & set('<>" ') for each in found)
    assert all(not each["uri"].startswith("/") for each in found)


def test_what_is_waived_is_suppressed_and_stands_apart() -> None:
    waiver = Waiver("w-1", "staging/acme/web", "known", "carl", datetime(2027, 1, 1, tzinfo=UTC), check="CFG-HEALTH")
    one = report(minimal_server_image(Healthcheck=None), waiver)
    (result,) = [each for each in run_of(one)["results"] if each["ruleId"] == "CFG-HEALTH"]
    assert result["suppressions"] == [{"kind": "external", "justification": "waiver w-1"}]
    assert "Waived (" in Page(page(one)).text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_500_000, "1.5 MB"), (10**15, "1000.0 TB")]
)
def test_sizes_are_for_people(count: int, text: str) -> None:
    assert size(count) == text
