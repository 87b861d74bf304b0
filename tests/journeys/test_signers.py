"""The commands of signers and consumers: docker trust, notary, classic builds, images of several platforms."""

import json
import struct
from pathlib import Path

import pytest

from customhouse.oci.manifest import OCI_INDEX
from customhouse.testing.images import (
    PASSWD,
    BuiltImage,
    File,
    image,
    index,
    layer,
    minimal_server_image,
    server_config,
)
from customhouse.testing.images import write_oci_layout as write
from tests.journeys import wire
from tests.journeys.contexts import context
from tests.journeys.people import Town

# The head of a program for another processor (ELF, 64 bits, machine 183): nothing here can start it.
ARM64 = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 2, 183, 1, 64, 64, 0, 0, 64, 56, 0, 0, 0, 0)
pytestmark = pytest.mark.needs("dockerd", "docker", "busybox", "notary")


def two_platforms(page: str) -> BuiltImage:
    here = minimal_server_image(style="oci", files={"page": page})
    program = {"server": File(ARM64 + page.encode(), mode=0o755), "etc/passwd": File(PASSWD)}
    there = image([layer(program)], config=server_config(), style="oci", architecture="arm64")
    return index([here, there], style="oci")


def test_docker_trust_signs_with_a_delegation_inspects_and_revokes(village: Town, tmp_path: Path) -> None:
    sina = village.publisher("signer")
    staging, official = f"{sina.staging('web')}:1", f"{sina.official('web')}:1"
    sina.build(staging, context(tmp_path / "web", page="signed with trust sign"))
    sina.docker_does("trust", "sign", staging).told(f"Successfully signed {staging}")
    row = sina.outcome(staging, "published")

    theirs = json.loads(sina.docker_does("trust", "inspect", sina.staging("web")).out)[0]
    assert [entry["Signers"] for entry in theirs["SignedTags"]] == [["signer-dev"]]
    ours = json.loads(sina.docker_does("trust", "inspect", sina.official("web")).out)[0]
    assert [(entry["SignedTag"], entry["Signers"]) for entry in ours["SignedTags"]] == [("1", ["customhouse"])]
    assert f"sha256:{ours['SignedTags'][0]['Digest']}" == row["digest"]
    assert {signer["Name"] for signer in ours["Signers"]} == {"customhouse"}

    # A second tag by a plain signed push goes into the same delegation.
    other = f"{sina.staging('web')}:2"
    sina.docker_does("tag", staging, other)
    sina.push(other)
    sina.outcome(other, "published")
    sina.docker_does("trust", "revoke", "--yes", other).told("Successfully deleted signature")
    left = json.loads(sina.docker_does("trust", "inspect", sina.staging("web")).out)[0]
    assert [entry["SignedTag"] for entry in left["SignedTags"]] == ["1"]
    # What is official is the hub's word: the publisher withdraws it there.
    sina.docker_does("pull", f"{sina.official('web')}:2", trust=True)
    sina.customhouse_does("submission", "withdraw", other, "--reason", "revoked")
    sina.docker("pull", f"{sina.official('web')}:2", trust=True).refused("No valid trust data for 2")
    sina.docker_does("pull", official, trust=True)


def test_the_hubs_keys_are_nobody_elses_to_use(village: Town, tmp_path: Path) -> None:
    tess = village.publisher("taker")
    staging, official = f"{tess.staging('web')}:1", f"{tess.official('web')}:1"
    tess.build(staging, context(tmp_path / "web"))
    tess.push(staging)
    tess.outcome(staging, "published")
    tess.docker_does("tag", staging, official)
    tess.docker("trust", "revoke", "--yes", official).refused()
    tess.docker("push", official, trust=True).refused("push to staging/taker/web")
    tess.notary("init", "-p", tess.official("new")).refused("push to staging/taker/new")


def test_an_index_is_signed_by_our_client_and_docker_pulls_its_own_platform(village: Town, tmp_path: Path) -> None:
    ines = village.publisher("index")
    staging, official = f"{ines.staging('web')}:1", f"{ines.official('web')}:1"
    built = two_platforms("by our client")
    pushed = ines.customhouse_does("image", "push", f"oci-layout:{write(built, tmp_path / 'one')}", staging, "--sign")
    assert pushed["digest"] == str(built.digest)
    row = ines.outcome(staging, "published")
    assert {item["platform"] for item in row["findings"]} == {"linux/amd64", "linux/arm64"}

    nick = village.anonymous("nick")
    nick.docker_does("pull", official, trust=True).told(str(built.digest))
    assert nick.docker_does("image", "inspect", "--format", "{{.Architecture}}", official).out.strip() == "amd64"
    kept = wire.manifest(nick, "index/web", "1")
    assert (kept.body, kept.headers["content-type"]) == (built.manifest_raw, OCI_INDEX)
    for member in built.members:
        assert wire.manifest(nick, "index/web", str(member.digest)).body == member.manifest_raw

    # The same by notary: an index that is there already is signed by its hash.
    other = two_platforms("by notary")
    there = f"{ines.staging('noted')}:1"
    ines.customhouse_does("image", "push", f"oci-layout:{write(other, tmp_path / 'two')}", there)
    gun = ines.staging("noted")
    for words in (
        ("init", gun), ("key", "rotate", gun, "snapshot", "-r"),
        ("addhash", gun, "1", str(len(other.manifest_raw)), "--sha256", other.digest.hex, "-p"),
    ):  # fmt: skip
        done = ines.notary(*words)
        assert done.code == 0, done.said
    assert ines.outcome(there, "published")["digest"] == str(other.digest)
    ines.notary("list", gun).told(other.digest.hex)
    nick.docker_does("pull", f"{ines.official('noted')}:1", trust=True).told(str(other.digest))


@pytest.mark.checklist("3.build")
def test_a_classic_build_stands_on_an_official_image(village: Town, tmp_path: Path) -> None:
    boris = village.publisher("base")
    staging, official = f"{boris.staging('web')}:1", f"{boris.official('web')}:1"
    boris.build(staging, context(tmp_path / "web", page="a base"))
    digest = boris.push(staging)
    boris.outcome(staging, "published")
    boris.forget(staging)
    folder = tmp_path / "derived"
    folder.mkdir()
    (folder / "Dockerfile").write_text(f"FROM {official}\nLABEL derived=yes\n")
    bella = village.anonymous("bella")
    build = ("build", "--network", "none", "-t", "bella/derived", folder)
    bella.docker_does(*build, trust=True).told(digest)
    (folder / "Dockerfile").write_text(f"FROM {boris.official('web')}:unsigned\n")
    bella.docker(*build, trust=True).refused("No valid trust data for unsigned")
