"""Cases of the HTTP API: every endpoint, method, name of a file, page of a feed, header."""

import json
import re
from collections.abc import Iterator
from hashlib import sha256, sha512

from customhouse.testing.trust_simulator import multipart
from customhouse.trust.names import RELEASES, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, RoleName
from tests.trust.peer.sides import Reply, Repository, case, each

ROLES = ("root", "targets", "targets/releases", "snapshot", "timestamp")


# ---- files


@each(ROLES, "GET {}.json of a repository")
def current(repository: Repository, role: str) -> Iterator[object]:
    files = repository.published(RELEASES).upload()
    answer = repository.get(f"{role}.json")
    yield answer
    if role in files:
        yield "as it was sent" if answer.body == files[RoleName(role)] else "other bytes"


@each(ROLES, "GET {}.json where nothing was published")
def nothing(repository: Repository, role: str) -> Iterator[object]:
    yield repository.get(f"{role}.json")
    yield repository.get(f"1.{role}.json")
    yield repository.get(f"{role}.{'0' * 64}.json")


@each(ROLES, "GET {} by its sha256")
def by_hash(repository: Repository, role: str) -> Iterator[object]:
    repository.published(RELEASES)
    raw = repository.get(f"{role}.json").body
    found = repository.get(f"{role}.{sha256(raw).hexdigest()}.json")
    yield found
    yield "the same" if found.body == raw else "other bytes"
    yield repository.get(f"{role}.{sha256(raw + b' ').hexdigest()}.json")


@each(ROLES, "GET {} by its sha256 in capitals")
def by_capitals(repository: Repository, role: str) -> Iterator[object]:
    repository.published(RELEASES)
    raw = repository.get(f"{role}.json").body
    yield repository.get(f"{role}.{sha256(raw).hexdigest().upper()}.json")


@each(ROLES, "GET {} by its sha512, or by 96 digits")
def by_other_hash(repository: Repository, role: str) -> Iterator[object]:
    repository.published(RELEASES)
    raw = repository.get(f"{role}.json").body
    yield repository.get(f"{role}.{sha512(raw).hexdigest()}.json")
    yield repository.get(f"{role}.{sha512(raw).hexdigest()[:96]}.json")


@case("GET of one role by the sha256 of another one")
def by_foreign_hash(repository: Repository) -> Iterator[object]:
    repository.published()
    raw = repository.get("root.json").body
    yield repository.get(f"targets.{sha256(raw).hexdigest()}.json")


@case("GET of one repository by the sha256 of another one's file")
def by_foreign_repository(repository: Repository) -> Iterator[object]:
    repository.published()
    digest = sha256(repository.get("root.json").body).hexdigest()
    yield Repository(repository.side, repository.gun.rpartition("/")[2] + "-other").get(f"root.{digest}.json")


@case("GET by the sha256 of a file that was replaced")
def by_old_hash(repository: Repository) -> Iterator[object]:
    sim = repository.published()
    old = repository.get("targets.json").body
    sim.bump(TARGETS)
    repository.publish(sim.upload(TARGETS))
    for role in (TARGETS, SNAPSHOT, TIMESTAMP):
        yield repository.get(f"1.{role}.json")
    yield repository.get(f"targets.{sha256(old).hexdigest()}.json")


@each(ROLES, "GET {} by its version")
def by_version(repository: Repository, role: str) -> Iterator[object]:
    repository.published(RELEASES)
    for version in ("1", "2", "0", "99999999999"):
        yield repository.get(f"{version}.{role}.json")


@each(["01", "-1", "1x", "+1", "1.0", "2147483648", "4294967297", "9223372036854775808"], "GET {}.root.json")
def odd_version(repository: Repository, version: str) -> Iterator[object]:
    repository.published()
    yield repository.get(f"{version}.root.json")


@each(
    [
        "root", "root.jso", "ROOT.json", "roots.json", "root.json.json", "targets/.json", "targets/nobody.json",
        "targets/Releases.json", "root/x.json", "root.abc.json", "", "x", ".json", "targets/a%20b.json",
    ],
    "GET {} is no file",
)  # fmt: skip
def no_file(repository: Repository, name: str) -> Iterator[object]:
    repository.published()
    yield repository.get(name)


@each(["/v2//{gun}/_trust/tuf/root.json", "/v2/{gun}/_trust/tuf//root.json", "/v2/{gun}/_trust/tuf/../tuf/root.json"],
      "a path that is not clean: {}")
def unclean(repository: Repository, path: str) -> Iterator[object]:
    repository.published()
    yield repository.side.send("GET", path.format(gun=repository.gun))


@each(["HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE"], "{} root.json")
def methods(repository: Repository, method: str) -> Iterator[object]:
    repository.published()
    yield repository.send(method, "tuf/root.json")


