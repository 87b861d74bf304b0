"""The trust client's cache and limits: what it asks for, what it believes, and how it ends with servers that do not."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from customhouse.cli.kept import Kept
from customhouse.oci.digest import Digest
from customhouse.remote import Unreachable
from customhouse.testing.trust_simulator import TrustSimulator
from customhouse.transport import Patience, Tls, Transport
from customhouse.trust import client as module
from customhouse.trust.client import Anchor, NoTrustData, TooMuch, TrustClient
from customhouse.trust.key_directory import KeyDirectory
from customhouse.trust.names import RELEASES, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Gun, RoleName
from customhouse.trust.publish import TrustPublisher
from customhouse.trust.verify import Altered, RoleMissing, TrustError
from tests.peers.certificates import loopback_certificate
from tests.peers.servers import notary_server

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
ONE, TWO = Digest.of(b"one"), Digest.of(b"two")


class Recording(Transport):
    """The real transport; it notes which metadata it was asked for."""

    def __init__(self, url: str, **more: Any) -> None:
        super().__init__(url, **more)
        self.asked: list[str] = []

    def request(self, method: str, path: str, **more: Any) -> Any:
        self.asked.append(path.rpartition("/_trust/tuf/")[2])
        return super().request(method, path, **more)

    def since(self) -> list[str]:
        """Roles asked for since the last time: the hash in a name is left out."""
        found, self.asked = [name.split(".")[0 if name[0] not in "123456789" else 1] for name in self.asked], []
        return found


# -- a real server ------------------------------------------------------------------------------------------------


@pytest.mark.needs("notary-server")
def test_an_unchanged_repository_costs_one_request_and_a_changed_one_what_changed(tmp_path: Path) -> None:
    tls = loopback_certificate(tmp_path / "tls")
    peer = notary_server(tmp_path / "notary", tls)
    try:
        gun = Gun.parse(f"{peer.host}/acme/web")
        transport = Recording(f"https://{peer.host}", tls=Tls(ca_file=tls.ca))
        clock = lambda: datetime.now(UTC)  # noqa: E731
        publisher = TrustPublisher(
            Transport(f"https://{peer.host}", tls=Tls(ca_file=tls.ca)),
            KeyDirectory(tmp_path / "keys", lambda role, key, new: b"a passphrase"), clock,
        )
        publisher.sign_tag(gun, "1", ONE, 3)

        def read() -> list[str]:
            kept = Kept(tmp_path / "state", gun)
            reading = TrustClient(transport, kept).read(gun, Anchor(None, kept.root, kept.versions), clock())
            kept.keep(reading)
            assert set(reading.repository.tags) <= {"1", "2"}
            return transport.since()

        assert read() == ["timestamp", "snapshot", "root", "targets"]
        assert read() == ["timestamp"]
        publisher.sign_tag(gun, "2", TWO, 3)
        assert read() == ["timestamp", "snapshot", "targets"]
        [cached] = Kept(tmp_path / "state", gun).folder.glob("targets.*")
        cached.write_bytes(cached.read_bytes() + b" ")
        assert read() == ["timestamp", "targets"]  # damaged: fetched anew
        assert read() == ["timestamp"]
    finally:
        peer.stop()


# -- servers that answer as they like -------------------------------------------------------------------------------

Answering = Callable[[str, socket.socket], None]


@contextmanager
def server(answering: Answering) -> Iterator[Recording]:
    """Plain HTTP on loopback; every connection has one request, `answering` writes the answer by the path's end."""
    listening = socket.create_server(("127.0.0.1", 0))
    stopped = threading.Event()

    def serve(connection: socket.socket) -> None:
        with connection:
            head = b""
            while b"\r\n\r\n" not in head:
                piece = connection.recv(65536)
                if not piece:
                    return
                head += piece
            path = head.split()[1].decode()
            try:
                if path == "/v2/":
                    send(connection, b"{}")
                else:
                    answering(path.rpartition("/_trust/tuf/")[2], connection)
            except OSError:
                return  # the client hung up, as it should

    def accept() -> None:
        while not stopped.is_set():
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield Recording(f"http://127.0.0.1:{listening.getsockname()[1]}")
    finally:
        stopped.set()
        listening.close()


