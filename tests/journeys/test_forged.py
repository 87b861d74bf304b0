"""Content and metadata that somebody altered: the hub refuses, keeps what it had, and docker prints why."""

import base64
import hashlib
import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from customhouse.keyfiles import read_key_file
from customhouse.keys import PrivateKey
from customhouse.oci.digest import Digest
from customhouse.testing.trust_simulator import multipart
from customhouse.trust.canonical import canonical, published
from customhouse.trust.metadata import format_expires
from customhouse.trust.names import TARGETS
from tests.journeys import wire
from tests.journeys.contexts import context
from tests.journeys.meddler import Files, between
from tests.journeys.people import PASSPHRASE, Person, Town

INVALID = "The targets metadata is invalid: targets version 4"
pytestmark = pytest.mark.needs("dockerd", "docker", "busybox", "notary")


def test_a_layer_that_was_altered_in_the_store_is_named_and_refused_until_it_is_pushed_anew(
    village: Town, tmp_path: Path
) -> None:
    lars = village.publisher("altered")
    staging, official = f"{lars.staging('web')}:1", f"{lars.official('web')}:1"
    lars.build(staging, context(tmp_path / "web", page="nobody else has this layer"))
    digest = lars.push(staging, trust=False)
    layer = str(wire.manifest(lars, "staging/altered/web", digest).json()["layers"][0]["digest"])
    flip(village, layer)
    lars.customhouse_does("image", "sign", staging)

    row = lars.outcome(staging, "rejected")
    assert layer in row["reason"], row["reason"]
    assert [item["subject"] for item in village.hub.doctor()] == [layer]
    lars.docker("pull", official).refused("not found")
    # The advice holds: what docker pushes again replaces the damaged bytes.
    lars.wait(staging).told(f"altered bytes were thrown away ({layer}): the next push brings them again")
    lars.docker_does("push", staging)
    lars.customhouse_does("submission", "retry", row["id"])
    lars.outcome(staging, "published")
    lars.forget(staging, official)
    lars.docker_does("pull", official, trust=True).told(digest)


def flip(town: Town, digest: str) -> None:
    """Alter one byte of a blob where the hub keeps it."""
    (file,) = [path for path in (town.hub.data / "blobs").rglob(f"*{Digest(digest).hex}*") if path.is_file()]
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    mode = file.stat().st_mode
    file.chmod(0o600)
    file.write_bytes(bytes(content))
    file.chmod(mode)


def other_digest(files: Files) -> Files:
    """The tag points at something else, under the old signature."""
    document = json.loads(files[TARGETS])
    (meta,) = document["signed"]["targets"].values()
    other = base64.b64encode(hashlib.sha256(b"something else").digest())
    return {**files, TARGETS: files[TARGETS].replace(meta["hashes"]["sha256"].encode(), other)}


def strangers_signature(files: Files) -> Files:
    """The right document, signed by a key that the root does not name."""
    payload = canonical(json.loads(files[TARGETS])["signed"])
    return {**files, TARGETS: published(payload, [PrivateKey.generate().sign(payload)])}


def signed_again(person: Person, change: Callable[[dict[str, object]], None]) -> Callable[[Files], Files]:
    """Another document under the publisher's own key, as a broken client or a thief of the key would send it."""

    def meddle(files: Files) -> Files:
        document = json.loads(files[TARGETS])
        wanted = document["signatures"][0]["keyid"]
        (path,) = (person.home / ".docker/trust/private").glob(f"{wanted}.key")
        key = read_key_file(path.read_bytes(), PASSPHRASE.encode()).key
        change(document["signed"])
        payload = canonical(document["signed"])
        return {**files, TARGETS: published(payload, [key.sign(payload)])}

    return meddle


def expired(document: dict[str, object]) -> None:
    document["expires"] = format_expires(datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1))


def test_metadata_that_was_altered_on_its_way_is_refused_and_docker_prints_why(village: Town, tmp_path: Path) -> None:
    mona = village.publisher("meddled")
    village.hub.let_move("meddled/web")
    staging = f"{mona.staging('web')}:1"
    mona.build(staging, context(tmp_path / "one", page="one"))
    mona.push(staging)
    old = targets_file(mona)
    mona.build(staging, context(tmp_path / "two", page="two"))
    second = mona.push(staging)
    assert mona.outcome(staging, "published")["digest"] == second
    before = targets_file(mona)

    mona.build(staging, context(tmp_path / "three", page="three"))
    with between(village.hub) as (meddler, server):
        for meddle, sentences in (
            (other_digest, (f"{INVALID} has 0 of 1 needed signatures", "Sign targets with 1 more of its keys")),
            (strangers_signature, (f"{INVALID} has 0 of 1 needed signatures",)),
            (signed_again(mona, expired), (f"{INVALID} expired on", "Sign targets again")),
            (lambda files: {**files, TARGETS: old}, ("at version 3 now; version 2 cannot follow it", "run the same")),
        ):
            meddler.meddle = meddle
            done = mona.docker("push", staging, trust=True, DOCKER_CONTENT_TRUST_SERVER=server)
            done.refused(f"failed to sign {staging}: ", *sentences)
            assert targets_file(mona) == before
        assert mona.outcome(staging, "published")["digest"] == second
        meddler.meddle = lambda files: files
        mona.docker_does("push", staging, trust=True, DOCKER_CONTENT_TRUST_SERVER=server)
    assert mona.outcome(staging, "published")["digest"] != second


def targets_file(person: Person) -> bytes:
    gun = f"{person.hub.host}/staging/{person.publisher}/web"
    return wire.request(person, "GET", f"/v2/{gun}/_trust/tuf/targets.json", f"repository:{gun}:pull").body


def test_a_replayed_update_and_a_repository_begun_anew_are_refused(village: Town, tmp_path: Path) -> None:
    rosa = village.publisher("rollback")
    village.hub.let_move("rollback/web")
    staging, gun = f"{rosa.staging('web')}:1", rosa.staging("web")
    with between(village.hub) as (meddler, server):
        for page in ("one", "two"):
            rosa.build(staging, context(tmp_path / page, page=f"rollback {page}"))
            rosa.docker_does("push", staging, trust=True, DOCKER_CONTENT_TRUST_SERVER=server)
            newest = rosa.outcome(staging, "published")["digest"]

    # Somebody with rights over staging clears it, and plays the publisher's own first update again.
    rosa.notary("delete", gun, "--remote").refused("not authorized")
    village.admin.notary("delete", gun, "--remote").told("Successfully deleted")
    body, content_type = multipart(meddler.seen[0])
    answer = wire.request(
        village.admin, "POST", f"/v2/{gun}/_trust/tuf/", f"repository:{gun}:push,pull", body=body,
        content_type=content_type,
    )  # fmt: skip
    assert answer.status == 200, answer.body
    row = rosa.outcome(staging, "rejected")
    assert row["digest"] != newest
    rosa.wait(staging).told("is older than version", "which was seen before", "tell your administrator")

    # A publisher who lost what he had begins anew.
    village.admin.notary("delete", gun, "--remote").told("Successfully deleted")
    shutil.rmtree(rosa.home / ".docker/trust/tuf")
    rosa.build(staging, context(tmp_path / "anew", page="begun anew"))
    rosa.push(staging)
    rosa.outcome(staging, "rejected")
    rosa.wait(staging).told("the repository was begun anew", "Go on with the keys and metadata it had before")
    rosa.docker_does("pull", f"{rosa.official('web')}:1", trust=True).told(newest)
