"""Bringing content in from a registry that breaks off, lies or never ends."""

import json
import re
import time
from collections.abc import Callable, Iterator
from hashlib import sha256

import pytest

from customhouse.blobs.files import FileBlobs
from customhouse.errors import Invalid, NotFound, Unavailable
from customhouse.oci.digest import Digest
from customhouse.oci.manifest import InvalidManifest
from customhouse.registry.client import ContentMismatch, RegistryClient
from customhouse.registry.importer import Fetched, Importer, TooMuch
from customhouse.registry.uploads import Uploads
from customhouse.remote import Unreachable
from customhouse.testing.images import BuiltImage, index
from customhouse.transport import Patience, Transport
from tests.publisher import filler
from tests.rooms import WEB, Rooms, image
from tests.test_transport import Request, Server

MOST = 10**9


class Registry:
    """A registry whose content is a dictionary and whose faults are the test's."""

    def __init__(self, *images: BuiltImage) -> None:
        self.server = Server(self.answer)
        self.manifests: dict[str, tuple[bytes, str]] = {}
        self.blobs: dict[str, bytes] = {}
        for each in [built for given in images for built in (given, *given.members)]:
            self.manifests[each.digest] = (each.manifest_raw, each.media_type)
            self.blobs |= {str(digest): raw for digest, raw in each.blobs.items()}
        self.send: Callable[[Request, bytes], None] = lambda request, raw: request.send(200, raw)

    def answer(self, request: Request) -> None:
        if request.path == "/v2/":
            request.send(200)
            return
        found = re.fullmatch(r"/v2/vendor/app/(manifests|blobs)/(.+)", request.path)
        assert found, request.path
        if found[1] == "manifests" and found[2] in self.manifests:
            raw, media_type = self.manifests[found[2]]
            request.send(200, raw, Content_Type=media_type)
        elif found[1] == "blobs" and found[2] in self.blobs:
            self.send(request, self.blobs[found[2]])
        else:
            request.send(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}')

    def asked(self, kind: str = "blobs") -> int:
        return sum(f"/{kind}/" in request.path for request in self.server.seen)


@pytest.fixture
def made() -> Iterator[list[Registry]]:
    all_: list[Registry] = []
    yield all_
    for each in all_:
        each.server.close()


def bring(
    rooms: Rooms, registry: Registry, built: BuiltImage, *, most: int = MOST, length: int | None = None
) -> Fetched:
    transport = Transport(registry.server.url, patience=Patience(connect=2, read=2, total=5))
    try:
        size = len(built.manifest_raw) if length is None else length
        return Importer(rooms.registry, most).bring(RegistryClient(transport), "vendor/app", WEB, built.digest, size)
    finally:
        transport.close()


def unfinished(rooms: Rooms) -> list[str]:
    return [file.name for file in (rooms.settings.data / "blobs" / "uploads").iterdir()]


def test_every_platform_comes_once_and_a_repeat_asks_for_nothing(rooms: Rooms, made: list[Registry]) -> None:
    built = index([image("a", more=(filler(300_000),)), image("b")], platforms=["linux/amd64", "linux/arm64"])
    made.append(registry := Registry(built))
    pieces = {digest for member in built.members for digest in member.blobs}
    size = sum(len(registry.blobs[digest]) for digest in pieces)
    size += len(built.manifest_raw) + sum(len(member.manifest_raw) for member in built.members)
    assert bring(rooms, registry, built) == Fetched(len(pieces) + 3, size)
    assert rooms.registry.manifest(WEB, built.digest).raw == built.manifest_raw
    for digest in pieces:
        with rooms.registry.open_blob(WEB, digest) as held:
            assert held.read() == registry.blobs[digest]
    before = registry.asked(), registry.asked("manifests")
    assert bring(rooms, registry, built) == Fetched()
    assert (registry.asked(), registry.asked("manifests")) == before
    assert list(rooms.registry.breaches(rehash=True)) == [] and unfinished(rooms) == []