def send(connection: socket.socket, body: bytes, status: str = "200 OK", length: int | None = None) -> None:
    size = len(body) if length is None else length
    connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n".encode() + body)


def of(files: Mapping[RoleName, bytes], **other: Answering) -> Answering:
    """An honest server of these files, except where `other` names a role."""

    def answer(name: str, connection: socket.socket) -> None:
        parts = name.removesuffix(".json").split(".")
        role = parts[-1] if parts[0].isdigit() else parts[0]
        if role in other:
            other[role](name, connection)
        elif role in files and not parts[0].isdigit():
            send(connection, files[RoleName(role)])
        else:
            send(connection, b"", "404 Not Found")

    return answer


@pytest.fixture
def sim() -> TrustSimulator:
    made = TrustSimulator("127.0.0.1/acme/web", NOW)
    made.sign_tag("1")
    return made


def fetch(transport: Transport, sim: TrustSimulator, **more: Any) -> Any:
    return TrustClient(transport, **more).fetch(sim.gun, Anchor(), NOW)


def endless(name: str, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    while True:
        connection.sendall(b" " * 65536)


def dripping(name: str, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\nConnection: close\r\n\r\n")
    for _ in range(4000):
        connection.sendall(b" ")
        time.sleep(0.02)


def test_an_honest_server_is_read(sim: TrustSimulator) -> None:
    with server(of(sim.files())) as transport:
        assert set(fetch(transport, sim).tags) == {"1"}


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "root", "targets"])
def test_a_file_that_does_not_end_is_cut_off_at_its_limit(sim: TrustSimulator, role: str) -> None:
    files = sim.files()
    limit = module.LARGEST_TIMESTAMP if role == TIMESTAMP else len(files[RoleName(role)])
    with server(of(files, **{role: endless})) as transport, pytest.raises(TooMuch) as caught:
        fetch(transport, sim)
    assert (caught.value.role, caught.value.message) == (role, f"{role} goes on after {limit} bytes")


@pytest.mark.parametrize("role", ["timestamp", "targets"])
def test_a_server_that_drips_is_left_after_the_seconds_that_were_given(sim: TrustSimulator, role: str) -> None:
    began = time.monotonic()
    with server(of(sim.files(), **{role: dripping})) as transport, pytest.raises(Unreachable, match="too slowly"):
        fetch(transport, sim, seconds=1.0)
    assert time.monotonic() - began < 5


def test_more_bytes_than_were_announced_are_not_read_and_fewer_are_an_error(sim: TrustSimulator) -> None:
    files = sim.files()

    def more(name: str, connection: socket.socket) -> None:
        send(connection, files[SNAPSHOT] + b"and more", length=len(files[SNAPSHOT]))

    def fewer(name: str, connection: socket.socket) -> None:
        send(connection, files[SNAPSHOT], length=len(files[SNAPSHOT]) + 9)

    with server(of(files, snapshot=more)) as transport:
        assert set(fetch(transport, sim).tags) == {"1"}
    with server(of(files, snapshot=fewer)) as transport, pytest.raises(Unreachable):
        fetch(transport, sim)


def test_a_shorter_or_other_file_is_named_with_the_one_above(sim: TrustSimulator) -> None:
    files = sim.files()
    for changed, what in ((files[TARGETS][:-1], "length"), (files[TARGETS].replace(b"sha256", b"sha257"), "hash")):

        def other(name: str, connection: socket.socket, raw: bytes = changed) -> None:
            send(connection, raw)

        told = f"the {what} of targets is not the one that snapshot names"
        with server(of(files, targets=other)) as transport, pytest.raises(Altered, match=told):
            fetch(transport, sim)


