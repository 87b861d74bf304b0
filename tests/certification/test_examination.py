"""The examiner: every platform, every check, what a verdict is bound to, and what is never started."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest

from customhouse.advisories.matching import AdvisoryReport
from customhouse.catalogue.package import Package
from customhouse.certification.check import Check, Failure
from customhouse.certification.examination import UNSAFE_TO_START, Examiner, Material
from customhouse.certification.findings import Finding, Outcome
from customhouse.oci.digest import Digest
from customhouse.sandbox.runner import AbsentEngine, ImageSource, RunProfile, RunRecord
from customhouse.sandbox.setup import MEDIA_TYPE, TESTS_MEDIA_TYPE, Setup
from customhouse.testing.images import BuiltImage, File, index, layer, tar_layer
from tests.rooms import CHECKS, POLICY, image

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
BOUND = POLICY.bind(CHECKS)


@dataclass
class Engine:
    """A container engine on paper: it writes down what it is given and answers as it is told."""

    answer: RunRecord = RunRecord(outcome="failed", reason="it exits at once")
    given: list[tuple[ImageSource, RunProfile]] = field(default_factory=list)
    setups: list[Setup | None] = field(default_factory=list)

    def run(self, image: ImageSource, profile: RunProfile, setup: Setup | None = None) -> RunRecord:
        self.given.append((image, profile))
        self.setups.append(setup)
        return self.answer

    def cleanup(self, now: datetime | None = None) -> int:
        return 0


@dataclass
class Advisories:
    """A new snapshot at each question, as if an import came between two platforms."""

    asked: list[int] = field(default_factory=list)

    def __call__(self, packages: Sequence[Package]) -> AdvisoryReport:
        self.asked.append(len(packages))
        return AdvisoryReport(snapshot=f"sha256:{len(self.asked)}")


def examiner(engine: Engine | None = None, checks: Sequence[Check] = CHECKS) -> Examiner:
    return Examiner(checks, BOUND, Advisories(), engine or AbsentEngine(), lambda: NOW)


def material(built: BuiltImage) -> Material:
    return Material("s1", built.content, built.manifest_raw, built.media_type, "hub/staging/acme/web:1", "1")


def arm(text: str = "2") -> BuiltImage:
    return image(text, User="1000")


def outcomes(found: Sequence[Finding], check: str) -> list[str]:
    return [item.outcome.value for item in found if item.check == check]


def test_every_check_answers_once_for_an_image_and_the_inputs_name_them() -> None:
    content, inputs = examiner().content(material(image()))
    run, run_inputs = examiner().run(material(image()), content, inputs)
    assert {item.check for item in content} == set(inputs["checks"])  # type: ignore[arg-type]
    assert {item.check for item in run} == set(run_inputs["checks"])  # type: ignore[arg-type]
    assert {item.check for item in [*content, *run]} == BOUND.required
    assert not {item.check for item in content} & {item.check for item in run}


def test_each_platform_of_an_index_keeps_the_snapshot_it_was_matched_with() -> None:
    members = [image("1"), arm()]
    _, inputs = examiner().content(material(index(members)))
    assert inputs["advisories"] == {str(members[0].digest): "sha256:1", str(members[1].digest): "sha256:2"}


def test_each_platform_answers_every_check() -> None:
    both = index([image("1"), arm()], platforms=("linux/amd64", "linux/amd64"))
    content, _ = examiner().content(material(both))
    assert outcomes(content, "MAN-DIGEST") == ["pass", "pass"]


def test_an_image_is_run_with_the_publishers_own_config_and_known_sizes() -> None:
    engine, built = Engine(), image()
    examine = examiner(engine)
    content, inputs = examine.content(material(built))
    found, said = examine.run(material(built), content, inputs)
    source, _ = engine.given[0]
    assert source.config == built.config_raw
    assert [item.size for item in source.layers] == [len(item.tar) for item in built.layers]
    assert outcomes(found, "RUN-START") == ["fail"]
    assert said["runs"] == [engine.answer.to_json()]


def test_without_the_sizes_it_is_run_all_the_same() -> None:
    engine = Engine()
    examiner(engine).run(material(image()), [], {})
    assert [item.size for item in engine.given[0][0].layers] == [None]


@pytest.mark.parametrize("check", sorted(UNSAFE_TO_START))
@pytest.mark.parametrize("outcome", [Outcome.FAIL, Outcome.ERROR, Outcome.NOT_EVALUABLE])
def test_content_that_is_not_what_it_claims_is_never_started(check: str, outcome: Outcome) -> None:
    engine = Engine()
    bad = Finding(check, outcome, CHECKS[0].severity, "no")
    found, _ = examiner(engine).run(material(image()), [bad], {})
    assert engine.given == []
    assert outcomes(found, "RUN-START") == ["not_evaluable"]
    assert all(check in item.message for item in found if item.outcome is not Outcome.NOT_APPLICABLE)


def test_what_a_publisher_attached_is_part_of_the_run_and_of_the_inputs() -> None:
    engine, other = Engine(), image("db")
    attached = {
        MEDIA_TYPE: f"version = 1\nenvironment = {{A = 'b'}}\n[[companion]]\nname = 'db'\nimage = 'a/b@{other.digest}'"
        .encode(),
        TESTS_MEDIA_TYPE: b"schemaVersion: 2.0.0\ncommandTests: [{name: t, command: x}]",
    }  # fmt: skip
    given = replace(material(image()), attached=attached, companion=lambda companion: material(other))
    found, said = examiner(engine).run(given, [], {})
    source, setup = engine.given[0][0], engine.setups[0]
    assert setup is not None
    assert setup.environment == {"A": "b"}
    assert [command.argv for command in setup.commands] == [("x",)]
    assert source.beside["db"].config == other.config_raw
    assert said["attached"] == {name: str(Digest.of(raw)) for name, raw in attached.items()}
    assert outcomes(found, "RUN-CST") == ["not_evaluable"]


@pytest.mark.parametrize("raw", [b"version = 2", b"version = 1\n[[companion]]\nname = 'db'\nimage = 'a/b@%s'"])
def test_a_profile_that_cannot_be_used_fails_the_run_and_is_no_way_around_it(raw: bytes) -> None:
    engine = Engine()
    raw = raw.replace(b"%s", str(image().digest).encode())
    found, _ = examiner(engine).run(replace(material(image()), attached={MEDIA_TYPE: raw}), [], {})
    assert engine.given == []
    assert outcomes(found, "RUN-START") == ["fail"]


def test_structure_tests_look_into_files_of_the_image() -> None:
    tests = b"schemaVersion: 2.0.0\nfileContentTests: [{name: t, path: /etc/passwd, expectedContents: [nosuch]}]"
    found, inputs = examiner().content(replace(material(image()), attached={TESTS_MEDIA_TYPE: tests}))
    assert outcomes(found, "CST-USER") == ["fail"]
    assert TESTS_MEDIA_TYPE in inputs["attached"]  # type: ignore[operator]


def test_one_unsafe_platform_keeps_all_of_them_from_being_started() -> None:
    engine = Engine()
    hostile = image("x", more=(layer({"../../etc/cron.d/x": File(b"x")}, parents=False),))
    both = material(index([image("1"), hostile], platforms=("linux/amd64", "linux/amd64")))
    content, inputs = examiner(engine).content(both)
    assert sorted(outcomes(content, "TAR-SAFE")) == ["fail", "pass"]
    examiner(engine).run(both, content, inputs)
    assert engine.given == []


def test_a_layer_that_cannot_be_unpacked_passes_nothing_by_its_absence() -> None:
    broken = image("x", more=(tar_layer(b"\x01" * 2048),))
    content, _ = examiner().content(material(broken))
    assert outcomes(content, "MAN-DIGEST") == ["fail"]
    reading = [item for item in content if item.check.startswith(("FS-", "PKG-", "VUL-"))]
    assert reading and not [item.check for item in reading if item.outcome is Outcome.PASS]


def test_a_check_that_breaks_is_an_error_and_the_others_answer() -> None:
    def broken(_subject: object, _params: object) -> list[Failure]:
        raise ZeroDivisionError

    other = Check("ACME-X", "t", "w", "r", CHECKS[0].severity, broken)  # type: ignore[arg-type]
    content, _ = examiner(checks=[other, *CHECKS]).content(material(image()))
    assert outcomes(content, "ACME-X") == ["error"] and outcomes(content, "MAN-DIGEST") == ["pass"]


def test_content_is_asked_for_by_digest_only() -> None:
    built, asked = image(), []

    def content(digest: Digest) -> object:
        asked.append(digest)
        return built.content(digest)

    thing = Material("s1", content, built.manifest_raw, built.media_type, "", "1")  # type: ignore[arg-type]
    examiner().content(thing)
    assert set(asked) == set(built.blobs)
