"""What no client may believe: docker, notary and ours read the same spoilt repositories, and each says why not.

docker resolves a tag before it speaks to an engine, so that none is needed: `Pull (1 of 1)` is trust.
"""

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from customhouse.errors import CustomhouseError
from customhouse.keys import PrivateKey
from customhouse.remote import RemoteDenied, RemoteFailed, RemoteInvalid, RemoteUnauthenticated
from customhouse.testing.trust_simulator import TrustSimulator, above
from customhouse.transport import Tls, Transport
from customhouse.trust import documents
from customhouse.trust.certificates import CertificateRefused
from customhouse.trust.client import Anchor, NoTrustData, TooMuch, TrustClient
from customhouse.trust.fields import InvalidMetadata
from customhouse.trust.names import RELEASES, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Gun, RoleName
from customhouse.trust.verify import Altered, NotEnoughSignatures, RoleExpired, RoleMissing, RolledBack
from tests.trust.peer.lying import LyingServer, lying_server

pytestmark = pytest.mark.needs("docker", "notary")

NOW = datetime.now(UTC).replace(microsecond=0)
TRUSTED = r"Pull \(1 of 1\): GUN:r@sha256:[0-9a-f]{64}"
OFFLINE = r"using cached timestamp - this might not be the latest version available remotely"
TOO_FEW = r"insufficient signatures|valid signatures did not meet threshold"
Spoil = Callable[[TrustSimulator, LyingServer], object]


@dataclass(frozen=True)
class Line:
    """One thing that is wrong. `cached`: the clients read the repository before, when it was right.

    `ours` is what our client raises, with its sentence; None where the tag is simply not signed.
    """

    name: str
    spoil: Spoil
    docker: str
    ours: type[CustomhouseError] | None
    sentence: str
    cached: bool = False
    tag: str = "r"
    notary: str = ""  # where it says other words than docker


def of(role: RoleName, spoiler: Callable[[TrustSimulator, RoleName], object]) -> Spoil:
    return lambda sim, server: spoiler(sim, role)


def shorter(sim: TrustSimulator, role: RoleName) -> None:
    sim.edit(above(role), lambda signed: signed["meta"][role].update(length=10))


def rotated_twice(sim: TrustSimulator) -> None:
    for _ in range(2):
        sim.rotate_root()
        sim.build_root()


def intermediate_missing(sim: TrustSimulator, server: LyingServer) -> None:
    rotated_twice(sim)
    server.roots_shown = False


def foreign_name(sim: TrustSimulator, server: LyingServer) -> None:
    sim.keys[ROOT] = [sim.certified(common_name="elsewhere.example/a")]
    sim.roots.clear()


def threshold_of_two(role: RoleName) -> Spoil:
    """Two keys and a threshold of two, and one signature."""

    def spoil(sim: TrustSimulator, server: LyingServer) -> None:
        sim.keys[role] = [*sim.keys[role], PrivateKey.generate()]
        if role.is_delegation:
            publics = [key.public for key in sim.keys[role]]
            sim.bodies[TARGETS] = documents.with_delegation(sim.bodies[TARGETS], role, publics, threshold=2)
        sim.thresholds[role] = 2
        sim.roots.clear()
        sim.drop_signature(role)

    return spoil


def status(code: int, where: str) -> Spoil:
    return lambda sim, server: server.status.update({where: code})


LOWER = r"Warning: potential malicious behavior - trust data version is lower than expected for remote repository " \
        r"GUN: version 1 is lower than current version 2"
