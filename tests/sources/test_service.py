"""Registering sources, and what a registered server can make the hub do."""

import json
import time
from collections.abc import Callable, Iterator

import pytest

from customhouse.accounts.people import Principal
from customhouse.errors import Denied, Invalid, NotFound
from customhouse.signing import Vault
from customhouse.sources.service import SourceFailed, SourcesService, SourceUnknown
from customhouse.sources.store import SourcesStore
from tests.rooms import ADMIN, CARL, HOST, MACHINE, OTTO, PAULA, READER, Rooms
from tests.test_transport import Request, Server

URL, SECRET = "https://registry.vendor.example", "a secret of the vendor's"


def add(rooms: Rooms, url: str = URL, publisher: str = "acme", **more: str) -> None:
    rooms.sources.add(ADMIN, publisher, url, **more)


def hosts(rooms: Rooms, who: Principal) -> list[str]:
    return [f"{each.publisher}@{each.host}" for each in rooms.sources.visible(who)]


# ---- who registers, and what


@pytest.mark.parametrize("who", [PAULA, CARL, MACHINE])
def test_only_administrators_register_and_end(rooms: Rooms, who: Principal) -> None:
    with pytest.raises(Denied, match="only an administrator may register a source"):
        rooms.sources.add(who, "acme", URL)
    add(rooms)
    with pytest.raises(Denied):
        rooms.sources.remove(who, "acme", "registry.vendor.example")
    assert hosts(rooms, ADMIN) == ["acme@registry.vendor.example"]


def test_people_see_the_sources_of_their_publishers_and_certifiers_all(rooms: Rooms) -> None:
    add(rooms)
    add(rooms, "https://registry.other.example:5000", "other")
    mine, all_ = ["acme@registry.vendor.example"], ["acme@registry.vendor.example", "other@registry.other.example:5000"]
    assert [hosts(rooms, who) for who in (PAULA, READER, CARL, ADMIN)] == [mine, mine, all_, all_]
    assert hosts(rooms, OTTO) == ["other@registry.other.example:5000"]


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://registry.vendor.example", "is not encrypted"),
        ("http://10.0.0.1:5000", "is not encrypted"),
        ("http://127.0.0.1.vendor.example", "is not encrypted"),
        ("registry.vendor.example", "is not a server's address"),
        ("ftp://registry.vendor.example", "is not a server's address"),
        ("https://", "is not a server's address"),
        ("https://user:word@registry.vendor.example", "is not a server's address"),
        ("https://registry.vendor.example/v2/", "is not a server's address"),
        ("https://registry.vendor.example?x=1", "is not a server's address"),
        ("https://registry.vendor.example:99999", "is not a server's address"),
        ("https://registry.vendor.example\r\nX: y", "is not a server's address"),
        (f"https://{HOST}", f"{HOST} is this hub"),
    ],
)
def test_what_is_no_source_is_refused(rooms: Rooms, url: str, sentence: str) -> None:
    with pytest.raises(Invalid, match=sentence):
        add(rooms, url)
    assert hosts(rooms, ADMIN) == []


@pytest.mark.parametrize(
    "more", [{"username": "hub"}, {"secret": SECRET}, {"username": "a:b", "secret": SECRET}, {"ca": "no PEM"}]
)
def test_half_a_login_and_a_broken_authority_are_refused(rooms: Rooms, more: dict[str, str]) -> None:
    with pytest.raises(Invalid) as refused:
        add(rooms, **more)
    assert SECRET not in f"{refused.value!r} {refused.value.hint}"


def test_a_source_is_of_a_publisher_that_there_is(rooms: Rooms) -> None:
    with pytest.raises(NotFound, match="there is no publisher nobody"):
        add(rooms, publisher="nobody")
    with pytest.raises(NotFound, match="registry.vendor.example is no source of publisher acme"):
        rooms.sources.remove(ADMIN, "acme", "registry.vendor.example")


def test_one_spelling_for_one_server(rooms: Rooms) -> None:
    for url in (URL, "https://Registry.Vendor.Example/", f"{URL}:443", f" {URL} "):
        add(rooms, url)
    assert [each.url for each in rooms.sources.visible(ADMIN)] == [URL]
    rooms.sources.remove(ADMIN, "acme", "REGISTRY.vendor.example")
    assert hosts(rooms, ADMIN) == []


def test_registrations_stand_in_the_audit_log_and_secrets_nowhere(rooms: Rooms) -> None:
    add(rooms, username="hub", secret=SECRET)
    add(rooms, username="hub", secret=SECRET + " again")  # the password was changed there
    rooms.sources.remove(ADMIN, "acme", "registry.vendor.example")
    said = [(entry.action, entry.actor, entry.subject) for entry in rooms.log("source")]
    subject = "acme@registry.vendor.example"
    assert said == [("source.add", "admin", subject)] * 2 + [("source.remove", "admin", subject)]
    assert "secret" not in json.dumps([entry.detail for entry in rooms.log("source")])


