"""The hub's API as commands use it, and the decorator that connects a command to a hub."""

import functools
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import click

from customhouse.cli.logins import Logins
from customhouse.cli.output import Output
from customhouse.errors import Invalid
from customhouse.remote import RemoteFailed
from customhouse.settings import client_environment
from customhouse.transport import Body, Patience, Transport

P = ParamSpec("P")
R = TypeVar("R")
JSON = dict[str, Any]
LARGEST_ANSWER = 64 * 1024 * 1024
_API = "/api/v1"


class Connections:
    """Opens transports with the right credentials and CA: to the hub that is meant, or to a reference's host."""

    def __init__(self, url: str | None, ca_file: Path | None, insecure: bool) -> None:
        self.environment = client_environment()
        self.logins = Logins(self.environment)
        self._url, self._ca_file, self._insecure = url, ca_file, insecure

    def transport(self, host: str | None = None, *, patience: Patience | None = None, ca_pem: str = "") -> Transport:
        """To the host of a reference, or to the hub."""
        url = self.logins.url(self._url, host)
        tls = self.logins.tls(url, self._ca_file, self._insecure)
        if ca_pem and not (tls.ca_file or tls.ca_pem or tls.insecure):
            tls = replace(tls, ca_pem=ca_pem)
        transport = Transport(url, credentials=self.logins.credentials(url), tls=tls, patience=patience)
        if host and transport.host != host:
            raise Invalid(f"the reference is of {host} and --url names {transport.host}")
        return transport

    def content(self, host: str, *, ca_pem: str = "") -> Transport:
        """For the registry and trust doors: they want a name with a secret, so a bare session is given its name."""
        transport = self.transport(host, ca_pem=ca_pem)
        who = transport.credentials
        if who.bearer and not who.username:
            name = str(HubApi(transport).get("/whoami").get("username", ""))
            transport.credentials = replace(who, username=name, secret=who.bearer)
        return transport

    def hub(self, host: str | None = None, *, patience: Patience | None = None) -> "HubApi":
        """The API of the hub."""
        return HubApi(self.transport(host, patience=patience))


class HubApi:
    """JSON in, JSON out; paths below /api/v1."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    def get(self, path: str, **query: str | int | None) -> JSON:
        """Read something; what is None is not asked for."""
        asked = {name: str(value) for name, value in query.items() if value is not None}
        return self._document("GET", path, query=asked)

    def change(self, path: str, **query: str) -> JSON:
        """Do something that is said by the path and its query alone."""
        return self._document("POST", path, query=query)

    def post(self, path: str, document: Any = None) -> JSON:
        """Make or do something."""
        return self._document("POST", path, body=json.dumps(document if document is not None else {}).encode())

    def put(self, path: str, document: Any) -> JSON:
        """Set something."""
        return self._document("PUT", path, body=json.dumps(document).encode())

    def patch(self, path: str, document: Any) -> JSON:
        """Change something."""
        return self._document("PATCH", path, body=json.dumps(document).encode())

    def delete(self, path: str, **query: str) -> None:
        """Remove something."""
        self._document("DELETE", path, query=query)

    def upload(self, path: str, body: Body, size: int, **query: str) -> JSON:
        """Send a file."""
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        return self._document("POST", path, query=query, body=body, headers=headers)

    def pages(self, path: str, key: str, **query: str | int | None) -> list[JSON]:
        """A whole list, over its pages."""
        found: list[JSON] = []
        after: str | None = None
        while True:
            answer = self.get(path, after=after, **query)
            found += answer.get(key, [])
            after = answer.get("next")
            if not after:
                return found

    def _document(self, method: str, path: str, **more: Any) -> JSON:
        more.setdefault("headers", {"Content-Type": "application/json"} if "body" in more else {})
        answer = self.transport.request(
            method, _API + path, expect=(200, 201, 202, 204), budget=LARGEST_ANSWER, **more
        )
        if not answer.body:
            return {}
        document = answer.json()
        if not isinstance(document, dict):
            raise RemoteFailed(f"{answer.url} did not answer with a JSON object", status=answer.status)
        return document


def connected(command: Callable[Concatenate[Output, Connections, P], R]) -> Callable[..., R]:
    """Give a command --url, --ca-file and --insecure, and its Connections after its Output."""

    @click.option("--url", help="The hub, instead of CUSTOMHOUSE_URL or the last login.")
    @click.option("--ca-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="CA of the hub, PEM.")
    @click.option("--insecure", is_flag=True, help="Believe any certificate, and allow plain HTTP.")
    @functools.wraps(command)
    def with_connections(
        out: Output, *args: Any, url: str | None, ca_file: Path | None, insecure: bool, **options: Any
    ) -> R:
        return command(out, Connections(url, ca_file, insecure), *args, **options)

    return with_connections


def password_from(stdin: bool, prompt: str = "Password") -> str:
    """One line of stdin, or asked for without echo."""
    if stdin:
        return sys.stdin.readline().rstrip("\r\n")
    return str(click.prompt(prompt, hide_input=True, err=True))
