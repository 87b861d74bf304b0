"""Each spoiler once more, with one role, through the trust client and a real HTTP server: the same exact reasons."""

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from customhouse.errors import CustomhouseError
from customhouse.testing.spoilers import HARMLESS, SPOILERS, Spoiler
from customhouse.testing.spoilers.harmless import Harmless
from customhouse.testing.trust_simulator import TrustSimulator
from customhouse.transport import Transport
from customhouse.trust.client import Anchor, TooMuch, TrustClient
from customhouse.trust.fields import InvalidMetadata
from customhouse.trust.names import RELEASES, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, RoleName
from customhouse.trust.verify import Altered, TrustedRepository, TrustError
from tests.trust.spoiling import NOW, as_seen, complete, first_root

# Over the wire a length is a limit: a longer answer is not read to its end, and an absurd one is not asked for.
LIMITS = {"named-length-less": TooMuch, "named-length-zero": TooMuch, "named-length-huge": TrustError}


class Site:
    """Serves whatever it is given, for whatever hash it is asked: a trust server that believes nothing and lies."""

    def __init__(self) -> None:
        self.files: dict[RoleName, bytes] = {}
        self.roots: list[bytes] = []
        self.encoding = ""
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 1024 * 1024  # one packet for head and body

            def do_GET(self) -> None:
                raw = site.answer(self.path.rpartition("/_trust/tuf/")[2].removesuffix(".json"))
                self.send_response(404 if raw is None else 200)
                if site.encoding:
                    self.send_header("Content-Encoding", site.encoding)
                self.send_header("Content-Length", str(len(raw or b"")))
                self.end_headers()
                self.wfile.write(raw or b"")

            def log_message(self, format: str, *arguments: object) -> None:
                """Not on the terminal."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        self.client = TrustClient(Transport(f"http://127.0.0.1:{self.server.server_port}"))

    def answer(self, name: str) -> bytes | None:
        first, _, rest = name.partition(".")
        if first.isdigit():
            return self.roots[int(first) - 1] if rest == ROOT and int(first) <= len(self.roots) else None
        return self.files.get(RoleName(first))

    def read(self, sim: TrustSimulator) -> TrustedRepository:
        self.files, self.roots = sim.files(), [first_root()]
        enrolled = frozenset({complete().keys[ROOT][0].public.canonical_id})
        return self.client.fetch(sim.gun, Anchor(enrolled, first_root(), as_seen().versions), NOW)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(autouse=True)
def plain(site: Site) -> None:
    site.encoding = ""


def one_role_each() -> list[object]:
    """Each spoiler with one of its roles, the roles in turn."""
    return [
        pytest.param(spoiler, role, id=f"{spoiler.name}-{role}")
        for number, spoiler in enumerate(SPOILERS)
        for role in [spoiler.roles[number % len(spoiler.roles)]]
    ]


@pytest.mark.parametrize(("spoiler", "role"), one_role_each())
def test_what_is_spoilt_is_refused_over_the_wire_as_at_the_desk(site: Site, spoiler: Spoiler, role: RoleName) -> None:
    sim = complete()
    expected = spoiler.at_client(sim, role)
    spoiler.apply(sim, role)
    if expected is None:
        assert site.read(sim).versions
        return
    if expected.left_out:
        found = site.read(sim)
        assert list(found.skipped) == [expected.role]
        assert expected.fits(found.skipped[expected.role]), f"expected {expected}, got {found.skipped}"
        return
    with pytest.raises(CustomhouseError) as refused:
        site.read(sim)
    if spoiler.name in LIMITS:
        assert type(refused.value) is LIMITS[spoiler.name]
        assert getattr(refused.value, "role", "") == expected.role
    else:
        assert expected.fits(refused.value), f"expected {expected}, got {refused.value!r}"


@pytest.mark.parametrize("change", [pytest.param(each, id=each.name) for each in HARMLESS])
def test_what_other_clients_write_is_read(site: Site, change: Harmless) -> None:
    sim = complete()
    for role in change.roles:
        change.apply(sim, role)
    found = site.read(sim)
    assert not found.skipped and found.versions.keys() == as_seen().versions.keys()


def test_every_role_has_its_turn() -> None:
    roles = {param.values[1] for param in one_role_each()}  # type: ignore[attr-defined]
    assert roles == set(as_seen().versions)


def test_a_compressed_answer_is_not_inflated(site: Site) -> None:
    """None is asked for: one that comes is read as the bytes that it is, so that nothing small becomes large."""
    sim = complete()
    site.encoding = "gzip"
    bomb = gzip.compress(b"0" * 200_000_000, 1)
    assert len(bomb) < 1024 * 1024
    sim.replace(TIMESTAMP, bomb)
    with pytest.raises(InvalidMetadata) as refused:
        site.read(sim)
    assert (refused.value.role, refused.value.reason) == (TIMESTAMP, "it is not UTF-8")


@pytest.mark.parametrize("role", [SNAPSHOT, ROOT, TARGETS, RELEASES])
def test_a_proxys_page_in_a_files_place_is_not_the_file(site: Site, role: RoleName) -> None:
    sim = complete()
    sim.replace(role, b"<html>Sign in</html>")
    with pytest.raises(Altered) as refused:
        site.read(sim)
    assert (refused.value.role, refused.value.what) == (role, "length")
