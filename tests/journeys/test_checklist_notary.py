"""Debian's notary publishes an image and rotates every key; consumers who cached the first root follow."""

from pathlib import Path

import pytest

from tests.journeys import wire
from tests.journeys.contexts import context
from tests.journeys.meddler import between
from tests.journeys.people import Person, Town

pytestmark = pytest.mark.needs("dockerd", "docker", "busybox", "notary")


def pushed(person: Person, name: str, tag: str, folder: Path) -> Path:
    """An unsigned image in staging; the file with its manifest, which is what notary signs."""
    reference = f"{person.staging(name)}:{tag}"
    person.build(reference, context(folder / tag, page=f"{name} {tag}"))
    person.push(reference, trust=False)
    manifest = folder / f"{tag}.json"
    manifest.write_bytes(wire.manifest(person, f"staging/{person.publisher}/{name}", tag).body)
    return manifest


def does(person: Person, *words: str | Path) -> str:
    done = person.notary(*map(str, words))
    assert done.code == 0, done.said
    return done.said


@pytest.mark.checklist("1.publish", "1.verify")
def test_notary_initialises_adds_publishes_lists_and_verifies(village: Town, tmp_path: Path) -> None:
    nora = village.publisher("notary")
    gun, staging = nora.staging("web"), f"{nora.staging('web')}:1"
    manifest = pushed(nora, "web", "1", tmp_path)
    does(nora, "init", "-p", gun)
    does(nora, "add", gun, "1", manifest)
    does(nora, "publish", gun)
    digest = nora.outcome(staging, "published")["digest"]
    assert digest.removeprefix("sha256:") in does(nora, "list", gun)
    # init keeps the snapshot key with the publisher: the next version is signed there, too.
    does(nora, "add", "-p", gun, "2", pushed(nora, "web", "2", tmp_path))
    nora.outcome(f"{gun}:2", "published")

    # With the publisher's own root, and as a stranger with the hub's.
    copy = tmp_path / "copy"
    does(nora, "verify", gun, "1", "-i", manifest, "-o", copy)
    assert copy.read_bytes() == manifest.read_bytes()
    visitor = village.anonymous("notary-visitor")
    official = nora.official("web")
    assert digest.removeprefix("sha256:") in does(visitor, "list", official)
    does(visitor, "verify", official, "1", "-i", manifest, "-o", copy)
    wrong = visitor.notary("verify", official, "1", "-i", str(tmp_path / "2.json"), "-o", str(copy))
    wrong.refused("data not present in the trusted")
    visitor.docker_does("pull", f"{official}:1", trust=True).told(digest)


@pytest.mark.checklist(
    "1.rotate-snapshot", "1.rotate-targets", "1.rotate-timestamp", "1.rotate-root", "1.cached-docker", "1.cached-notary"
)
def test_after_six_rotations_those_who_cached_the_first_root_pull(village: Town, tmp_path: Path) -> None:
    roxy = village.publisher("rotating")
    gun, staging = roxy.staging("web"), f"{roxy.staging('web')}:1"
    manifest = pushed(roxy, "web", "1", tmp_path)
    does(roxy, "init", gun)
    does(roxy, "add", "-p", gun, "1", manifest)
    digest = roxy.outcome(staging, "published")["digest"]

    cached, reader = (village.person(f"rotating-{kind}", "publisher", "rotating") for kind in ("mate", "reader"))
    for mate in (cached, reader):
        village.admin.customhouse_does("publisher", "member", "add", "rotating", mate.name)
    roxy.forget(staging)
    cached.docker_does("pull", staging, trust=True).told(digest)
    assert digest.removeprefix("sha256:") in does(reader, "list", gun)

    keys = [keys_of(roxy)]
    for role in ("snapshot", "targets", "timestamp", "root", "root", "root"):
        does(roxy, "key", "rotate", gun, role, *(["-r"] if role in ("snapshot", "timestamp") else []))
        keys.append(keys_of(roxy))
        changed = {name for name in keys[-1] if keys[-1][name] != keys[-2][name]}
        assert changed == {role}
    assert wire.trust_file(roxy, "staging/rotating/web", "root")["version"] == 7
    # The publisher is still the one who was enrolled: each root was signed by the one before it.
    second = pushed(roxy, "web", "2", tmp_path)
    does(roxy, "add", "-p", gun, "2", second)
    roxy.outcome(f"{gun}:2", "published")

    roxy.forget(staging, f"{gun}:2")
    with between(village.hub) as (meddler, server):
        cached.docker_does("pull", f"{gun}:2", trust=True, DOCKER_CONTENT_TRUST_SERVER=server)
    roots = [asked.removeprefix("GET ") for asked in meddler.asked if "root" in asked]
    assert [name for name in roots if name[0].isdigit()] == [f"{n}.root.json" for n in range(2, 7)]
    cached.docker_does("pull", staging, trust=True).told(digest)
    assert "2 " in does(reader, "list", gun)
    does(reader, "verify", gun, "2", "-i", second, "-o", "/dev/null")


def keys_of(person: Person) -> dict[str, list[str]]:
    roles = wire.trust_file(person, f"staging/{person.publisher}/web", "root")["roles"]
    return {name: role["keyids"] for name, role in roles.items()}
