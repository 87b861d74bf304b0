"""Several publishers at once, real ones, over TLS: each race has one winner, nobody's signature is lost."""

import base64
import json
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from customhouse.db import Database
from customhouse.oci.digest import Digest
from customhouse.transport import Tls, Transport
from customhouse.trust.key_directory import KeyDirectory
from customhouse.trust.names import RELEASES, SNAPSHOT, TARGETS, TIMESTAMP, Gun
from customhouse.trust.publish import TrustPublisher
from customhouse.trust.verify import verify_repository
from tests.trust.serving import Served, serving

PASSPHRASE = "a passphrase of everybody"


@pytest.fixture
def served(database: Database, tmp_path: Path) -> Iterator[Served]:
    with serving(database, tmp_path) as running:
        yield running


class Publisher:
    """Somebody with a home of his own, in which the keys of the repository are."""

    def __init__(self, served: Served, home: Path) -> None:
        self.served, self.home, self.gun = served, home, Gun(f"{served.host}/staging/acme/app")
        keys = KeyDirectory(home / "docker" / "trust", lambda role, key, new: PASSPHRASE.encode())
        transport = Transport(f"https://{served.host}", tls=Tls(ca_file=served.ca))
        self.keys, self.ours = keys, TrustPublisher(transport, keys, lambda: datetime.now(UTC))

    def run(self, *words: str) -> tuple[int, str]:
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(self.home), "DOCKER_CONFIG": str(self.home / "docker"),
            "NOTARY_AUTH": base64.b64encode(b"alice:secret").decode(), "DOCKER_CONTENT_TRUST": "1",
            **{f"NOTARY_{role}_PASSPHRASE": PASSPHRASE for role in ("ROOT", "TARGETS", "SNAPSHOT", "DELEGATION")},
            **{f"DOCKER_CONTENT_TRUST_{kind}_PASSPHRASE": PASSPHRASE for kind in ("ROOT", "REPOSITORY")},
        }  # fmt: skip
        done = subprocess.run(
            words, env=environment, cwd=self.home, capture_output=True, text=True, timeout=100, check=False
        )
        return done.returncode, done.stdout + done.stderr

    def by_notary(self, tag: str) -> tuple[int, str]:
        base = ["notary", "-s", f"https://{self.served.host}", "--tlscacert", str(self.served.ca)]
        folder = str(self.home / "docker" / "trust")
        digest = Digest.of(tag.encode()).hex
        return self.run(*base, "-d", folder, "addhash", "-p", self.gun, tag, "7", "--sha256", digest)

    def by_docker(self, tag: str) -> tuple[int, str]:
        """Takes a tag away: the one change that docker signs without an engine or another key."""
        return self.run("docker", "trust", "revoke", "--yes", f"{self.gun}:{tag}")

    def by_ours(self, tag: str) -> tuple[int, str]:
        self.ours.sign_tag(self.gun, tag, Digest.of(tag.encode()), 7)
        return 0, ""


@pytest.fixture
def people(served: Served, tmp_path: Path) -> list[Publisher]:
    """Four who hold the same keys, and a repository with the tags a, b, c and d."""
    first = Publisher(served, tmp_path / "home0")
    first.ours.sign_tags(first.gun, {tag: (Digest.of(tag.encode()), 7) for tag in "abcd"})
    made = [first]
    for number in (1, 2, 3):
        subprocess.run(["cp", "-r", str(first.home), str(tmp_path / f"home{number}")], check=True)
        made.append(Publisher(served, tmp_path / f"home{number}"))
    return made


def at_once(*acts: Callable[[], tuple[int, str]]) -> list[tuple[int, str]]:
    with ThreadPoolExecutor(len(acts)) as pool:
        return [each.result() for each in [pool.submit(act) for act in acts]]


def assert_nothing_lost(served: Served, gun: Gun, tags: str, publishes: int) -> None:
    """Every version of every role is there, each once, and the whole verifies."""
    service = served.service
    found = verify_repository(
        service.repository_files(gun), service.root_versions(gun), gun=gun, enrolled=None, seen={},
        now=datetime.now(UTC),
    )  # fmt: skip
    assert set(found.tags) == set(tags.split())
    assert {role: found.versions[role] for role in (TARGETS, SNAPSHOT, TIMESTAMP)} == {
        TARGETS: publishes, SNAPSHOT: publishes, TIMESTAMP: publishes,
    }  # fmt: skip
    changes = service.changefeed(gun, None, 100)
    assert [change.version for change in changes] == list(range(1, publishes + 1))
    for role in (TARGETS, SNAPSHOT, TIMESTAMP):
        for version in range(1, publishes + 1):
            assert json.loads(service.by_version(gun, role, version).content)["signed"]["version"] == version
    assert RELEASES not in found.versions


@pytest.mark.checklist("9.race")
@pytest.mark.needs("notary")
def test_of_two_by_notary_one_is_told_to_run_again_and_then_succeeds(served: Served, people: list[Publisher]) -> None:
    served.meeting.of(2)
    acts = [lambda: people[0].by_notary("left"), lambda: people[1].by_notary("right")]
    outcomes = at_once(*acts)
    assert sorted(served.meeting.outcomes) == [200, 400]
    assert sorted(code for code, _ in outcomes) == [0, 1]
    loser = next(index for index, (code, _) in enumerate(outcomes) if code)
    assert "run the same command again" in outcomes[loser][1]
    assert acts[loser]()[0] == 0
    assert_nothing_lost(served, people[0].gun, "a b c d left right", 3)


@pytest.mark.needs("docker")
def test_of_two_by_docker_one_is_told_to_run_again_and_then_succeeds(served: Served, people: list[Publisher]) -> None:
    served.meeting.of(2)
    acts = [lambda: people[0].by_docker("a"), lambda: people[1].by_docker("b")]
    outcomes = at_once(*acts)
    assert sorted(served.meeting.outcomes) == [200, 400]
    loser = next(index for index, (code, _) in enumerate(outcomes) if code)
    assert "run the same command again" in outcomes[loser][1]
    assert acts[loser]()[0] == 0
    assert_nothing_lost(served, people[0].gun, "c d", 3)


def test_two_of_ours_both_succeed_because_the_second_signs_anew(served: Served, people: list[Publisher]) -> None:
    served.meeting.of(2)
    at_once(lambda: people[0].by_ours("left"), lambda: people[1].by_ours("right"))
    assert sorted(served.meeting.outcomes) == [200, 200, 400]
    assert_nothing_lost(served, people[0].gun, "a b c d left right", 3)


@pytest.mark.needs("docker", "notary")
def test_two_of_ours_docker_and_notary_all_at_once(served: Served, people: list[Publisher]) -> None:
    served.meeting.of(4)
    acts = [
        lambda: people[0].by_ours("left"), lambda: people[1].by_ours("right"), lambda: people[2].by_docker("a"),
        lambda: people[3].by_notary("middle"),
    ]  # fmt: skip
    outcomes = at_once(*acts)
    assert served.meeting.outcomes.count(200) + sum(code != 0 for code, _ in outcomes) == 4
    assert outcomes[0][0] == outcomes[1][0] == 0
    for act, (code, said) in zip(acts, outcomes, strict=True):
        if code:
            assert "run the same command again" in said
            assert act()[0] == 0
    assert_nothing_lost(served, people[0].gun, "b c d left middle right", 5)