@each(["GET", "HEAD", "PUT", "PATCH"], "{} of the folder of files")
def folder_methods(repository: Repository, method: str) -> Iterator[object]:
    repository.published()
    yield repository.send(method, "tuf/")


@each(["elsewhere.example/staging/a", "a", "{host}", "{host}/acme/web", "{host}/staging/A"],
      "a repository that is not served: {}")
def foreign_gun(repository: Repository, gun: str) -> Iterator[object]:
    repository.published()
    base = f"/v2/{gun.format(host=repository.side.host)}/_trust/"
    body, kind = multipart(repository.sim.upload())
    yield repository.side.send("GET", base + "tuf/root.json")
    yield repository.side.send("POST", base + "tuf/", body, {"Content-Type": kind})
    yield repository.side.send("GET", base + "tuf/timestamp.key")
    yield repository.side.send("DELETE", base + "tuf/")
    yield repository.side.send("GET", base + "changefeed?records=1")


# ---- headers


@each(["root.json", "timestamp.json", "snapshot.json", "1.root.json", "1.timestamp.json", "HASH"],
      "headers of {}")
def headers(repository: Repository, name: str) -> Iterator[object]:
    repository.published()
    digest = sha256(repository.get("root.json").body).hexdigest()
    answer = repository.get(name.replace("HASH", f"root.{digest}.json"))
    yield answer
    yield f"content-type {answer.headers.get('content-type')}"
    assert answer.headers.get("content-length", len(answer.body)) == str(len(answer.body)) or (
        answer.headers["transfer-encoding"] == "chunked"
    )
    yield f"etag {answer.headers.get('etag')}"
    moment = answer.headers["last-modified"]
    assert re.fullmatch(r"\w{3}, \d\d \w{3} 20\d\d \d\d:\d\d:\d\d [+\w]+", moment), moment
    yield f"in {moment.rpartition(' ')[2]}"
    yield f"cache-control {answer.headers.get('cache-control')}"


@case("headers of a refusal, of a publish, of a key and of a feed")
def other_headers(repository: Repository) -> Iterator[object]:
    for answer in (
        repository.get("root.json"), repository.get("timestamp.key"), repository.publish({}),
        repository.publish(repository.sim.upload()), repository.send("GET", "changefeed?records=1"),
    ):  # fmt: skip
        assert isinstance(answer, Reply)
        yield answer
        yield f"content-type {answer.headers.get('content-type')}"
        yield f"cache-control {answer.headers.get('cache-control')}"


# ---- keys


@each(["snapshot", "timestamp"], "the {} key before and after a root lists it")
def keys(repository: Repository, role: str) -> Iterator[object]:
    answer = repository.get(f"{role}.key")
    yield answer
    document = json.loads(answer.body)
    yield sorted(document), sorted(document["keyval"]), document["keyval"]["private"]
    sim = repository.published()
    used = sim.server[RoleName(role)]
    yield "the one in use" if repository.server_key(RoleName(role)) == used else "another"
    new = repository.server_key(RoleName(role), "POST")
    yield "another" if new != used else "the one in use"
    yield "the one in use" if repository.server_key(RoleName(role)) == used else "another"
    sim.use_server_keys({RoleName(role): new})
    sim.bump(ROOT)
    yield repository.publish(sim.upload(ROOT))
    yield "the new one" if repository.server_key(RoleName(role)) == new else "another"


@case("the timestamp key asked for twice before it is used")
def pending(repository: Repository) -> Iterator[object]:
    first = repository.server_key(TIMESTAMP)
    yield "the same" if repository.server_key(TIMESTAMP) == first else "another"
    yield "the same" if repository.server_key(TIMESTAMP, "POST") == first else "another"


@case("the kind of the keys that the server makes")
def key_kind(repository: Repository) -> Iterator[object]:
    yield repository.server_key(SNAPSHOT).keytype
    yield repository.server_key(TIMESTAMP).keytype


@each(["root", "targets", "targets/releases", "nothing"], "GET and POST {}.key")
def no_key(repository: Repository, role: str) -> Iterator[object]:
    repository.published()
    yield repository.get(f"{role}.key")
    yield repository.send("POST", f"tuf/{role}.key")


@each(["HEAD", "PUT", "DELETE", "PATCH"], "{} timestamp.key")
def key_methods(repository: Repository, method: str) -> Iterator[object]:
    yield repository.send(method, "tuf/timestamp.key")


# ---- deletion


@case("DELETE of what is there, again, and of what never was")
def delete(repository: Repository) -> Iterator[object]:
    yield repository.send("DELETE", "tuf/")
    repository.published()
    answer = repository.send("DELETE", "tuf/")
    assert isinstance(answer, Reply)
    yield answer
    yield answer.body
    yield repository.send("DELETE", "tuf/")
    for name in ("root.json", "1.root.json", "timestamp.json"):
        yield repository.get(name)


