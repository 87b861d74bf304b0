"""The registry spoken by hand, one connection a request unless told otherwise: any process or host may answer it."""

import json
import ssl
from http.client import HTTPSConnection
from pathlib import Path

import urllib3

from tests.hub_process import HubProcess
from tests.publisher import Publisher


class Wire:
    """Requests as a publisher's token; `scope` is of one repository."""

    def __init__(self, publisher: Publisher, repository: str, hub: HubProcess | None = None) -> None:
        self.hub, self.repository = hub or publisher.hub, repository
        assert publisher.login is not None
        self.ca: Path = publisher.hub.ca
        basic = urllib3.make_headers(basic_auth=f"{publisher.login.username}:{publisher.login.secret}")
        path = f"/token?service={publisher.hub.host}&scope=repository:{repository}:pull,push"
        answer = self.request("GET", path, headers=basic, base="")
        self.token = json.loads(answer.data)["token"]

    def connection(self) -> HTTPSConnection:
        context = ssl.create_default_context(cafile=str(self.ca))
        context.check_hostname = False  # a host is asked at its own address here
        return HTTPSConnection(self.hub.address, self.hub.port, context=context, timeout=30)

    def request(
        self, method: str, path: str, body: bytes = b"", *,
        headers: dict[str, str] | None = None, base: str | None = None,
    ) -> urllib3.HTTPResponse:
        """`path` follows the repository's, or is whole."""
        if base is None:
            base = f"/v2/{self.repository}" if not path.startswith("/v2/") else ""
        pool = urllib3.HTTPSConnectionPool(
            self.hub.address, self.hub.port, ca_certs=str(self.ca), assert_hostname=False, retries=False, timeout=30
        )
        sent = headers or {"authorization": f"Bearer {self.token}"}
        try:
            return pool.request(method, base + path, body=body, headers=sent)
        finally:
            pool.close()

    @property
    def authorization(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"}