def test_no_answer_and_no_file_are_errors_and_never_an_empty_repository(sim: TrustSimulator) -> None:
    def missing(name: str, connection: socket.socket) -> None:
        send(connection, b"", "404 Not Found")

    def broken(name: str, connection: socket.socket) -> None:
        return

    files = sim.files()
    with server(of(files, timestamp=missing)) as transport, pytest.raises(NoTrustData):
        fetch(transport, sim)
    with server(of(files, targets=missing)) as transport, pytest.raises(RoleMissing) as caught:
        fetch(transport, sim)
    assert caught.value.role == TARGETS
    with server(of(files, timestamp=broken)) as transport, pytest.raises(Unreachable):
        fetch(transport, sim)


def test_a_cache_does_not_hide_that_the_server_gives_no_timestamp(sim: TrustSimulator, tmp_path: Path) -> None:
    kept = Kept(tmp_path, sim.gun)
    with server(of(sim.files())) as transport:
        kept.keep(TrustClient(transport, kept).read(sim.gun, Anchor(), NOW))

    def missing(name: str, connection: socket.socket) -> None:
        send(connection, b"", "503 Service Unavailable")

    with server(of(sim.files(), timestamp=missing)) as transport, pytest.raises(Exception, match="answered 503"):
        TrustClient(transport, kept).read(sim.gun, Anchor(None, kept.root, kept.versions), NOW)


def test_what_fails_is_not_kept(sim: TrustSimulator, tmp_path: Path) -> None:
    sim.forge(TARGETS)
    kept = Kept(tmp_path, sim.gun)
    with server(of(sim.files())) as transport, pytest.raises(TrustError, match="targets version 1 has 0 of 1"):
        TrustClient(transport, kept).read(sim.gun, Anchor(), NOW)
    assert not list(tmp_path.rglob("*.json"))


