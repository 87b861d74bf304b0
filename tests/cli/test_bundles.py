"""A bundle over the wire: a hub whose keys were rotated, and one that lies about its list."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from customhouse.cli.bundles import fetch_bundle
from customhouse.cli.hub_api import HubApi
from customhouse.keys import PrivateKey
from customhouse.remote import RemoteFailed
from customhouse.transport import Transport
from customhouse.trust.bundle import Bundle, BundledRoot, InvalidBundle
from customhouse.trust.certificates import root_certificate
from tests.cli.conftest import Person
from tests.cli.test_trust import pinned_root
from tests.hub_process import HubProcess
from tests.publisher import Publisher, image


def test_who_pinned_before_a_rotation_goes_on_with_the_old_bundle_and_with_the_new_one(tmp_path: Path) -> None:
    hub = HubProcess(tmp_path / "hub" / "data").start()
    carol, away = Person(tmp_path / "carol", {"CUSTOMHOUSE_CA_FILE": str(hub.ca)}), Person(tmp_path / "away")
    gun, old, new = f"{hub.host}/acme/web", tmp_path / "old.json", tmp_path / "new.json"
    try:
        acme = Publisher(hub, tmp_path / "keys")
        acme.enrol()
        hub.wait_for(acme.release("web", "1", image("web")), "published")
        carol("trust", "export", "--url", hub.url, "--out", old, "--metadata")
        carol("trust", "pin", "--bundle", old)
        away("trust", "pin", "--bundle", old)
        hub.stop()
        for _ in range(2):
            command = [str(Path(sys.executable).with_name("customhouse")), "hub-key", "rotate", "root"]
            subprocess.run([*command, "--data", str(hub.data)], check=True, capture_output=True, timeout=60,
                           env={"CUSTOMHOUSE_ENGINE": "none", "HOME": str(tmp_path)})
        hub.start()
        carol("trust", "export", "--url", hub.url, "--out", new, "--metadata")
        before, after = (Bundle.parse(path.read_bytes()) for path in (old, new))
        assert not before.root_keys & after.root_keys and len(after.repositories[0].earlier) == 2

        assert carol("verify", f"{gun}:1", "--bundle", old, "--json").json["versions"]["root"] == 3
        for bundle in (old, new):
            [told] = carol("trust", "pin", gun, "--bundle", bundle, "--json").json["repositories"]
            assert (told["version"], told["root_key_ids"]) == (3, sorted(after.root_keys))
        # Without a network the earlier roots in the bundle are the way from the pin, and from the old bundle's key.
        [told] = away("trust", "pin", "--bundle", new, "--json").json["repositories"]
        assert (told["result"], told["version"]) == ("pinned", 3)
        assert json.loads(pinned_root(away, gun).read_bytes())["signed"]["version"] == 3
        mixed = json.loads(new.read_text()) | {"roots": json.loads(old.read_text())["roots"]}
        (tmp_path / "mixed.json").write_text(json.dumps(mixed))
        done = away("verify", f"{gun}:1", "--offline", "--bundle", tmp_path / "mixed.json", "--json").json
        assert (done["verdict"], done["versions"]["root"]) == ("certified", 3)
    finally:
        hub.close()


@contextmanager
def hub_that(pages: Callable[[str], dict[str, Any]]) -> Iterator[HubApi]:
    """A server with a sound bundle, and pages of repositories as it likes."""
    root = BundledRoot(root_certificate(PrivateKey.generate(), "hub.example/*", datetime.now(UTC)).decode())
    head = Bundle("hub.example", "https://hub.example", "customhouse", datetime.now(UTC), (root,)).document()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(head if self.path.endswith("/bundle") else pages(self.path)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield HubApi(Transport(f"http://127.0.0.1:{server.server_address[1]}"))
    finally:
        server.shutdown()
        server.server_close()


def entry(number: int) -> dict[str, str]:
    return {"gun": f"hub.example/acme/r{number:05d}", "root": ""}


@pytest.mark.parametrize(
    "pages",
    [
        lambda path: {"repositories": [], "next": "again"},
        lambda path: {"repositories": [entry(1)], "next": "again"},
        lambda path: {"repositories": [entry(2 if "after" in path else 3)], "next": "again"},
    ],
)
def test_a_list_that_does_not_come_forward_is_not_followed(pages: Callable[[str], dict[str, Any]]) -> None:
    with hub_that(pages) as hub, pytest.raises(RemoteFailed, match="the list of hub.example does not come to an end"):
        fetch_bundle(hub, (), metadata=False)


@pytest.mark.parametrize(
    ("listed", "why"),
    [
        ([{"gun": "other.example/acme/web", "root": ""}], "this hub signs for hub.example only"),
        ([{"gun": "hub.example/../../.ssh", "root": ""}], "is not a repository under trust"),
        ([{"gun": "hub.example/acme/web"}], "missing required field `root`"),
        ("all of them", "Expected `array`"),
    ],
)
def test_what_is_no_page_is_refused_before_it_becomes_a_path(listed: Any, why: str) -> None:
    with hub_that(lambda path: {"repositories": listed}) as hub, pytest.raises(InvalidBundle) as caught:
        fetch_bundle(hub, (), metadata=False)
    assert why in caught.value.message
