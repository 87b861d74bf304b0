"""Cases of a publish: the body, its parts and their names."""

from collections.abc import Iterator

from customhouse.trust.names import RELEASES, TARGETS, TIMESTAMP
from tests.trust.peer.sides import Repository, case, each

FORM = "multipart/form-data; boundary=B"


def part(disposition: str, content: bytes, after: bytes = b"--B--\r\n") -> bytes:
    head = f"Content-Disposition: {disposition}\r\n" if disposition else ""
    return f"--B\r\n{head}\r\n".encode() + content + b"\r\n" + after


@case("a publish of no parts where nothing was published")
def no_parts_first(repository: Repository) -> Iterator[object]:
    yield repository.publish({})


@case("a publish of no parts")
def no_parts(repository: Repository) -> Iterator[object]:
    repository.published()
    yield repository.publish({})
    yield repository.post(b"\r\n--B--\r\n", FORM)
    yield repository.post(b"--B--\r\n", FORM)
    yield f"timestamp at version {repository.version(TIMESTAMP)}"


@each(
    ["application/json", "text/plain", "", "multipart/form-data", "multipart/mixed; boundary=B",
     "multipart/related; boundary=B", "multipart/form-data; boundary=", "MULTIPART/FORM-DATA; boundary=B",
     'multipart/form-data; boundary="B"', "multipart/form-data; charset=utf-8; boundary=B",
     "multipart/form-data; boundary=C", "multipart/form-data; boundary=" + "B" * 71],
    "a publish of type {!r}",
)
def content_types(repository: Repository, kind: str) -> Iterator[object]:
    repository.published()
    yield repository.post(b"\r\n--B--\r\n", kind)


@case("a body that stops: empty, in a boundary, in a header, in a part, before its end")
def cut(repository: Repository) -> Iterator[object]:
    repository.published()
    whole = part('form-data; name="files"; filename="targets"', repository.sim.upload()[TARGETS])
    for body in (b"", b"--", b"--B\r\n", b"--B\r\nContent-Disp", whole[:60], whole[:200], whole[:-6]):
        yield repository.post(body, FORM)


@each(
    [
        'form-data; name="files"; filename="targets"', 'form-data; name="files"; filename="targets.json"',
        "form-data; name=files; filename=targets", 'form-data; filename="targets"', 'attachment; filename="targets"',
        'form-data; name="x"; filename="targets"', 'FORM-DATA; NAME="files"; FILENAME="targets"',
        "form-data; name=\"files\"; filename*=UTF-8''targets",
    ],
    "a part named by {}",
)  # fmt: skip
def named(repository: Repository, disposition: str) -> Iterator[object]:
    sim = repository.published()
    sim.bump(TARGETS)
    yield repository.post(part(disposition, sim.upload(TARGETS)[TARGETS]), FORM)


@each(
    [
        "", "form-data", 'form-data; name="files"', 'form-data; name="targets"', 'form-data; name="files"; filename=""',
        'form-data; name="files"; filename=".json"', "form-data; name=files; filename", 'form-data; name="files', ";;",
    ],
    "a part that names no role: {!r}",
)  # fmt: skip
def unnamed(repository: Repository, disposition: str) -> Iterator[object]:
    yield repository.post(part(disposition, b'{"signed":{}}'), FORM)


@each(
    [
        "a", "ROOT", "Targets", "targets/", "targets/a/", "targets//a", "targets/../root", "../targets", "/targets",
        "targets/A", "targets/ä", "targets/a.b", "targets/.", "targets/..", "root.json.json", "targets/a b",
        "targets/" + "a" * 300, "targets/" + "a" * 247, "targets/" + "a" * 248, "C:\\\\targets", "root/a", "snapshot/a",
        "targets/a/b/c/d/e/f/g/h",
    ],
    "a part of the role {!r}",
)  # fmt: skip
def odd_role(repository: Repository, role: str) -> Iterator[object]:
    yield repository.post(part(f'form-data; name="files"; filename="{role}"', b"x"), FORM)


@each(["root", "targets", "targets/releases", "snapshot", "timestamp"], "a {} that is not JSON, or no metadata")
def no_json(repository: Repository, role: str) -> Iterator[object]:
    repository.published(RELEASES)
    for content in (b"", b"<html>", b"[]", b"{}", b"null", b'{"signed":{}}', b'{"signed":{},"signatures":[]}',
                    b'{"signed":{"version":"1"}}', b"\xff\xfe", b"[" * 10000):
        yield repository.publish({role: content})


@case("the same role twice in one upload")
def twice(repository: Repository) -> Iterator[object]:
    sim = repository.published()
    sim.bump(TARGETS)
    named = 'form-data; name="files"; filename="targets"'
    first = part(named, sim.upload(TARGETS)[TARGETS], b"")
    sim.bump(TARGETS)
    yield repository.post(first + part(named, sim.upload(TARGETS)[TARGETS]), FORM)


@case("a timestamp of the client's own beside the rest")
def own_timestamp(repository: Repository) -> Iterator[object]:
    sim = repository.sim
    yield repository.publish({**sim.upload(), TIMESTAMP: sim.files()[TIMESTAMP]})
    yield f"timestamp at version {repository.version(TIMESTAMP)}"


@case("a timestamp of the client's own that is not JSON")
def broken_timestamp(repository: Repository) -> Iterator[object]:
    yield repository.publish({**repository.sim.upload(), TIMESTAMP: b"ignored"})


@case("257 parts")
def many_parts(repository: Repository) -> Iterator[object]:
    files = repository.published().upload()
    yield repository.publish({f"targets/r{number}": files[TARGETS] for number in range(257)})
