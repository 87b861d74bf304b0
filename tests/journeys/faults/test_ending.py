"""How a hub ends and begins: one at a time, in time, and with a clock that somebody set back."""

import http.client
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from customhouse.oci.digest import Digest
from customhouse.registry.client import RegistryClient
from tests.journeys.faults.site import Site
from tests.publisher import image

TEN_SECONDS = 10.0


def _slow(value: object) -> Any:
    return pytest.param(value, marks=pytest.mark.slow)


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    try:
        yield made.open()
    finally:
        made.close()


def test_a_second_hub_on_the_same_directory_is_refused_and_harms_nothing(site: Site) -> None:
    site.publish("web", "1")
    second = subprocess.run(
        [str(Path(sys.executable).with_name("customhouse")), "serve", "--data", str(site.hub.data),
         "--listen", "127.0.0.1:0", "--url", site.hub.url],
        capture_output=True, text=True, timeout=30, env=site.hub.environment(),
    )
    assert second.returncode == 1, second.stderr
    assert "another hub is running" in second.stderr
    assert "Traceback" not in second.stderr
    site.publish("web", "2")
    site.assert_sound()


@pytest.mark.parametrize("point", [_slow("verify.pin"), "workflow.step.done", _slow("publish.signed")])
def test_sigterm_ends_within_ten_seconds_though_a_step_hangs(site: Site, point: str) -> None:
    """A step that never looks up, a reader who waits for news, a push that is half through."""
    built = image(point)
    with site.held_at(point) as arrived:
        site.publisher.release("web", "1", built)
        arrived()
        submission = site.submissions("web")[0]["id"]
        news = threading.Thread(target=lambda: _ignore(
            lambda: site.hub.api("GET", f"/api/v1/submissions/{submission}/events?after=99&wait=30")
        ))
        news.start()
        slow = _half_an_upload(site)
        time.sleep(0.3)
        began = time.monotonic()
        assert site.hub.stop(seconds=TEN_SECONDS) == 0
        assert time.monotonic() - began < TEN_SECONDS
        slow.close()
        news.join(10)
    site.hub.start()
    site.hub.wait_for("staging/acme/web:1", "published")
    site.assert_published_once("web", "1", built)
    assert len(site.submissions("web")) == 1
    site.assert_sound()


@pytest.mark.parametrize("wait", [0.0, _slow(0.05), 0.1, _slow(0.2), 0.3, _slow(0.45), _slow(0.6)])
def test_sigterm_at_any_moment_loses_nothing(site: Site, wait: float) -> None:
    built = image("any moment")
    site.publisher.release("web", "1", built)
    time.sleep(wait)
    assert site.hub.stop(seconds=TEN_SECONDS) == 0
    site.hub.start()
    site.hub.wait_for("staging/acme/web:1", "published")
    site.assert_published_once("web", "1", built)
    site.assert_sound()


def test_a_hub_that_hangs_up_is_ended_by_a_second_signal_too(site: Site) -> None:
    site.hub.process.send_signal(signal.SIGTERM)  # type: ignore[union-attr]
    time.sleep(0.2)
    if site.hub.process.poll() is None:  # type: ignore[union-attr]
        site.hub.process.send_signal(signal.SIGTERM)  # type: ignore[union-attr]
    assert site.hub.wait_dead(TEN_SECONDS) == 0


def test_a_clock_that_was_set_back_lowers_no_version_and_holds_nothing_up(site: Site) -> None:
    """Two days in a wrong future: what was signed then stays in order with what is signed afterwards."""
    before = image("before")
    site.hub.let_move("acme/web", "1")
    site.publish("web", "1", before)
    site.hub.stop()
    program = site.hub.program
    site.hub.settings["ahead"] = "172800"
    site.hub.program = (sys.executable, str(Path(__file__).with_name("ahead.py")))
    site.hub.start()
    future, _ = site.publish("web", "2")
    site.publisher.push("web", "3", image("3"))
    site.hub.stop()
    del site.hub.settings["ahead"]
    site.hub.program = program
    site.hub.sessions.clear()
    site.hub.start()
    after = image("after")
    site.publish("web", "4", after)
    site.publish("web", "1", image("newer"))
    trusted = site.official("web")
    assert trusted is not None
    versions = {str(role): version for role, version in trusted.versions.items()}
    assert (versions["targets/releases"], versions["snapshot"], versions["timestamp"]) == (4, 4, 4)
    time.sleep(3)  # a turn or two of the hub's thread
    again = site.official("web")
    assert again is not None
    assert again.timestamp.version == 4
    site.hub.api("POST", f"/api/v1/submissions/{future}/withdraw", {"reason": "from the future"})
    assert site.tag("web", "2") is None
    site.assert_published_once("web", "4", after, releases=5)
    assert [item["state"] for item in site.submissions("web")].count("published") == 3
    site.assert_sound()


def _half_an_upload(site: Site) -> http.client.HTTPSConnection:
    """A request whose body stops in its middle and stays open."""
    repository = site.publisher.repository("slow")
    with site.publisher.transport() as transport:
        scope = (f"repository:{repository}:pull,push",)
        begun = transport.request("POST", f"/v2/{repository}/blobs/uploads/", scopes=scope, body=b"", expect=(202,))
        token, _ = transport._tokens[frozenset(scope)]
    context = ssl.create_default_context(cafile=str(site.hub.ca))
    connection = http.client.HTTPSConnection("localhost", site.hub.port, context=context, timeout=30)
    connection.putrequest("PATCH", begun.headers["location"].removeprefix(site.hub.url))
    connection.putheader("Authorization", f"Bearer {token}")
    connection.putheader("Content-Type", "application/octet-stream")
    connection.putheader("Content-Length", "1000000")
    connection.endheaders()
    connection.send(b"x" * 1000)
    return connection


def _ignore(act: object) -> None:
    try:
        act()  # type: ignore[operator]
    except Exception:  # the hub goes while we wait
        pass


def test_an_upload_cut_by_a_kill_is_taken_up_where_it_was(site: Site) -> None:
    content = b"y" * 300_000
    digest, repository = Digest.of(content), site.publisher.repository("slow")
    scope = (f"repository:{repository}:pull,push",)
    with site.publisher.transport() as transport:
        begun = transport.request("POST", f"/v2/{repository}/blobs/uploads/", scopes=scope, body=b"", expect=(202,))
        location = begun.headers["location"]
        transport.request("PATCH", location, scopes=scope, body=content[:100_000], expect=(202,))
    site.hub.kill()
    site.hub.start()
    with site.publisher.transport() as transport:
        standing = transport.request("GET", location, scopes=scope, expect=(204,))
        assert standing.headers["range"] == "0-99999"
        transport.request("PATCH", location, scopes=scope, body=content[100_000:], expect=(202,))
        transport.request("PUT", location, scopes=scope, query={"digest": digest}, body=b"", expect=(201,))
        assert RegistryClient(transport).blob(repository, digest) == content
    site.assert_sound()
