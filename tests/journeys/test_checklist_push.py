"""What docker sends when publishers push, sign, add signers and revoke, and what it and we see afterwards."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from customhouse.trust.names import RELEASES, ROOT, TARGETS, RoleName
from tests.journeys.contexts import context
from tests.journeys.meddler import Files, Meddler, between
from tests.journeys.people import Person, Town

pytestmark = pytest.mark.needs("dockerd", "docker", "busybox")


@contextmanager
def overheard(person: Person) -> Iterator[tuple[Person, Meddler]]:
    """The same person, whose docker talks to the trust server through somebody who writes down what is asked."""
    with between(person.hub) as (meddler, server):
        yield replace(person, settings={"DOCKER_CONTENT_TRUST_SERVER": server}), meddler


def roles(meddler: Meddler) -> list[set[RoleName]]:
    """Which files each update had."""
    return [set(files) for files in meddler.seen]


@pytest.mark.checklist("2.push-new", "2.second-tag", "2.same-again", "2.push-all")
def test_docker_pushes_a_new_repository_a_second_tag_the_same_again_and_all(village: Town, tmp_path: Path) -> None:
    paula = village.publisher("pushing")
    one, two = f"{paula.staging('web')}:1", f"{paula.staging('web')}:2"
    paula.build(one, context(tmp_path / "web", page="pushed four times"))
    with overheard(paula) as (heard, meddler):
        digest = heard.push(one)
        assert roles(meddler) == [{ROOT, TARGETS}]
        paula.outcome(one, "published")
        paula.docker_does("tag", one, two)
        assert heard.push(two) == digest
        assert roles(meddler)[1:] == [{TARGETS}]
        newest = paula.outcome(two, "published")["id"]

        # The same again is an update of no files; it is accepted, and it is no submission.
        assert heard.push(two) == digest
        assert roles(meddler)[2:] == [set()]
        assert paula.outcome(two, "published")["id"] == newest

        # All tags at once: docker signs none of them, and the trust server is not asked.
        three = f"{paula.staging('web')}:3"
        paula.docker_does("tag", one, three)
        asked = len(meddler.asked)
        done = heard.docker_does("push", "-a", paula.staging("web"), trust=True)
        done.told(f"3: digest: {digest}", "No tag specified, skipping trust metadata push")
        assert len(meddler.asked) == asked
        paula.wait(three, 2).refused("a push without a signature stays in staging")
    assert sorted(listed(paula, "web")) == ["1", "2"]


@pytest.mark.checklist("2.sign-fresh", "2.sign-existing", "2.sign-local")
def test_docker_trust_signs_a_new_repository_a_signed_tag_and_a_local_image(village: Town, tmp_path: Path) -> None:
    tilda = village.publisher("trusting")
    village.hub.let_move("trusting/web")
    staging = f"{tilda.staging('web')}:1"
    tilda.build(staging, context(tmp_path / "one", page="signed with trust sign, first"))
    with overheard(tilda) as (heard, meddler):
        done = heard.docker_does("trust", "sign", staging)
        done.told("Created signer: trusting-dev", f"Successfully signed {staging}")
        mine = RoleName("targets/trusting-dev")
        assert roles(meddler) == [{ROOT, TARGETS}, {RELEASES, mine}]
        first = tilda.outcome(staging, "published")["digest"]

        # A tag that is signed: docker signs the digest that is signed already, whatever it has locally.
        tilda.build(staging, context(tmp_path / "two", page="signed with trust sign, second"))
        done = heard.docker_does("trust", "sign", staging)
        done.told(f"Existing signatures for tag 1 digest {first[7:]} from: trusting-dev")
        assert tilda.outcome(staging, "published")["digest"] == first
        # With --local it pushes and signs what it has.
        done = heard.docker_does("trust", "sign", "--local", staging)
        done.told("Signing and pushing trust data for local image", "may overwrite remote trust data")
        assert roles(meddler)[-1] == {RELEASES, mine}
        second = tilda.outcome(staging, "published")["digest"]
    assert second != first
    done.told(f"1: digest: {second}")
    assert listed(tilda, "web")["1"] == (second, ["trusting-dev"])


@pytest.mark.checklist("2.signer-add", "2.revoke-tag", "2.revoke-repository", "2.inspect")
def test_two_signers_sign_are_shown_alike_by_docker_and_by_us_and_revoke(village: Town, tmp_path: Path) -> None:
    olga = village.publisher("team-of-two")
    one, two = f"{olga.staging('web')}:1", f"{olga.staging('web')}:2"
    for name in ("bob", "eve"):
        olga.docker_does("trust", "key", "generate", name, "--dir", tmp_path).told("Successfully generated")
        add = ("trust", "signer", "add", "--key", tmp_path / f"{name}.pub", name, olga.staging("web"))
        olga.docker_does(*add).told(f"Successfully added signer: {name}")
    olga.build(one, context(tmp_path / "web", page="signed by two"))
    olga.docker_does("tag", one, two)
    with overheard(olga) as (heard, meddler):
        digest = heard.push(one)
        assert roles(meddler) == [{RELEASES, RoleName("targets/bob"), RoleName("targets/eve")}]
    olga.push(two)
    for reference in (one, two):
        assert olga.outcome(reference, "published")["digest"] == digest

    both = {tag: (digest, ["bob", "eve"]) for tag in ("1", "2")}
    assert (inspected(olga, "web"), listed(olga, "web")) == (both, both)
    pretty = olga.docker_does("trust", "inspect", "--pretty", olga.staging("web"))
    (root,), (base,) = olga.customhouse_does("trust", "list", olga.staging("web"))["administrative_keys"].values()
    pretty.told(*(f"{tag} {digest[7:]} bob, eve" for tag in both), f"Repository Key: {base}", f"Root Key: {root}")
    olga.customhouse("trust", "list", olga.staging("web")).told(f"root key {root}", f"targets key {base}")
    # The hub's own signature, as docker and we see it.
    official = {tag: (digest, ["customhouse"]) for tag in ("1", "2")}
    assert (inspected(olga, "web", Person.official), listed(olga, "web", Person.official)) == (official, official)

    olga.docker_does("trust", "revoke", "--yes", one).told("Successfully deleted signature")
    left = {"2": (digest, ["bob", "eve"])}
    assert (inspected(olga, "web"), listed(olga, "web")) == (left, left)
    olga.docker("pull", one, trust=True).refused("No valid trust data for 1")
    olga.docker_does("trust", "revoke", "--yes", olga.staging("web")).told("Successfully deleted signature")
    assert (inspected(olga, "web"), listed(olga, "web")) == ({}, {})
    # They may sign again.
    olga.push(one)
    assert listed(olga, "web") == {"1": (digest, ["bob", "eve"])}


@pytest.mark.checklist("9.race")
def test_of_two_who_push_at_once_one_is_refused_and_succeeds_when_he_does_it_again(
    village: Town, tmp_path: Path
) -> None:
    early = village.publisher("racing")
    late = replace(early, home=tmp_path / "home")
    tags = {name: f"{early.staging('web')}:{name}" for name in ("first", "early", "late")}
    for name, reference in tags.items():
        early.build(reference, context(tmp_path / name, page=f"racing {name}"))
    early.push(tags["first"])
    shutil.copytree(early.home, late.home)

    def overtaken(files: Files) -> Files:
        """Between what he read and what he sends, the other one publishes."""
        early.push(tags["early"])
        return files

    with overheard(late) as (heard, meddler):
        meddler.meddle = overtaken
        done = heard.docker("push", tags["late"], trust=True)
        done.refused("targets of", "is at version 3 now; version 3 cannot follow it", "run the same command again")
        assert sorted(listed(late, "web")) == ["early", "first"]
        meddler.meddle = lambda files: files
        heard.push(tags["late"])
    assert sorted(listed(early, "web")) == ["early", "first", "late"]
    for reference in tags.values():
        early.outcome(reference, "published")


Tags = dict[str, tuple[str, list[str]]]


def inspected(person: Person, name: str, area: Callable[[Person, str], str] = Person.staging) -> Tags:
    """What `docker trust inspect` says of each tag."""
    shown: Any = json.loads(person.docker_does("trust", "inspect", area(person, name)).out)[0]
    return {tag["SignedTag"]: (f"sha256:{tag['Digest']}", sorted(tag["Signers"])) for tag in shown["SignedTags"]}


def listed(person: Person, name: str, area: Callable[[Person, str], str] = Person.staging) -> Tags:
    """The same from our client."""
    shown = person.customhouse_does("trust", "list", area(person, name))
    return {tag["tag"]: (tag["digest"], sorted(tag["signers"])) for tag in shown["tags"]}
