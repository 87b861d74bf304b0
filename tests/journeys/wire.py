"""What journeys look at below the clients: bytes of a manifest, trust files, requests no honest client sends."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import urllib3

from customhouse.oci.manifest import INDEX_TYPES, MANIFEST_TYPES
from tests.journeys.people import Person

ACCEPT = ", ".join(sorted(MANIFEST_TYPES | INDEX_TYPES))


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def token(person: Person, *scopes: str) -> str:
    """A token for these scopes; nobody's if the person has no password."""
    basic = urllib3.make_headers(basic_auth=f"{person.name}:{person.password}") if person.password else {}
    query = urlencode([("service", "customhouse"), *(("scope", scope) for scope in scopes)])
    answer = _sent(person, "GET", f"/token?{query}", None, basic)
    assert answer.status == 200, answer.body
    return str(answer.json()["token"])


def request(
    person: Person, method: str, path: str, *scopes: str, body: bytes | None = None, bearer: str = "", **headers: str
) -> Answer:
    """One request with a token for these scopes, or with the one that is given."""
    sent = {"authorization": f"Bearer {bearer or token(person, *scopes)}", "accept": ACCEPT}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    return _sent(person, method, path, body, sent)


def _sent(person: Person, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
    pool = urllib3.PoolManager(ca_certs=str(person.hub.ca), retries=False, timeout=30)
    try:
        answer = pool.request(method, f"{person.hub.url}{path}", headers=headers, body=body)
        return Answer(answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.data)
    finally:
        pool.clear()


def manifest(person: Person, repository: str, reference: str) -> Answer:
    """The manifest as the registry has it."""
    found = request(person, "GET", f"/v2/{repository}/manifests/{reference}", f"repository:{repository}:pull")
    assert found.status == 200, found.body
    return found


def trust_file(person: Person, repository: str, role: str) -> dict[str, Any]:
    """The `signed` part of a role's present file."""
    gun = f"{person.hub.host}/{repository}"
    found = request(person, "GET", f"/v2/{gun}/_trust/tuf/{role}.json", f"repository:{gun}:pull")
    assert found.status == 200, found.body
    signed: dict[str, Any] = found.json()["signed"]
    return signed


def trust_keys(person: Person, repository: str) -> set[str]:
    """Every key that any file of this repository names or was signed with."""
    keys = set(trust_file(person, repository, "root")["keys"])
    for role in ("targets", "targets/releases"):
        gun = f"{person.hub.host}/{repository}"
        found = request(person, "GET", f"/v2/{gun}/_trust/tuf/{role}.json", f"repository:{gun}:pull")
        if found.status == 200:
            document = found.json()
            keys |= set(document["signed"]["delegations"]["keys"])
            keys |= {signature["keyid"] for signature in document["signatures"]}
    return keys