def test_what_another_publisher_has_is_fetched_all_the_same(rooms: Rooms, made: list[Registry]) -> None:
    """To know a digest gives no right to its bytes: the source has to have them."""
    built = image("secret of another")
    rooms.push(built, repository="staging/other/web")
    made.append(registry := Registry(built))
    registry.blobs.clear()
    with pytest.raises(NotFound):
        bring(rooms, registry, built)
    with pytest.raises(NotFound):
        rooms.registry.manifest(WEB, built.digest)


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_breaks_goes_on_where_it_was(rooms: Rooms, made: list[Registry], ranges: bool) -> None:
    built = image("broken", more=(filler(600_000),))
    made.append(registry := Registry(built))

    def send(request: Request, raw: bytes) -> None:
        begin = int(request.headers.get("range", "bytes=0-")[6:-1]) if ranges else 0
        request.handler.send_response(206 if begin else 200)
        request.handler.send_header("Content-Length", str(len(raw) - begin))
        request.handler.end_headers()
        # Without ranges each answer begins at 0, so that it has to come further than the one before.
        again = sum("range" in each.headers for each in registry.server.seen)
        step = 200_000 if ranges else 250_000 * (1 + again)
        request.handler.wfile.write(raw[begin:][:step])
        if len(raw) - begin > step:
            request.handler.close_connection = True

    registry.send = send
    assert bring(rooms, registry, built).pieces == len(built.blobs) + 1
    asked = [request.headers.get("range") for request in registry.server.seen if "range" in request.headers]
    assert len(asked) >= 2, "it was asked for the rest"
    assert list(rooms.registry.breaches(rehash=True)) == []


def test_a_server_that_breaks_off_each_time_is_given_up_and_the_next_run_goes_on(
    rooms: Rooms, made: list[Registry]
) -> None:
    built = image("cut", more=(filler(600_000),))
    made.append(registry := Registry(built))
    most = 300_000

    def send(request: Request, raw: bytes) -> None:
        begin = int(request.headers.get("range", "bytes=0-")[6:-1])
        request.handler.send_response(206 if begin else 200)
        request.handler.send_header("Content-Length", str(len(raw) - begin))
        request.handler.end_headers()
        request.handler.wfile.write(raw[begin:most])
        request.handler.close_connection = True

    registry.send = send
    with pytest.raises(Unreachable):
        bring(rooms, registry, built)
    assert len(unfinished(rooms)) == 1
    before, most = len(registry.server.seen), 10**9
    rooms.registry.uploads = Uploads(  # of a process that knows nothing of the hash so far
        rooms.registry.store, FileBlobs(rooms.settings.data / "blobs"), rooms.registry.attach_blob, rooms.clock
    )
    bring(rooms, registry, built)
    asked = [request.headers.get("range") for request in registry.server.seen[before:] if "blobs" in request.path]
    assert asked[0] == "bytes=300000-", "what was there is not fetched again"
    assert unfinished(rooms) == [] and list(rooms.registry.breaches(rehash=True)) == []


def test_of_two_that_bring_the_same_one_waits(rooms: Rooms, made: list[Registry]) -> None:
    built = image()
    made.append(registry := Registry(built))
    layer = next(iter(built.blobs))
    name = sha256(f"{WEB}@{layer}".encode()).hexdigest()[:32]
    held = rooms.registry.uploads.resume(WEB, rooms.registry.uploads.begin(WEB, name))
    with pytest.raises(Unavailable, match=f"{layer} is being fetched already"):
        bring(rooms, registry, built)
    held.close()
    bring(rooms, registry, built)
    assert unfinished(rooms) == []


def spoilt(raw: bytes) -> bytes:
    return bytes([raw[0] ^ 1]) + raw[1:]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (spoilt, "should be sha256:.* and the registry sent sha256:"),
        (lambda raw: raw + b"x", "should be .* bytes and the registry sent more"),
        (lambda raw: raw * 3, "should be .* bytes and the registry sent more"),
    ],
)
def test_other_bytes_than_were_announced_are_refused_and_thrown_away(
    rooms: Rooms, made: list[Registry], change: Callable[[bytes], bytes], sentence: str
) -> None:
    built = image()
    made.append(registry := Registry(built))
    registry.send = lambda request, raw: request.send(200, change(raw))
    with pytest.raises(ContentMismatch, match=sentence):
        bring(rooms, registry, built)
    assert unfinished(rooms) == [] and rooms.registry.repositories("staging/") == []


def test_an_endless_answer_ends_where_the_announced_size_does(rooms: Rooms, made: list[Registry]) -> None:
    built = image()
    made.append(registry := Registry(built))

    def send(request: Request, raw: bytes) -> None:
        request.handler.send_response(200)
        request.handler.send_header("Transfer-Encoding", "chunked")
        request.handler.end_headers()
        try:
            while True:
                request.handler.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
        except OSError:
            request.handler.close_connection = True

    registry.send = send
    begun = time.monotonic()
    with pytest.raises(ContentMismatch, match="the registry sent more"):
        bring(rooms, registry, built)
    assert time.monotonic() - begun < 10 and unfinished(rooms) == []


