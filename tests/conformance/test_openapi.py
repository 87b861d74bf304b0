"""The hub as it is run beside docs/reference/openapi.json: what schemathesis makes of that is answered as it says.

1. Every operation is asked, with values that the hub knows and with made-up ones, by those who may, those who may not
   and nobody, with bodies that fit and bodies that do not. No answer is a 5xx, and status, content type and body are
   among those that are documented.
2. The same examples each time: what is found can be found again.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
import urllib3
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.hub_process import PASSWORD, HubProcess
from tests.publisher import Publisher, image

DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "openapi.json"
EXAMPLES = 12
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
OWN, OFFICIAL = "staging/acme/web", "acme/web"
pytestmark = pytest.mark.timeout(300)


class World:
    """A hub that has published one image; who asks, and what there is to be asked for."""

    def __init__(self, hub: HubProcess, publisher: Publisher) -> None:
        self.hub = hub
        built = image()
        publisher.enrol()
        row = hub.wait_for(publisher.release("web", "1", built), "published")
        hub.add_user("vera", "consumer")
        self.sessions = {user: self._session(user) for user in ("admin", "alice", "vera")}
        login = hub.sessions.pop(("vera", PASSWORD))
        self.spare, hub.sessions["vera", PASSWORD] = self._session("vera"), login
        self.tokens = {user: self._token(user) for user in ("admin", "alice", "vera")}
        upload = requests.post(
            f"{hub.url}/v2/{OWN}/blobs/uploads/", headers={"authorization": self.tokens["alice"]}, verify=str(hub.ca)
        ).headers["docker-upload-uuid"]
        blob = next(iter(built.blobs))
        self.known = {
            "name": [OWN, OFFICIAL, "vera", "acme", row["quarantine"].partition("/")[2].partition(":")[0]],
            "gun": [f"{hub.host}/{OWN}", f"{hub.host}/{OFFICIAL}"], "role": ["root", "snapshot", "targets/releases"],
            "version": ["1"], "digest": [str(blob), str(built.digest)],
            "upload": [upload], "id": [row["id"]], "publisher": ["acme"], "user": ["vera"], "key": ["0" * 64],
            "repository": [OWN, OFFICIAL], "reference": ["1", str(built.digest), f"{OWN}:1"],
            "mount": [str(blob)], "from": [OFFICIAL, OWN],
        }  # fmt: skip

    def _session(self, user: str) -> str:
        self.hub.api("GET", "/api/v1/whoami", user=user)
        return f"Bearer {self.hub.sessions[user, PASSWORD]}"

    def _token(self, user: str) -> str:
        scopes = (f"repository:{OWN}:pull,push,delete,*", f"repository:{OFFICIAL}:pull", "registry:catalog:*")
        answer = requests.get(
            f"{self.hub.url}/token", params={"service": self.hub.host, "scope": scopes}, verify=str(self.hub.ca),
            headers=urllib3.make_headers(basic_auth=f"{user}:{PASSWORD}"),
        )
        return f"Bearer {answer.json()['token']}"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    hub = HubProcess(tmp_path / "hub").start()
    try:
        yield World(hub, Publisher(hub, tmp_path / "keys"))
        assert hub.doctor() == []
    finally:
        hub.close()


def test_every_answer_is_one_of_those_that_are_documented(world: World) -> None:
    schema = schemathesis.openapi.from_dict(json.loads(DOCUMENT.read_text()))
    schema.config.update(base_url=world.hub.url)
    operations = [found.ok() for found in schema.get_all_operations()]
    seen: dict[str, Counter[int]] = {}
    failed: list[str] = []
    with requests.Session() as session:
        session.verify = str(world.hub.ca)
        for operation in operations:
            seen[operation.label] = Counter()
            try:
                _try(operation, world, session, seen[operation.label])
            except (Exception, FailureGroup) as error:
                failed.append(f"{operation.label}: {error}")
    assert not failed, "\n\n".join(failed)
    assert len(operations) > 90 and all(sum(counted.values()) >= EXAMPLES / 2 for counted in seen.values()), seen
    well = {label for label, counted in seen.items() if any(status < 400 for status in counted)}
    assert len(well) > 50, sorted(seen.keys() - well)


def _try(operation: Any, world: World, session: requests.Session, seen: "Counter[int]") -> None:
    modes = [GenerationMode.POSITIVE]
    if operation.body or operation.query or operation.headers:
        modes.append(GenerationMode.NEGATIVE)
    credentials = world.sessions if "/api/" in operation.path or operation.path == "/token" else world.tokens
    if operation.path == "/api/v1/logout":
        credentials = {"admin": world.spare}
    who = st.sampled_from([*credentials.values(), credentials["admin"], credentials["admin"], ""])

    @given(
        case=st.one_of([operation.as_strategy(generation_mode=mode) for mode in modes]), sent=who,
        real=st.sampled_from([True, True, False]), data=st.data(),
    )
    @settings(
        max_examples=EXAMPLES, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Any, sent: str, real: bool, data: st.DataObject) -> None:
        if real:
            for values in (case.path_parameters, case.query, case.body):
                for name in sorted(values.keys() & world.known.keys()) if isinstance(values, dict) else ():
                    values[name] = data.draw(st.sampled_from(world.known[name]))
        headers = {"authorization": sent} if sent else {}
        answer = case.call(session=session, headers=headers, timeout=30, verify=session.verify)
        seen[answer.status_code] += 1
        case.validate_response(answer, checks=CHECKS)

    ask()
