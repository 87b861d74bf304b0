"""Several processes behind one address: they are one hub, and none of them is needed."""

import os
import re
import signal
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
import urllib3

from tests.conformance.wire import Wire
from tests.hub_process import HubProcess
from tests.publisher import Publisher, image

MIB = 1024 * 1024


@pytest.fixture
def hub(tmp_path: Path, database_url: str) -> Iterator[HubProcess]:
    settings = {} if database_url.startswith("sqlite") else {"database": database_url}
    made = HubProcess(tmp_path / "hub", arguments=("--processes", "3"), settings=settings).start()
    yield made
    made.close()
    _gone(made)


@pytest.fixture
def publisher(hub: HubProcess, tmp_path: Path) -> Publisher:
    made = Publisher(hub, tmp_path / "keys")
    made.enrol()
    return made


def children(hub: HubProcess) -> list[int]:
    assert hub.process is not None
    told = Path(f"/proc/{hub.process.pid}/task/{hub.process.pid}/children").read_text()
    return [int(each) for each in told.split()]


def _gone(hub: HubProcess) -> None:
    """Whoever is left when the parent is gone ends by itself, and lets go of the data."""
    deadline = time.monotonic() + 15
    while str(hub.data) in "".join(_command(each) for each in Path("/proc").glob("[0-9]*")):
        assert time.monotonic() < deadline, "a process outlived its parent"
        time.sleep(0.1)


def _command(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode() if process.name != "self" else ""
    except OSError:
        return ""


def test_several_processes_are_one_hub(hub: HubProcess, publisher: Publisher) -> None:
    before = children(hub)
    assert len(before) == 3
    for tag in ("1", "2", "3"):
        publisher.release("web", tag, image(tag))
        assert hub.wait_for(f"staging/acme/web:{tag}", "published")["state"] == "published"
    assert [hub.doctor() for _ in range(6)] == [[]] * 6  # by whichever process
    assert children(hub) == before
    assert hub.stop() == 0


def test_numbers_are_those_of_all_processes_whoever_is_asked(hub: HubProcess, publisher: Publisher) -> None:
    wire = Wire(publisher, "staging/acme/web")
    for _ in range(30):
        assert wire.request("GET", "/tags/list").status in (200, 404)

    def counted() -> float:
        text = urllib3.PoolManager(ca_certs=str(hub.ca)).request("GET", f"{hub.url}/metrics").data.decode()
        return sum(float(n) for n in re.findall(r'customhouse_answers_total\{door="registry".*\} (.*)', text))

    time.sleep(1.5)  # each says its own once in a second
    seen = [counted()]
    assert seen[0] >= 30
    for _ in range(12):
        wire.request("GET", "/tags/list")
        seen.append(counted())
    os.kill(children(hub)[1], signal.SIGKILL)
    seen += [counted() for _ in range(12)]
    assert seen == sorted(seen)


def test_an_upload_goes_on_in_another_process_when_its_own_is_killed(hub: HubProcess, publisher: Publisher) -> None:
    wire = Wire(publisher, "staging/acme/web")
    content = os.urandom(12 * MIB)
    place = wire.request("POST", "/blobs/uploads/").headers["location"]
    assert wire.request("PATCH", place, content[:MIB]).status == 202
    cut = wire.connection()
    cut.putrequest("PATCH", place)
    for name, value in (*wire.authorization.items(), ("content-length", str(len(content) - MIB))):
        cut.putheader(name, value)
    cut.endheaders(content[MIB : 7 * MIB])
    upload = hub.data / "blobs" / "uploads" / place.rpartition("/")[2]
    writer = _writer(hub, upload)
    os.kill(writer, signal.SIGKILL)
    cut.close()

    told, deadline = wire.request("GET", place), time.monotonic() + 5
    while told.status == 409 and time.monotonic() < deadline:  # the kernel lets go of its lock a moment after the kill
        time.sleep(0.05)
        told = wire.request("GET", place)
    assert told.status == 204, told.data
    offset = int(told.headers["range"].partition("-")[2]) + 1
    assert MIB <= offset <= 7 * MIB
    middle = (offset + len(content)) // 2
    for start, end in ((offset, middle), (middle, len(content))):
        sent = {**wire.authorization, "content-range": f"{start}-{end - 1}"}
        assert wire.request("PATCH", place, content[start:end], headers=sent).status == 202
    digest = f"sha256:{sha256(content).hexdigest()}"
    assert wire.request("PUT", f"{place}?digest={digest}").status == 201
    assert [sha256(wire.request("GET", f"/blobs/{digest}").data).hexdigest() for _ in range(3)] == [digest[7:]] * 3
    deadline = time.monotonic() + 15
    while len(children(hub)) < 3 or writer in children(hub):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    publisher.release("web", "after", image("after"))
    hub.wait_for("staging/acme/web:after", "published")  # also where the first process was the one that died
    assert hub.doctor() == []


def _writer(hub: HubProcess, upload: Path) -> int:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        for child in children(hub):
            for fd in Path(f"/proc/{child}/fd").iterdir():
                try:
                    if fd.readlink() == upload and upload.stat().st_size > MIB:
                        return child
                except FileNotFoundError:
                    continue
        time.sleep(0.02)
    raise AssertionError("nobody writes to the upload")


@pytest.mark.parametrize("which", [0, 1])
def test_a_dead_process_is_started_again(hub: HubProcess, publisher: Publisher, which: int) -> None:
    dead = children(hub)[which]
    os.kill(dead, signal.SIGKILL)
    publisher.release("web", "1", image("1"))  # what waits for the dead one is answered by the next in its place
    hub.wait_for("staging/acme/web:1", "published")
    assert dead not in children(hub) and len(children(hub)) == 3
    assert hub.stop() == 0


def test_processes_end_with_their_parent(hub: HubProcess) -> None:
    assert len(children(hub)) == 3
    hub.kill()
    _gone(hub)
    hub.start()


def test_a_start_that_fails_says_why_and_ends(tmp_path: Path) -> None:
    first = HubProcess(tmp_path / "one" / "hub", arguments=("--processes", "2")).start()
    try:
        again = HubProcess(first.data, port=first.port, arguments=("--processes", "2")).start(wait=False)
        assert again.wait_dead(20) == 1
        other = HubProcess(tmp_path / "two" / "hub", port=first.port, arguments=("--processes", "2"))
        other.start(wait=False)
        assert other.wait_dead(20) not in (0, -9)
        assert "in use" in other.log.read_text()
    finally:
        first.close()
        _gone(first)
