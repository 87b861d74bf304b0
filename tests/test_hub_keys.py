"""The hub's own keys: made once, rotated by an operator, and every official repository follows."""

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from customhouse.errors import Conflict, Invalid
from customhouse.hub_keys import ROLES, KeyFolder
from customhouse.keys import PublicKey
from customhouse.signing import SealBroken, Vault
from customhouse.transport import Tls, Transport
from customhouse.trust.client import Anchor, TrustClient
from customhouse.trust.names import Gun
from customhouse.trust.verify import RootNotEnrolled, TrustedRepository
from tests.hub_process import HubProcess
from tests.peers.softhsm import PIN, Tokens
from tests.publisher import Publisher, image

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> KeyFolder:
    made = KeyFolder(tmp_path / "keys", Vault(b"m" * 32), "hub.example")
    made.load("customhouse", NOW)
    return made


def unheard(number: int, key: PublicKey) -> None:
    """Nobody keeps a record."""


def test_keys_are_made_once_and_are_the_same_after_a_restart(folder: KeyFolder, tmp_path: Path) -> None:
    first = folder.load("customhouse", NOW)
    again = KeyFolder(tmp_path / "keys", Vault(b"m" * 32), "hub.example").load("customhouse", NOW)
    assert (again.root.public, again.targets.public, again.release.public) == (
        first.root.public, first.targets.public, first.release.public,
    )
    assert again.former_roots == () and len({key.key_id for key in (first.targets.public, first.release.public)}) == 2


@pytest.mark.parametrize("role", ROLES)
def test_a_rotated_key_is_the_present_one_and_former_roots_are_kept(folder: KeyFolder, role: str) -> None:
    before, recorded = folder.load("customhouse", NOW), list[tuple[int, PublicKey]]()
    folder.rotate(role, NOW, lambda number, key: recorded.append((number, key)))
    folder.rotate(role, NOW, lambda number, key: recorded.append((number, key)))
    after = folder.load("customhouse", NOW)
    assert [number for number, _ in recorded] == [2, 3]
    assert getattr(after, role).public.canonical_id == recorded[-1][1].canonical_id
    assert [key.present for key in folder.keys(role)] == [False, False, True]
    former = [signer.public.canonical_id for signer in after.former_roots]
    assert former == ([before.root.public.canonical_id, recorded[0][1].canonical_id] if role == "root" else [])
    signature = getattr(after, role).sign(b"payload")
    assert getattr(after, role).public.verify(b"payload", signature.method, signature.value)


def test_a_key_that_cannot_be_recorded_is_not_made(folder: KeyFolder) -> None:
    def refuse(number: int, key: PublicKey) -> None:
        raise Conflict("no room in the log")

    with pytest.raises(Conflict):
        folder.rotate("release", NOW, refuse)
    assert len(folder.keys("release")) == 1


def test_what_is_no_key_and_what_does_not_belong_together_is_refused(folder: KeyFolder, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="'token' is no key of the hub"):
        folder.rotate("token", NOW, unheard)
    folder.rotate("release", NOW, unheard)
    new, old = tmp_path / "keys" / "release.2.sealed", tmp_path / "keys" / "release.sealed"
    new.write_bytes(old.read_bytes())  # an old key in the place of the new one does not open there
    with pytest.raises(SealBroken):
        folder.load("customhouse", NOW)
    new.unlink()
    folder.rotate("root", NOW, unheard)
    (tmp_path / "keys" / "root.2.crt").write_bytes((tmp_path / "keys" / "root.crt").read_bytes())
    with pytest.raises(Invalid, match="is not the certificate of the root key beside it"):
        folder.load("customhouse", NOW)


def rotate(hub: HubProcess, *words: str, **settings: str) -> dict[str, object]:
    """As an operator types it."""
    command = [str(Path(sys.executable).with_name("customhouse")), "hub-key", *words, "--data", str(hub.data), "--json"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(hub.data.parent), "CUSTOMHOUSE_ENGINE": "none"} | settings
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    document: dict[str, object] = json.loads(done.stdout)
    return {**document, "exit_code": done.returncode}