LINES = [
    *(
        Line(f"{role} expired", of(role, TrustSimulator.expire),
             f"Error: remote repository GUN out-of-date: {role} expired at", RoleExpired,
             f"{role} version 2 expired on", notary=f"{role} expired at")
        for role in (ROOT, TARGETS, SNAPSHOT, TIMESTAMP)
    ),
    Line("a delegation expired", of(RELEASES, TrustSimulator.expire), "No valid trust data for r", None,
         "targets/releases version 2 expired", notary="Error getting targets/releases: targets/releases expired"),
    *(
        Line(f"{role} rolled back", of(role, lambda sim, role: sim.roll_back(role, 2)), LOWER, RolledBack,
             f"{role} version 1 is older than version 2, which was seen before", cached=True,
             notary="version 1 is lower than current version 2")
        for role in (TARGETS, RELEASES, SNAPSHOT, TIMESTAMP)
    ),
    Line("root rolled back", of(ROOT, lambda sim, role: sim.roll_back(role, 2)), LOWER, Altered,
         "the hash of root is not the one that snapshot names", cached=True,
         notary="version 1 is lower than current version 2"),
    *(
        Line(f"the hash of {role} is another", of(role, TrustSimulator.change_hash),
             rf"sha(256|512) checksum for {role} did not match", Altered, f"the hash of {role} is not the one that ")
        for role in (ROOT, TARGETS, SNAPSHOT, RELEASES)
    ),
    *(
        Line(f"{role} is longer than the file above says", of(role, shorter),
             "trust server returned a bad response", TooMuch, f"{role} goes on after 10 bytes")
        for role in (TARGETS, SNAPSHOT, RELEASES)
    ),
    Line("root is longer than the snapshot says", of(ROOT, shorter), TRUSTED, TooMuch, "root goes on after 10 bytes",
         notary="targets/releases"),
    *(
        Line(f"{role} is missing", of(role, lambda sim, role: sim.replace(role, None)),
             f"Error: trust data missing for remote repository GUN or remote repository not found: {role}", RoleMissing,
             f"there is no {role} metadata", notary=f"{role}.* trust data unavailable")
        for role in (TARGETS, SNAPSHOT, RELEASES)
    ),
    Line("root is missing", of(ROOT, lambda sim, role: sim.replace(role, None)),
         "Error: remote trust data does not exist for GUN: HOST does not have trust data for GUN", RoleMissing,
         "there is no root metadata", notary="HOST does not have trust data for GUN"),
    *(
        Line(f"{role} without a signature", of(role, TrustSimulator.drop_signature), "tuf: data has no signatures",
             NotEnoughSignatures, f"{role} version 2 has 0 of 1 needed signatures")
        for role in (TARGETS, SNAPSHOT, TIMESTAMP)
    ),
    Line("root without a signature", of(ROOT, TrustSimulator.drop_signature),
         "could not validate the path to a trusted root: failed to validate integrity of roots", NotEnoughSignatures,
         "root version 2 has 0 of 1 needed signatures"),
    *(
        Line(f"{role} signed by a stranger", of(role, TrustSimulator.swap_key), TOO_FEW,
             NotEnoughSignatures, f"{role} version 2 has 0 of 1 needed signatures")
        for role in (TARGETS, SNAPSHOT, TIMESTAMP)
    ),
    *(
        Line(f"{role} of threshold 2 with one signature", threshold_of_two(role), TOO_FEW,
             NotEnoughSignatures, f"{role} version 2 has 1 of 2 needed signatures")
        for role in (TARGETS, SNAPSHOT, TIMESTAMP)
    ),
    Line("a delegation of threshold 2 with one signature", threshold_of_two(RELEASES), "No valid trust data for r",
         None, "targets/releases version 2 has 1 of 2 needed signatures", notary="Error getting targets/releases"),
    Line("root swapped", lambda sim, server: sim.rotate_root(signed_by_old=False),
         "could not rotate trust to a new trusted root: failed to validate data with current trusted certificates",
         NotEnoughSignatures, "root version 4 has 0 of 1 needed signatures by the root keys of version 3", cached=True),
    Line("root rotated twice", lambda sim, server: rotated_twice(sim), TRUSTED, None, "", cached=True,
         notary="targets/releases"),
    Line("root rotated twice, the one between is missing", intermediate_missing,
         "Error: remote trust data does not exist for GUN", NotEnoughSignatures,
         "root version 5 has 0 of 1 needed signatures by the root keys of version 2", cached=True,
         notary="HOST does not have trust data for GUN"),
    Line("root for another name", foreign_name,
         "could not validate the path to a trusted root: unable to retrieve valid leaf certificates",
         CertificateRefused, "no root certificate is valid for GUN: one is for 'elsewhere.example/a'"),
    Line("HTML at root.json", of(ROOT, lambda sim, role: sim.replace(role, b"<html>")),
         "invalid character '<' looking for beginning of value", Altered, "the length of root is not"),
    Line("HTML at timestamp.json", of(TIMESTAMP, lambda sim, role: sim.replace(role, b"<html>")),
         "invalid character '<' looking for beginning of value", InvalidMetadata, "it is not JSON"),
    *(
        Line(f"HTML at {role}", of(role, lambda sim, role: sim.replace(role, b"<html>")),
             rf"sha(256|512) checksum for {role} did not match", Altered, f"the length of {role} is not")
        for role in (TARGETS, SNAPSHOT, RELEASES)
    ),
    Line("a tag that nobody signed", lambda sim, server: None, "No valid trust data for zzz", None, "", tag="zzz",
         notary="targets/releases"),
    Line("a tag that only a delegation of releases signed", lambda sim, server: None, "No trust data for d", None, "",
         tag="d", notary="targets/releases"),
]  # fmt: skip
STATUS: list[tuple[int, str, type[CustomhouseError], str]] = [
    (400, "An error occurred during validation: this repository was withdrawn", RemoteInvalid, "was withdrawn"),
    (401, "you are not authorized to perform this operation: server returned 401.", RemoteUnauthenticated, "401 to"),
    (403, "unable to reach trust server at this time: 403.", RemoteDenied, "answered 403"),
    (500, "unable to reach trust server at this time: 500.", RemoteFailed, "answered 500"),
    (301, "unable to reach trust server at this time: 301.", RemoteFailed, "redirects more than 5 times"),
]
for code, said, raised, words in STATUS:
    LINES += [
        Line(f"{code} everywhere", status(code, "*"), said, raised, words),
        Line(f"{code} for the timestamp", status(code, "timestamp"), said, raised, words),
        Line(f"{code} for the timestamp, with a cache", status(code, "timestamp"), said if code == 400 else OFFLINE,
             raised, words, cached=True),
    ]  # fmt: skip
