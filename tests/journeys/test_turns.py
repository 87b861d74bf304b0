"""Docker, notary and Customhouse on one repository, in turns: after each, all see the same, and the hub is whole."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.journeys.contexts import context
from tests.journeys.people import Done, Person, Town

pytestmark = [pytest.mark.needs("dockerd", "docker", "busybox", "notary"), pytest.mark.timeout(600)]


class Repository:
    """One staging repository and what should be signed in it: tag -> (digest, signers)."""

    def __init__(self, village: Town, owner: Person, name: str) -> None:
        self.village, self.owner, self.gun = village, owner, owner.staging(name)
        self.expected: dict[str, tuple[str, list[str]]] = {}

    def tag(self, tag: str) -> str:
        return f"{self.gun}:{tag}"

    def agree(self) -> None:
        """Docker and we list the same tags, digests and signers, and they are the expected ones."""
        ours = {
            row["tag"]: (row["digest"], sorted(row["signers"]))
            for row in self.owner.customhouse_does("trust", "list", self.gun)["tags"]
        }
        shown = json.loads(self.owner.docker_does("trust", "inspect", self.gun).out)[0]["SignedTags"]
        docker = {
            row["SignedTag"]: (f"sha256:{row['Digest']}", sorted(set(row["Signers"]) - {"Repo Admin"})) for row in shown
        }
        assert docker == ours == {tag: (digest, sorted(names)) for tag, (digest, names) in self.expected.items()}

    def signed(self, tag: str, digest: str, *signers: str) -> None:
        """After a turn that signed: it is submitted, published, and everybody sees it."""
        self.expected[tag] = (digest, list(signers))
        assert self.owner.outcome(self.tag(tag), "published")["digest"] == digest
        self.agree()

    def gone(self, *tags: str) -> None:
        for tag in tags:
            del self.expected[tag]
        self.agree()


def test_docker_notary_and_we_take_turns_on_one_repository(village: Town, tmp_path: Path) -> None:
    tara = village.publisher("turns")
    web = Repository(village, tara, "web")
    name = web.gun

    def built(tag: str) -> str:
        tara.build(web.tag(tag), context(tmp_path / tag, page=f"turn {tag}"))
        return web.tag(tag)

    def unsigned(tag: str) -> str:
        return tara.push(built(tag), trust=False)

    def whole(turn: Callable[[], object]) -> None:
        turn()
        assert village.hub.doctor() == []

    def ours(*words: str | Path) -> object:
        return tara.customhouse_does(*words)

    def theirs(*words: str) -> Done:
        done = tara.notary(*words)
        assert done.code == 0, done.said
        return done

    whole(lambda: web.signed("1", tara.push(built("1"))))  # docker makes the repository

    def sign_an_unsigned_push() -> None:
        digest = unsigned("2")
        ours("image", "sign", web.tag("2"))
        web.signed("2", digest)

    whole(sign_an_unsigned_push)

    def add_a_signer_of_ours() -> None:
        ours("key", "generate", "ann", "--dir", tara.home)
        ours("image", "signer", "add", name, "ann", "--key", tara.home / "ann.pub")
        web.agree()

    whole(add_a_signer_of_ours)
    whole(lambda: web.signed("3", tara.push(built("3")), "ann"))  # docker signs with our key, in its role

    def add_a_signer_of_dockers() -> None:
        tara.docker_does("trust", "key", "generate", "ben", "--dir", tara.home)
        tara.docker_does("trust", "signer", "add", "--key", tara.home / "ben.pub", "ben", name)
        web.agree()

    whole(add_a_signer_of_dockers)

    def sign_several() -> None:
        digests = {tag: unsigned(tag) for tag in ("4", "5")}
        ours("image", "sign", web.tag("4"), "5")
        for tag in digests:
            web.expected[tag] = (digests[tag], ["ann", "ben"])
        for tag, digest in digests.items():
            web.signed(tag, digest, "ann", "ben")

    whole(sign_several)

    def revoked_by_docker() -> None:
        tara.docker_does("trust", "revoke", "--yes", web.tag("3")).told("Successfully deleted signature")
        web.gone("3")

    whole(revoked_by_docker)

    def revoked_by_us() -> None:
        done = tara.customhouse_does("image", "revoke", web.tag("4"))
        assert (set(done["roles"]), done["left"]) == ({"targets/ann", "targets/ben", "targets/releases"}, [])
        web.gone("4")

    whole(revoked_by_us)

    def signed_by_notary() -> None:
        digest = unsigned("6")
        size = len(manifest_of(tara, name, digest))
        theirs("addhash", name, "6", str(size), "--sha256", digest.removeprefix("sha256:"),
               "--roles", "targets/ann", "--roles", "targets/releases", "-p")  # fmt: skip
        web.signed("6", digest, "ann")

    whole(signed_by_notary)

    def rotated_by_us() -> None:
        for role in ("root", "targets", "timestamp", "ann"):
            ours("key", "rotate", name, role)
            web.agree()

    whole(rotated_by_us)
    whole(lambda: web.signed("7", tara.push(built("7")), "ann", "ben"))  # docker goes on with the new keys

    def rotated_by_notary() -> None:
        theirs("key", "rotate", name, "snapshot", "-r")
        theirs("key", "rotate", name, "targets")
        web.agree()

    whole(rotated_by_notary)

    def signed_again_by_docker() -> None:
        tara.docker_does("trust", "sign", web.tag("1")).told("Successfully signed")
        web.signed("1", web.expected["1"][0], "ann", "ben")

    whole(signed_again_by_docker)

    def a_signer_goes() -> None:
        done = tara.customhouse_does("image", "signer", "remove", name, "ben")
        assert done["lost"] == []
        web.expected = {
            tag: (digest, [each for each in names if each != "ben"]) for tag, (digest, names) in web.expected.items()
        }
        web.agree()

    whole(a_signer_goes)

    def pushed_again() -> None:
        tara.push(web.tag("7"))  # a publish with nothing in it
        web.agree()
        web.signed("4", tara.push(web.tag("4")), "ann")  # what was revoked is signed again

    whole(pushed_again)

    nick = village.anonymous("nick-turns")
    for tag, (digest, _) in web.expected.items():
        nick.docker_does("pull", f"{tara.official('web')}:{tag}", trust=True).told(digest)


def manifest_of(person: Person, name: str, digest: str) -> bytes:
    """The manifest's bytes, from the registry."""
    from customhouse.registry.client import RegistryClient
    from customhouse.transport import Credentials, Tls, Transport

    transport = Transport(
        person.hub.url, credentials=Credentials(person.name, person.password), tls=Tls(ca_file=person.hub.ca)
    )
    try:
        return RegistryClient(transport).manifest(name.partition("/")[2], digest).raw
    finally:
        transport.close()