@case("after DELETE everything begins anew at version 1, with the keys of before")
def delete_and_begin(repository: Repository) -> Iterator[object]:
    sim = repository.published()
    sim.bump(TARGETS)
    repository.publish(sim.upload(TARGETS))
    repository.send("DELETE", "tuf/")
    again = repository.simulator()
    again.use_server_keys(sim.server)
    yield repository.publish(again.upload())
    for role in (ROOT, TARGETS, SNAPSHOT, TIMESTAMP):
        yield repository.version(role)


# ---- changefeed


def page(answer: Reply | str) -> str:
    if isinstance(answer, str) or answer.status != 200:
        return str(answer)
    body = json.loads(answer.body)
    assert sorted(body) == ["count", "records"], body
    records = body["records"]
    assert body["count"] == len(records or []), body
    return json.dumps([f"{each['Category']} {each['Version']}" for each in records] if records is not None else None)


def filled(repository: Repository) -> list[str]:
    """A feed of four updates and a deletion; their ids."""
    sim = repository.published()
    for _ in range(3):
        sim.bump(TARGETS)
        repository.publish(sim.upload(TARGETS))
    repository.send("DELETE", "tuf/")
    answer = repository.send("GET", "changefeed?records=100")
    assert isinstance(answer, Reply)
    records = json.loads(answer.body)["records"]
    assert all(
        sorted(each) == ["Category", "CreatedAt", "GUN", "ID", "SHA256", "Version"] and each["GUN"] == repository.gun
        and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", each["CreatedAt"])
        and re.fullmatch("[0-9a-f]{64}" if each["Category"] == "update" else "", each["SHA256"].strip())
        for each in records
    ), records  # fmt: skip
    return [each["ID"] for each in records]


PAGES = [
    "records=0", "records=1", "records=3", "records=100", "records=-1", "records=-3", "records=-100",
    "records=2&change_id=", "records=2&change_id=0", "records=2&change_id=FIRST", "records=2&change_id=THIRD",
    "records=2&change_id=LAST", "records=-2&change_id=FIRST", "records=-2&change_id=THIRD",
    "records=-2&change_id=LAST", "records=2&change_id=-1", "records=-2&change_id=-1", "records=-2&change_id=0",
    "records=2&change_id=999999999"
]  # fmt: skip
BROKEN = [
    "", "change_id=1", "records=", "records=x", "records=1.5", "records=2147483648", "records=99999999999999999999",
    "records=2&change_id=x", "records=2&change_id=1.5", "records=2&change_id=99999999999999999999",
]  # fmt: skip


@each(PAGES, "changefeed of a repository: {}")
def feed(repository: Repository, query: str) -> Iterator[object]:
    ids = filled(repository)
    asked = query.replace("FIRST", ids[0]).replace("THIRD", ids[2]).replace("LAST", ids[-1])
    yield page(repository.send("GET", f"changefeed?{asked}"))


@each(BROKEN, "changefeed with wrong parameters: {}")
def broken_feed(repository: Repository, query: str) -> Iterator[object]:
    filled(repository)
    yield page(repository.send("GET", f"changefeed?{query}"))
    yield page(repository.side.send("GET", f"/v2/_trust/changefeed?{query}"))


@case("changefeed of a repository that has none")
def empty_feed(repository: Repository) -> Iterator[object]:
    yield page(repository.send("GET", "changefeed?records=1"))
    yield page(repository.send("GET", "changefeed?records=1&change_id=5"))


@case("changefeed of all repositories, after an id")
def whole_feed(repository: Repository) -> Iterator[object]:
    ids = filled(repository)
    yield page(repository.side.send("GET", f"/v2/_trust/changefeed?records=100&change_id={ids[1]}"))
    yield page(repository.side.send("GET", f"/v2/_trust/changefeed?records=-1&change_id={ids[1]}"))


@each(["HEAD", "POST", "DELETE", "PATCH"], "{} of a changefeed")
def feed_methods(repository: Repository, method: str) -> Iterator[object]:
    yield repository.send(method, "changefeed?records=1")
    yield repository.side.send(method, "/v2/_trust/changefeed?records=1")


# ---- health


@case("health")
def health(repository: Repository) -> Iterator[object]:
    answer = repository.side.send("GET", "/_notary_server/health")
    assert isinstance(answer, Reply)
    yield answer
    yield json.loads(answer.body)
    yield answer.headers["content-type"].partition(";")[0]


@each(["HEAD", "POST", "DELETE", "PATCH"], "{} of health")
def health_methods(repository: Repository, method: str) -> Iterator[object]:
    yield repository.side.send(method, "/_notary_server/health")
