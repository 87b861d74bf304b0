"""A team in which nobody has a root or targets key: each person has one key, and the hub keeps the rest."""

import json
from pathlib import Path

import pytest

from tests.journeys.contexts import context
from tests.journeys.people import Person, Town

pytestmark = pytest.mark.needs("dockerd", "docker", "busybox", "notary")


def own_key(person: Person, name: str) -> Path:
    """As docker makes it; the public half is what is sent to a certifier."""
    person.docker_does("trust", "key", "generate", name, "--dir", person.home)
    return person.home / f"{name}.pub"


def roles_of(person: Person) -> set[str]:
    """What the key files of a person are for."""
    folder = person.home / ".docker" / "trust" / "private"
    lines = [line for file in folder.glob("*.key") for line in file.read_text().splitlines()]
    return {line.partition(": ")[2] for line in lines if line.startswith("role: ")}


def test_two_people_with_one_key_each_sign_in_turn_and_neither_has_a_root(village: Town, tmp_path: Path) -> None:
    certifier = village.certifier("casper")
    ann = village.publisher("duo", enrolled=False)
    ben = village.person("duo-ben", "publisher", "duo")
    village.admin.customhouse_does("publisher", "member", "add", "duo", ben.name)
    for person, name in ((ann, "ann"), (ben, "ben")):
        certifier.customhouse_does("publisher", "signer", "add", "duo", name, "--key", own_key(person, name))

    first, second, third = (f"{ann.staging('web')}:{tag}" for tag in ("1", "2", "3"))
    ann.build(first, context(tmp_path / "web", page="by a team"))
    ann.push(first)
    row = ann.outcome(first, "published")
    ann.docker_does("tag", first, second)
    ben.push(second)  # docker again, another person: nothing was handed over
    ben.outcome(second, "published")
    ben.docker_does("tag", first, third)
    ben.docker_does("push", third)
    ben.customhouse_does("image", "sign", third)
    ben.outcome(third, "published")

    shown = json.loads(ann.docker_does("trust", "inspect", ann.staging("web")).out)[0]
    assert {entry["SignedTag"]: entry["Signers"] for entry in shown["SignedTags"]} == {
        "1": ["ann"], "2": ["ben"], "3": ["ben"],
    }
    assert {signer["Name"] for signer in shown["Signers"]} == {"ann", "ben"}
    assert roles_of(ann) == {"ann"} and roles_of(ben) == {"ben"}
    consumer = village.consumer("duo-reader")
    consumer.docker_does("pull", f"{ann.official('web')}:1", trust=True).told(row["digest"])

    certifier.customhouse_does("publisher", "signer", "remove", "duo", "ann")
    ann.docker_does("tag", first, f"{ann.staging('web')}:4")
    ann.docker("push", f"{ann.staging('web')}:4", trust=True).refused("no valid signing keys for delegation roles")
    ann.customhouse("image", "sign", f"{ann.staging('web')}:1").refused("no key that may sign")
    ben.docker_does("tag", first, f"{ann.staging('web')}:5")
    ben.push(f"{ann.staging('web')}:5")
    ben.outcome(f"{ann.staging('web')}:5", "published")


def test_a_reader_begins_nothing_and_a_stranger_sees_nothing(village: Town) -> None:
    certifier = village.certifier("cosima")
    mia = village.publisher("solo", enrolled=False)
    certifier.customhouse_does("publisher", "signer", "add", "solo", "mia", "--key", own_key(mia, "mia"))
    certifier.customhouse("trust", "list", mia.staging("web")).refused("authentication required")
    mia.customhouse("trust", "list", mia.staging("web")).refused("there is no trust data")
    assert village.hub.doctor() == []