def test_another_manifest_than_was_signed_is_refused(rooms: Rooms, made: list[Registry]) -> None:
    built = image()
    made.append(registry := Registry(built))
    with pytest.raises(Invalid, match=f"has {len(built.manifest_raw)} bytes, and 7 were announced"):
        bring(rooms, registry, built, length=7)
    registry.manifests[built.digest] = (spoilt(built.manifest_raw), built.media_type)
    with pytest.raises(ContentMismatch):
        bring(rooms, registry, built)
    assert registry.asked() == 0


def test_sizes_are_added_up_before_anything_is_fetched(rooms: Rooms, made: list[Registry]) -> None:
    built = index([image("a"), image("b", more=(filler(50_000),))], platforms=["linux/amd64", "linux/arm64"])
    made.append(registry := Registry(built))
    with pytest.raises(TooMuch, match="and at most 50000 are fetched from another registry"):
        bring(rooms, registry, built, most=50_000)
    assert registry.asked() == 0


def manifest_of(document: dict[str, object]) -> BuiltImage:
    raw = json.dumps(document).encode()
    return BuiltImage(raw, str(document["mediaType"]), {})


OCI = "application/vnd.oci.image."


def described(built: BuiltImage, media_type: str = "") -> dict[str, object]:
    return {"mediaType": media_type or built.media_type, "digest": built.digest, "size": len(built.manifest_raw)}


def test_an_index_of_indexes_or_of_too_many_is_refused(rooms: Rooms, made: list[Registry]) -> None:
    one = index([image("a", style="oci")], style="oci")
    nested: dict[str, object] = {"schemaVersion": 2, "mediaType": f"{OCI}index.v1+json", "manifests": [described(one)]}
    crowd = nested | {"manifests": [described(one.members[0])] * 65}
    hidden = nested | {"manifests": [described(one, f"{OCI}manifest.v1+json")]}
    for document, sentence in (
        (nested, "is an index of indexes"), (crowd, "the index names 65 images; at most 64 are taken"),
        (hidden, "is an index where an image was announced"),
    ):
        built = manifest_of(document)
        made.append(registry := Registry(one, built))
        with pytest.raises(Invalid, match=sentence):
            bring(rooms, registry, built)
        assert registry.asked() == 0


def test_layers_that_lie_elsewhere_are_refused(rooms: Rooms, made: list[Registry]) -> None:
    built = image("x", style="oci")
    layer = {"mediaType": f"{OCI}layer.v1.tar+gzip", "digest": Digest.of(b"l"), "size": 1}
    config = {"mediaType": f"{OCI}config.v1+json", "digest": Digest.of(b"c"), "size": 1}
    document: dict[str, object] = {"schemaVersion": 2, "mediaType": built.media_type, "config": config}
    for foreign in (
        layer | {"urls": ["https://169.254.169.254/latest"]},
        layer | {"mediaType": f"{OCI}layer.nondistributable.v1.tar+gzip"},
    ):
        made.append(registry := Registry(one := manifest_of(document | {"layers": [foreign]})))
        with pytest.raises(InvalidManifest, match="which is to be fetched from elsewhere"):
            bring(rooms, registry, one)
        assert registry.asked() == 0
    two = manifest_of(document | {"layers": [layer, layer | {"size": 2}]})
    made.append(registry := Registry(two))
    with pytest.raises(InvalidManifest, match="gives two sizes of"):
        bring(rooms, registry, two)


def test_a_source_that_sends_too_slowly_is_given_up(rooms: Rooms, made: list[Registry]) -> None:
    built = image("slow")
    made.append(registry := Registry(built))

    def send(request: Request, raw: bytes) -> None:
        request.handler.send_response(200)
        request.handler.send_header("Content-Length", str(len(raw)))
        request.handler.end_headers()
        for byte in raw:
            try:
                request.handler.wfile.write(bytes([byte]))
                request.handler.wfile.flush()
            except OSError:
                return
            time.sleep(0.05)

    registry.send = send
    transport = Transport(registry.server.url, patience=Patience(connect=2, read=2, total=5))
    brief = Importer(rooms.registry, MOST, seconds=0.5, slowest=10**9)
    begun = time.monotonic()
    with pytest.raises(Unreachable, match=r"sends too slowly|took too long"):
        brief.bring(RegistryClient(transport), "vendor/app", WEB, built.digest, len(built.manifest_raw))
    assert time.monotonic() - begun < 6
    transport.close()