def test_a_tree_of_delegations_beyond_the_bound_ends_the_reading(
    sim: TrustSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        sim.delegate(f"targets/d{number}")
    with server(of(sim.files())) as transport:
        assert fetch(transport, sim)
        monkeypatch.setattr(module, "MOST_DELEGATIONS", 10)
        with pytest.raises(TrustError, match="has more than 10 delegations") as caught:
            fetch(transport, sim)
    assert caught.value.role == TARGETS


def test_all_files_together_have_a_limit_too(sim: TrustSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    files = sim.files()
    monkeypatch.setattr(module, "LARGEST_REPOSITORY", sum(map(len, files.values())) - 10)
    with server(of(files)) as transport, pytest.raises(TooMuch, match="the metadata of 127.0.0.1/acme/web goes on"):
        fetch(transport, sim)


def test_a_length_beyond_the_limit_is_not_even_asked_for(sim: TrustSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST_FILE", 100)
    with server(of(sim.files())) as transport:
        with pytest.raises(TrustError, match="snapshot of 127.0.0.1/acme/web is said to have") as caught:
            fetch(transport, sim)
        assert caught.value.role == SNAPSHOT and transport.since() == ["timestamp"]


def test_roots_between_are_asked_for_by_version_once_and_kept(sim: TrustSimulator, tmp_path: Path) -> None:
    """The pinned key signed version 1 only; the way to version 3 is asked for once."""
    pinned = frozenset({sim.keys[ROOT][0].public.canonical_id})
    for _ in range(2):
        sim.rotate_root()
    files = sim.files()

    def roots(name: str, connection: socket.socket) -> None:
        first = name.split(".")[0]
        send(connection, sim.roots[int(first) - 1] if first.isdigit() else files[ROOT])

    kept = Kept(tmp_path, sim.gun)
    with server(of(files, root=roots)) as transport:
        for asked in (["timestamp", "snapshot", "root", "targets", "root", "root"], ["timestamp"]):
            anchor = Anchor(pinned, None, kept.versions, kept.roots)
            reading = TrustClient(transport, kept).read(sim.gun, anchor, NOW)
            kept.keep(reading)
            assert reading.repository.root.version == 3
            assert transport.since() == asked


def test_a_delegation_that_was_only_unusable_is_not_forgotten(sim: TrustSimulator, tmp_path: Path) -> None:
    sim.delegate(RELEASES)
    sim.bump(RELEASES, RELEASES)
    kept = Kept(tmp_path, sim.gun)

    def read() -> None:
        with server(of_delegation(sim)) as transport:
            kept.keep(TrustClient(transport, kept).read(sim.gun, Anchor(None, None, kept.versions), NOW))

    read()
    assert kept.versions[RELEASES] == 3
    sim.expire(RELEASES)
    sim.bump(SNAPSHOT, TIMESTAMP)
    read()
    assert Kept(tmp_path, sim.gun).versions[RELEASES] == 3
    sim.remove_delegation(RELEASES)
    sim.bump(TARGETS, SNAPSHOT, TIMESTAMP)
    read()
    assert RELEASES not in Kept(tmp_path, sim.gun).versions  # a new one of this name begins at 1


def of_delegation(sim: TrustSimulator) -> Answering:
    files = sim.files()

    def answer(name: str, connection: socket.socket) -> None:
        role = name.split(".")[0]
        known = {str(each).rpartition("/")[2]: raw for each, raw in files.items()}
        send(connection, known[role.rpartition("/")[2]])

    return answer


def test_two_readers_at_once_never_put_a_version_back(sim: TrustSimulator, tmp_path: Path) -> None:
    late = Kept(tmp_path, sim.gun)
    with server(of(sim.files())) as transport:
        older = TrustClient(transport).read(sim.gun, Anchor(), NOW)
    sim.bump(SNAPSHOT, TIMESTAMP)
    with server(of(sim.files())) as transport:
        Kept(tmp_path, sim.gun).keep(TrustClient(transport).read(sim.gun, Anchor(), NOW))
    late.keep(older)  # it began before, and ends after
    assert Kept(tmp_path, sim.gun).versions[TIMESTAMP] == 2


def test_expiry_counts_for_cached_files_too(sim: TrustSimulator, tmp_path: Path) -> None:
    kept = Kept(tmp_path, sim.gun)
    with server(of(sim.files())) as transport:
        kept.keep(TrustClient(transport, kept).read(sim.gun, Anchor(), NOW))
        with pytest.raises(TrustError, match="timestamp version 1 expired on"):
            TrustClient(transport, kept).read(sim.gun, Anchor(), NOW + timedelta(days=30))


def drip_head(name: str, connection: socket.socket) -> None:
    """Each byte comes in time, and the head never ends."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
    for _ in range(4000):
        connection.sendall(b"x")
        time.sleep(0.05)


def test_a_head_that_drips_ends_like_a_silent_one(sim: TrustSimulator) -> None:
    with server(of(sim.files(), timestamp=drip_head)) as quick:
        impatient = Transport(quick.url, patience=Patience(connect=1.0, read=0.5, total=1.0))
        began = time.monotonic()
        with pytest.raises(Unreachable, match="did not answer in time"):
            fetch(impatient, sim)
        assert time.monotonic() - began < 5


def test_a_hand_shake_that_drips_ends_too(sim: TrustSimulator) -> None:
    """A record of TLS whose bytes come one by one."""
    listening = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                try:
                    for byte in b"\x16\x03\x03\x40\x00" + b"\x02" * 4000:
                        connection.sendall(bytes([byte]))
                        time.sleep(0.05)
                except OSError:
                    continue

    threading.Thread(target=drip, daemon=True).start()
    try:
        impatient = Transport(
            f"https://127.0.0.1:{listening.getsockname()[1]}", patience=Patience(connect=0.5, read=0.5, total=1.0)
        )
        began = time.monotonic()
        with pytest.raises(Unreachable):
            fetch(impatient, sim)
        assert time.monotonic() - began < 8
    finally:
        listening.close()
