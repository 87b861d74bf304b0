"""Two trust servers that are asked the same: ours, and Debian's notary-server.

A case (see `case`) is a generator that is run once for each side with a fresh repository there, and yields what it
saw. Files are made for each side anew: names of repositories and the server's keys are part of them.
"""

import http.client
import json
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import groupby
from pathlib import Path

from customhouse.keys import PrivateKey, PublicKey
from customhouse.testing.trust_simulator import TrustSimulator, multipart
from customhouse.trust import documents
from customhouse.trust.canonical import JSON, NotCanonical, canonical, published
from customhouse.trust.names import ROOT, SNAPSHOT, TIMESTAMP, Gun, RoleName

NOW = datetime.now(UTC).replace(microsecond=0)


@dataclass(frozen=True)
class Reply:
    """An answer; in words: the status, and of a refusal its code and the class that clients know it by."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __str__(self) -> str:
        return " ".join(part for part in (str(self.status), self.code, self.name) if part)

    @cached_property
    def _error(self) -> dict[str, object]:
        if self.status < 400 or "json" not in self.headers.get("content-type", "") or not self.body:
            return {}
        errors = json.loads(self.body)["errors"]
        assert len(errors) == 1 and len(self.body) <= 1024, "a client would not read this"
        found: dict[str, object] = errors[0]
        return found

    @property
    def code(self) -> str:
        return str(self._error.get("code", ""))

    @property
    def name(self) -> str:
        """Of the detail; only INVALID_UPDATE has one that clients look at."""
        detail = self._error.get("detail")
        return str(detail.get("Name", "")) if self.code == "INVALID_UPDATE" and isinstance(detail, dict) else ""


class Side:
    """One server; requests go out as they are written, over one connection while it lasts."""

    def __init__(self, host: str, ca: Path) -> None:
        self.host = host
        self._context = ssl.create_default_context(cafile=str(ca))
        self._connection: http.client.HTTPSConnection | None = None

    def send(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Reply | str:
        """The answer, or the words for none: `connection closed`."""
        for attempt in (1, 2):  # the server may have closed a connection that was idle
            if self._connection is None:
                port = int(self.host.partition(":")[2])
                self._connection = http.client.HTTPSConnection("localhost", port, context=self._context, timeout=20)
                attempt = 2
            try:
                sent = {"Authorization": "Bearer root:*", **(headers or {})}
                self._connection.request(method, path, body or None, sent)
                answer = self._connection.getresponse()
                found = {name.lower(): value for name, value in answer.getheaders()}
                return Reply(answer.status, found, answer.read())
            except (http.client.HTTPException, ConnectionError, ssl.SSLError):
                self._connection.close()
                self._connection = None
                if attempt == 2:
                    return "connection closed"
        raise AssertionError("the second attempt returns")


class Repository:
    """One repository on one side, with its publisher's keys."""

    def __init__(self, side: Side, name: str) -> None:
        self.side = side
        self.gun = Gun(f"{side.host}/staging/acme/{name}")
        self.trust = f"/v2/{self.gun}/_trust/"

    @cached_property
    def sim(self) -> TrustSimulator:
        """A valid repository, not yet published; snapshot and timestamp are the server's."""
        made = self.simulator()
        made.use_server_keys({role: self.server_key(role) for role in (SNAPSHOT, TIMESTAMP)})
        made.sign_tag("1")
        return made

    def simulator(self, root_key: PrivateKey | None = None, common_name: str = "") -> TrustSimulator:
        """One whose keys are all the publisher's."""
        return TrustSimulator(self.gun, NOW, root_key=root_key, common_name=common_name)

    def server_key(self, role: RoleName, method: str = "GET") -> PublicKey:
        """The server's key for a role."""
        answer = self.send(method, f"tuf/{role}.key")
        assert isinstance(answer, Reply) and answer.status == 200, answer
        document = json.loads(answer.body)
        return PublicKey.parse(document["keytype"], document["keyval"]["public"])

    def send(self, method: str, rest: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Reply | str:
        """A request below `/v2/GUN/_trust/`."""
        return self.side.send(method, self.trust + rest, body, headers)

    def get(self, rest: str) -> Reply:
        """What must be answered."""
        answer = self.send("GET", f"tuf/{rest}")
        assert isinstance(answer, Reply), answer
        return answer

    def post(self, body: bytes, content_type: str) -> Reply | str:
        """A publish, as it is written."""
        return self.send("POST", "tuf/", body, {"Content-Type": content_type})

    def publish(self, files: Mapping[RoleName, bytes] | Mapping[str, bytes]) -> Reply | str:
        """A publish of these files, in this order."""
        return self.post(*multipart(files))

    def published(self, *delegations: str) -> TrustSimulator:
        """The simulator, after its first publish (with these delegations)."""
        for name in delegations:
            self.sim.delegate(name)
        answer = self.publish(self.sim.upload())
        assert str(answer) == "200", answer
        return self.sim

    def current(self, role: RoleName) -> dict[str, JSON]:
        """The `signed` part of what is served."""
        found: dict[str, JSON] = json.loads(self.get(f"{role}.json").body)["signed"]
        return found

    def signatures(self, role: RoleName | str) -> list[dict[str, str]]:
        """Of what is served."""
        found: list[dict[str, str]] = json.loads(self.get(f"{role}.json").body)["signatures"]
        return found

    def version(self, role: RoleName) -> JSON:
        """Of what is served."""
        return self.current(role)["version"]


Case = Callable[[Repository], Iterator[object]]
CASES: dict[str, Case] = {}


def case(name: str) -> Callable[[Case], Case]:
    """Name a case; the name is a sentence that a reader of the table understands."""

    def add(run: Case) -> Case:
        assert name not in CASES, f"two cases are named {name!r}"
        CASES[name] = run
        return run

    return add


def each(values: Iterable[str], text: str) -> Callable[[Callable[[Repository, str], Iterator[object]]], None]:
    """A case for each value; `{}` in the name stands for it."""

    def add(run: Callable[[Repository, str], Iterator[object]]) -> None:
        for value in values:
            case(text.format(value))(lambda repository, value=value: run(repository, value))  # type: ignore[misc]

    return add


def seen(run: Case, side: Side, name: str) -> str:
    """What a case saw on a side, as one line."""
    steps = [str(step).replace(side.host, "HOST") for step in run(Repository(side, name))]
    counted = [(step, len(list(same))) for step, same in groupby(steps)]
    return ", ".join(f"{step} ×{count}" if count > 1 else step for step, count in counted)


def edited(raw: bytes, change: Callable[[dict[str, JSON]], object], *signers: PrivateKey) -> bytes:
    """The file with another `signed` part, signed again: right in form and signature, whatever its content."""
    signed: dict[str, JSON] = json.loads(raw)["signed"]
    change(signed)
    return documents.sign(signed, signers)


def signers(sim: TrustSimulator, role: RoleName) -> list[PrivateKey]:
    """The publisher's keys of a role."""
    return sim.keys[RoleName(role)]


def root_with(sim: TrustSimulator, change: Callable[[dict[str, JSON]], object]) -> bytes:
    """The root with another content, signed again."""
    return edited(sim.build_root(), change, *sim.keys[ROOT])


def resigned(raw: bytes, keys: list[PrivateKey]) -> bytes:
    """The file with the text of `signed` as it stands, signed again over its canonical form."""
    text = raw[len(b'{"signed":') : raw.rindex(b',"signatures":')]
    try:
        payload = canonical(json.loads(text))
    except (TypeError, ValueError, NotCanonical):  # it has no canonical form: what matters is that nobody gets that far
        payload = text
    envelope = published(b"{}", [key.sign(payload) for key in keys])
    return envelope.replace(b'{"signed":{}', b'{"signed":' + text)