def test_the_secret_is_sealed_for_its_publisher_and_host(rooms: Rooms, server: Server) -> None:
    server.answer = lambda request: request.send(200, b"open")
    add(rooms, server.url, username="hub", secret=SECRET)
    with rooms.database.write() as tx:
        store = SourcesStore(rooms.database)
        row = store.all(tx, None)[0]
        assert SECRET.encode() not in row["secret"] and SECRET not in repr(row)
        store.put(tx, {**row, "publisher": "other"})  # whoever can write to the database moves it
    with pytest.raises(SourceFailed, match=f"the login for {row['host']} does not open any more"):
        rooms.sources.open("other", row["host"]).__enter__()
    with rooms.sources.open("acme", row["host"]) as transport:
        assert transport.request("GET", "/").body == b"open"
        assert SECRET not in repr(transport.credentials)
    another = SourcesService(
        store, Vault(b"n" * 32), rooms.audit, rooms.clock, publisher_exists=lambda name: True, host=HOST
    )
    with pytest.raises(SourceFailed, match="does not open any more"):
        another.open("acme", row["host"]).__enter__()


# ---- where a registered server can lead the hub


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture
def inside() -> Iterator[Server]:
    """Something in the hub's own network that nobody outside can ask."""
    made = Server(lambda request: request.send(200, b"what nobody outside should see"))
    yield made
    made.close()


def ask(rooms: Rooms, server: Server, path: str = "/v2/app/blobs/x") -> bytes:
    with rooms.sources.open("acme", server.url) as transport:
        return transport.request("GET", path, scopes=("repository:app:pull",)).body


def redirecting(target: str) -> Callable[[Request], None]:
    def answer(request: Request) -> None:
        if request.path == "/v2/":
            request.send(401, WWW_Authenticate='Basic realm="vendor"')
        else:
            request.send(307, Location=target)

    return answer


def test_a_redirect_leads_to_registered_servers_only_and_without_the_login(
    rooms: Rooms, server: Server, inside: Server
) -> None:
    server.answer = redirecting(f"{inside.url}/x?signature=abc")
    add(rooms, server.url, username="hub", secret=SECRET)
    with pytest.raises(SourceFailed) as refused:
        ask(rooms, server)
    host = server.url.removeprefix("http://")
    said = f"{host} sends the hub on to {inside.url}, which is no source of publisher acme"
    assert refused.value.message == said
    assert refused.value.hint == f"If it belongs to it: customhouse source add {inside.url} --publisher acme"
    assert inside.seen == []
    add(rooms, inside.url, "other")
    with pytest.raises(SourceFailed):  # somebody else's
        ask(rooms, server)
    assert inside.seen == []
    add(rooms, inside.url)
    assert ask(rooms, server) == b"what nobody outside should see"
    assert [request.authorization for request in inside.seen] == [""]


def test_a_token_service_elsewhere_is_asked_only_if_it_is_registered(
    rooms: Rooms, server: Server, inside: Server
) -> None:
    challenge = f'Bearer realm="{inside.url}/token",service="vendor"'
    server.answer = lambda request: request.send(401, WWW_Authenticate=challenge)
    add(rooms, server.url, username="hub", secret=SECRET)
    with pytest.raises(SourceFailed, match=f"sends the hub on to {inside.url}, which is no source of"):
        ask(rooms, server)
    assert inside.seen == []


def test_a_server_is_asked_at_its_registered_address_only(rooms: Rooms, server: Server) -> None:
    add(rooms, server.url)
    host = server.url.removeprefix("http://")
    for where in (f"https://{host}", f"{server.url}/elsewhere", "127.0.0.1", ""):
        with pytest.raises(SourceUnknown, match="is no source of publisher acme"):
            rooms.sources.open("acme", where).__enter__()
    assert server.seen == []


def test_the_servers_own_words_reach_people_cut_and_harmless(rooms: Rooms, server: Server) -> None:
    words = "no\x1b[31m entry\r\nfor you " + "x" * 5000
    body = json.dumps({"errors": [{"code": "DENIED", "message": words}]}).encode()
    server.answer = lambda request: request.send(403, body)
    add(rooms, server.url)
    with pytest.raises(SourceFailed) as refused:
        ask(rooms, server)
    assert "no [31m entry  for you" in refused.value.message
    assert refused.value.message.isprintable() and len(refused.value.message) < 1200


def test_a_server_that_is_busy_or_broken_is_no_refusal(rooms: Rooms, server: Server) -> None:
    server.answer = lambda request: request.send(503)
    add(rooms, server.url)
    with pytest.raises(SourceFailed, match="answered 503"):
        ask(rooms, server)


def test_all_that_one_reading_takes_has_an_end(rooms: Rooms, server: Server) -> None:
    """A server that drips: a byte whenever we would give up."""

    def drip(request: Request) -> None:
        if request.path == "/v2/":
            request.send(200)
            return
        request.handler.send_response(200)
        request.handler.send_header("Content-Length", "1000000")
        request.handler.end_headers()
        for _ in range(200):
            try:
                request.handler.wfile.write(b"x")
                request.handler.wfile.flush()
            except OSError:
                return
            time.sleep(0.1)

    server.answer = drip
    add(rooms, server.url)
    brief = SourcesService(
        SourcesStore(rooms.database), Vault(b"m" * 32), rooms.audit, rooms.clock,
        publisher_exists=lambda name: True, host=HOST, seconds=0.5,
    )
    begun = time.monotonic()
    with pytest.raises(SourceFailed, match=r"(too slowly|took too long)"), brief.open("acme", server.url) as transport:
        transport.request("GET", "/v2/app/blobs/x", scopes=("repository:app:pull",))
    assert time.monotonic() - begun < 5