LINES += [
    Line("404 everywhere", status(404, "*"),
         "Error: remote trust data does not exist for GUN: HOST does not have trust data for GUN", NoTrustData,
         "there is no trust data for GUN", notary="HOST does not have trust data for GUN"),
    Line("404 for the timestamp", status(404, "timestamp"),
         "Error: trust data missing for remote repository GUN or remote repository not found: timestamp", NoTrustData,
         "there is no trust data for GUN", notary="timestamp trust data unavailable"),
    Line("404 for the timestamp, with a cache", status(404, "timestamp"), OFFLINE, NoTrustData,
         "there is no trust data for GUN", cached=True),
]  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LyingServer]:
    with lying_server(tmp_path_factory.mktemp("lying")) as running:
        yield running


class Reader:
    """The three clients, each with a memory of its own."""

    def __init__(self, server: LyingServer, home: Path, gun: str, tag: str) -> None:
        self.server, self.home, self.gun, self.tag = server, home, gun, tag
        self.anchor = Anchor()

    def run(self, *words: str) -> str:
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(self.home), "DOCKER_CONFIG": str(self.home / "docker"),
            "DOCKER_CONTENT_TRUST": "1", "DOCKER_HOST": f"unix://{self.home}/no.sock",
        }  # fmt: skip
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)
        return (done.stdout + done.stderr).replace(self.gun, "GUN").replace(self.server.host, "HOST")

    def docker(self) -> str:
        return self.run("docker", "pull", f"{self.gun}:{self.tag}")

    def notary(self) -> str:
        base = ["notary", "-s", f"https://{self.server.host}", "--tlscacert", str(self.server.tls.ca)]
        return self.run(*base, "-d", str(self.home / "notary"), "list", self.gun)

    def ours(self) -> str:
        """The sentence of why the tag is not signed; empty where it is. Raises what the client raises."""
        transport = Transport(f"https://{self.server.host}", tls=Tls(ca_file=self.server.tls.ca))
        found = TrustClient(transport).read(Gun(self.gun), self.anchor, NOW)
        self.anchor = Anchor(known_root=found.files[ROOT], seen=found.repository.versions)
        if found.repository.tag(self.tag) is not None:
            return ""
        return "; ".join(why.message for why in found.repository.skipped.values()) or "not signed"


@pytest.mark.checklist(
    "4.expired", "4.rolled-back", "4.altered", "4.threshold", "4.root-swap", "4.root-between", "4.root-name", "4.html",
    "4.status",
)
@pytest.mark.parametrize("line", LINES, ids=lambda line: line.name)
def test_no_client_believes_what_is_wrong_and_each_says_why(server: LyingServer, line: Line, tmp_path: Path) -> None:
    gun = f"{server.host}/acme/line{LINES.index(line)}"
    sim = TrustSimulator.complete(gun, NOW)
    reader = Reader(server, tmp_path, gun, line.tag)
    server.status.clear()
    server.roots_shown = True
    if line.cached:
        server.show(sim)
        assert re.search(TRUSTED, reader.docker()) and "targets/releases" in reader.notary() and reader.ours() == ""
        sim.advance()
    line.spoil(sim, server)
    server.show(sim)
    said = reader.docker()
    assert re.search(line.docker, said), said
    assert ("Pull (1 of 1)" in said) == (line.docker in (TRUSTED, OFFLINE)), said
    listed = reader.notary()
    assert re.search(line.notary or line.docker, listed), listed
    if line.ours is None:
        why = reader.ours()
        assert line.sentence in why and (why == "") == (line.docker == TRUSTED), why
    else:
        for _ in range(2):  # and again: what was refused is not believed at the second attempt
            with pytest.raises(line.ours) as refused:
                reader.ours()
            assert line.sentence.replace("GUN", gun) in refused.value.message
