"""Which program asks, from its User-Agent, and what is told to those that ignore content trust.

1. docker's client verified signatures itself up to 28.x, where DOCKER_CONTENT_TRUST=1 was set. From 29 on it ignores
   the variable and says nothing. Which of them asks is seen in what the engine passes on, `UpstreamClient(…)`, and
   where the client asks by itself, in `Docker-Client/…`; an engine's own version says nothing.
2. A User-Agent is what somebody says of himself: it decides what is said and counted, and no right. The only thing
   that is refused by it, where the operator wants that, is an official tag; its digest is given, because whoever has it
   from `customhouse verify` has verified.
3. At /token docker 29's engine is seen as containerd only, so that is no place to refuse. A manifest is: 403 with a
   sentence there is shown by every docker. `Warning: 299` (OCI distribution-spec, "Warnings") is shown by none; it is
   sent all the same, for those who look.
"""

import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from customhouse.accounts.access import Kind, kind_of
from customhouse.errors import Denied

Verifies = Literal["no", "if_told", "unknown"]
WARN, REFUSE = "warn", "refuse"
LAST_VERIFYING_DOCKER = 28
LONGEST = 1024
_DOCKER = re.compile(r"Docker-Client/([0-9]{1,4})(?![0-9])")
_UPSTREAM = re.compile(r"UpstreamClient\(([^)]{0,256})")
_PRODUCT = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}(?=/)")
# Product tokens of programs that ask registries; by the name that is counted. All others are "other".
_KNOWN = {
    "docker": "docker-engine", "containerd": "containerd", "buildkit": "buildkit", "containers": "podman",
    "libpod": "podman", "podman": "podman", "skopeo": "skopeo", "buildah": "buildah", "cri-o": "cri-o",
    "go-containerregistry": "crane", "crane": "crane", "cosign": "cosign", "notation": "notation", "oras": "oras",
    "regclient": "regclient", "kubelet": "kubelet", "customhouse": "customhouse",
}  # fmt: skip


@dataclass(frozen=True)
class Client:
    """A program by its name in a short fixed list, with docker's major version, and whether it verifies signatures."""

    name: str
    major: int | None = None
    verifies: Verifies = "unknown"

    @classmethod
    def parse(cls, user_agent: str) -> "Client":
        """Of anything a header may hold; what is not known is `other`."""
        return _parsed(user_agent) if len(user_agent) <= LONGEST else OTHER

    @property
    def label(self) -> str:
        """How it is counted: `docker-29`, `podman`, `other`."""
        return self.name if self.major is None else f"{self.name}-{self.major}"


OTHER = Client("other")
WARNING = '299 - "docker 29 and later ignore DOCKER_CONTENT_TRUST: pull what customhouse verify --digest prints"'


class UnverifyingClient(Denied):
    """An official tag was asked for by a docker that ignores content trust, and this hub wants it verified."""

    def __init__(self, client: Client, reference: str) -> None:
        super().__init__(
            f"docker {client.major} ignores DOCKER_CONTENT_TRUST, and this hub gives tags to clients that verify",
            hint=f"Run `customhouse verify {reference} --digest` and pull what it prints",
        )
        self.client = client


class ClientWatch:
    """What the doors tell clients by their User-Agent. `policy` is warn or refuse; `host` is the hub's."""

    def __init__(self, host: str, policy: str = WARN) -> None:
        self._host, self._policy = host, policy
        self.pulls: Counter[tuple[str, str]] = Counter()
        """Official tags that were asked for, by client."""

    def warning(self, user_agent: str) -> str:
        """The value of a Warning header; empty for most."""
        return WARNING if Client.parse(user_agent).verifies == "no" else ""

    def tag_asked(self, user_agent: str, repository: str, reference: str) -> tuple[str, str] | None:
        """A manifest is asked for by somebody who may have it. Counts official tags, and returns as what in `pulls`.
        Raises UnverifyingClient."""
        if ":" in reference or kind_of(repository) is not Kind.OFFICIAL:
            return None
        client = Client.parse(user_agent)
        counted = client.label, client.verifies
        self.pulls[counted] += 1
        if client.verifies == "no" and self._policy == REFUSE:
            raise UnverifyingClient(client, f"{self._host}/{repository}:{reference}")
        return counted


@lru_cache(maxsize=512)
def _parsed(text: str) -> Client:
    upstream = _UPSTREAM.search(text)
    said = upstream[1] if upstream else text
    docker = _DOCKER.match(said)
    if docker:
        major = int(docker[1])
        return Client("docker", min(major, 99), "if_told" if major <= LAST_VERIFYING_DOCKER else "no")
    product = _PRODUCT.match(said)
    name = _KNOWN.get(product[0].lower()) if product else None
    if name is None and upstream and text.startswith("docker/"):
        name = "docker-engine"  # for some other program
    verifies: Verifies = "if_told" if name in ("customhouse", "cosign", "notation") else "unknown"
    return Client(name, None, verifies) if name else OTHER