def test_an_operator_rotates_every_key_and_consumers_of_before_go_on(tmp_path: Path) -> None:
    hub = HubProcess(tmp_path / "hub" / "data").start()
    try:
        acme = Publisher(hub, tmp_path / "keys")
        acme.enrol()
        built = image("web")
        hub.wait_for(acme.release("web", "1", built), "published")
        pinned = frozenset({str(hub.api("GET", "/api/v1/trust/bundle")["roots"][0]["key_id"])})
        known = official(hub, "web", Anchor(enrolled=pinned))

        assert "another hub is running" in str(rotate(hub, "rotate", "root"))
        hub.stop()
        for role in ROLES:
            made = rotate(hub, "rotate", role)
            assert (made["exit_code"], made["number"], made["repositories"]) == (0, 2, 1), made
        listed = rotate(hub, "list")["keys"]
        assert [(key["role"], key["number"], key["present"]) for key in listed] == [  # type: ignore[index, attr-defined]
            (role, number, number == 2) for role in ROLES for number in (1, 2)
        ]
        hub.start()

        seen = {role: version for role, version in known.versions.items()}
        for anchor in (Anchor(enrolled=pinned, seen=seen), Anchor(known_root=known.root.raw, seen=seen)):
            trusted = official(hub, "web", anchor)
            assert trusted.tags["1"].digest == built.digest and trusted.root.version == 3
        hub.wait_for(acme.release("web", "2", image("web 2")), "published")
        hub.wait_for(acme.release("api", "1", image("api")), "published")
        assert set(official(hub, "web", Anchor(enrolled=pinned, seen=seen)).tags) == {"1", "2"}
        with pytest.raises(RootNotEnrolled):  # what begins now needs the bundle of now
            official(hub, "api", Anchor(enrolled=pinned))
        now = frozenset({str(hub.api("GET", "/api/v1/trust/bundle")["roots"][0]["key_id"])})
        assert now != pinned and official(hub, "api", Anchor(enrolled=now)).tags
        assert official(hub, "web", Anchor(enrolled=now)).tags
        assert hub.doctor() == []
        log = hub.api("GET", "/api/v1/audit?limit=1000")["entries"]
        assert [entry["subject"] for entry in log if entry["action"] == "hub-key.rotate"] == list(ROLES)
    finally:
        hub.close()


def official(hub: HubProcess, name: str, anchor: Anchor) -> TrustedRepository:
    transport = Transport(hub.url, tls=Tls(ca_file=hub.ca))
    try:
        return TrustClient(transport).fetch(Gun.parse(f"{hub.host}/acme/{name}"), anchor, datetime.now(UTC))
    finally:
        transport.close()


@pytest.mark.needs("softhsm2-util")
def test_the_hub_signs_with_keys_on_a_token_and_says_so_when_it_is_gone(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path / "softhsm").prepared()
    tokens.initialise("hub")
    pin = tmp_path / "pin"
    pin.write_text(PIN + "\n")
    source = f"&pin-source=file:{pin}"
    uris = {role: tokens.uri("hub", more=f";object={role}", query=source) for role in ("release", "root")}
    hub = HubProcess(tmp_path / "hub" / "data", more_environment=tokens.environment).start()
    try:
        acme = Publisher(hub, tmp_path / "keys")
        acme.enrol()
        hub.wait_for(acme.release("web", "1", image("web")), "published")
        known = official(hub, "web", Anchor())
        hub.stop()

        without = rotate(hub, "rotate", "release", "--pkcs11", tokens.uri("hub", more=";object=release"))
        assert "the hub has nobody to ask for a PIN" in str(without) and without["exit_code"] == 1
        for role, uri in uris.items():
            made = rotate(hub, "rotate", role, "--pkcs11", uri, **tokens.environment)
            assert (made["exit_code"], made["number"], made["repositories"]) == (0, 2, 1), made
            assert str(made["place"]).startswith("pkcs11:token=hub;object=" + role)
        again = rotate(hub, "rotate", "release", "--pkcs11", uris["release"], **tokens.environment)
        assert "this is a release key of the hub already" in str(again)
        sealed = sorted(path.name for path in (hub.data / "keys").iterdir())
        assert {"release.2.device", "root.2.device", "root.2.crt"} <= set(sealed)
        assert not {"release.2.sealed", "root.2.sealed"} & set(sealed), "the private keys are on the token only"

        hub.start()
        hub.wait_for(acme.release("web", "2", image("web 2")), "published")
        hub.wait_for(acme.release("api", "1", image("api")), "published")
        trusted = official(hub, "web", Anchor(known_root=known.root.raw, seen=dict(known.versions)))
        assert set(trusted.tags) == {"1", "2"} and hub.doctor() == []

        (tokens.folder / "tokens").rename(tokens.folder / "unplugged")
        hub.stop()
        hub.start()  # a hub serves what is official without the token
        assert set(official(hub, "web", Anchor()).tags) == {"1", "2"}
        reference = acme.release("web", "3", image("web 3"))
        deadline = time.monotonic() + 60
        while "step publish of" not in (said := hub.log.read_text()):  # it waits, and the log says for what
            assert time.monotonic() < deadline, said
            time.sleep(0.1)
        assert "the token 'hub'" in said or "no token 'hub'" in said
        assert hub.latest(reference)["state"] == "publishing"
        (tokens.folder / "unplugged").rename(tokens.folder / "tokens")
        hub.stop()
        hub.start()
        hub.wait_for(reference, "published")
        assert hub.doctor() == []
    finally:
        hub.close()
