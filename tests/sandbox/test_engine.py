from datetime import UTC, datetime

import pytest

from customhouse.oci.config import ImageConfig
from customhouse.sandbox.container_runner import words_of
from customhouse.sandbox.engine import is_engines_own
from customhouse.sandbox.runtime import EngineFacts, Marks, in_time, repository
from tests.sandbox.boxes import box

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "message",
    [
        "write /var/lib/docker/tmp: no space left on device",
        "failed to create shim task: cgroups: cannot find cgroup mount destination: unknown",
        "error setting rlimit type 7: operation not permitted",
    ],
)
def test_the_engines_own_trouble_is_not_the_images(message):
    assert is_engines_own(500, message)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, 'exec: "/bin/nothere": stat /bin/nothere: no such file or directory'),
        (500, "Cannot mkdir: /bin/busybox is not a directory"),
        (500, "something that nobody has seen before"),
        (400, "no space left on device"),
    ],
)
def test_in_doubt_a_refusal_is_the_images(status, message):
    assert not is_engines_own(status, message)


def test_an_image_cannot_choose_its_words_to_look_like_the_engines_trouble():
    config = ImageConfig.parse(box(["sh"], busybox=False, WorkingDir="/no space left on device").config)
    assert not is_engines_own(500, "Cannot mkdir: /no space left on device: read-only", words_of(config))


def test_only_the_engines_own_platform_is_run():
    facts = EngineFacts("docker", "linux", "amd64", True)
    assert facts.runs("linux", "amd64")
    assert not facts.runs("linux", "arm64")
    assert not facts.runs("windows", "amd64")


def test_a_run_is_found_again_by_its_marks():
    marks = Marks("hub-a", "s1", NOW)
    assert marks.image == f"customhouse-run/hub-a/s1:{int(NOW.timestamp())}"
    assert marks.labels["customhouse.submission"] == "s1"
    assert marks.image.startswith(repository("hub-a"))
    assert not marks.image.startswith(repository("hub"))


def test_leftovers_are_over_when_their_time_has_passed():
    earlier, later = int(NOW.timestamp()) - 1, int(NOW.timestamp()) + 1
    assert in_time(NOW)(earlier)
    assert not in_time(NOW)(later)
    assert in_time(None)(later)
