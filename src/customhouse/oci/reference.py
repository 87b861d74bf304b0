"""Names of repositories, tags and whole references: `[registry/]repository[:tag][@digest]`.

The grammar is that of OCI distribution-spec §"Pulling manifests" (`<name>` and `<reference>`), with docker's limit of
255 characters. A first component with a dot or a colon, or `localhost`, is a registry, as every client reads it.
Nothing is filled in: no default registry, no `library/`, no `latest`.
"""

import re
from dataclasses import dataclass
from typing import Self

from customhouse.errors import Invalid
from customhouse.oci.digest import Digest

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_REGISTRY = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9a-fA-F:]+\])"
    r"(?::[0-9]{1,5})?"
)
LONGEST_REPOSITORY = 255


class InvalidReference(Invalid):
    """A text that names no image we could look for."""

    def __init__(self, text: str, why: str) -> None:
        super().__init__(
            f"{text[:300]!r} is not an image reference: {why}",
            hint="Write it as localhost:5443/staging/acme/web:1 or with @sha256:… at the end.",
        )
        self.text = text


def valid_repository(name: str) -> bool:
    """Is this a repository name, such as `staging/acme/web`?"""
    return len(name) <= LONGEST_REPOSITORY and _REPOSITORY.fullmatch(name) is not None


def valid_tag(name: str) -> bool:
    """Is this a tag: 1 to 128 characters, no leading dot or dash?"""
    return _TAG.fullmatch(name) is not None


@dataclass(frozen=True)
class Reference:
    """One image by name; `tag` and `digest` may both be there, and then the digest decides."""

    registry: str | None
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises InvalidReference, or InvalidDigest for what stands after the `@`."""
        name, at, digest_text = text.partition("@")
        digest = Digest.parse(digest_text) if at else None
        first, slash, rest = name.partition("/")
        registry: str | None = None
        if slash and ("." in first or ":" in first or first == "localhost"):
            if not _REGISTRY.fullmatch(first):
                raise InvalidReference(text, f"{first[:80]!r} is not a host")
            registry, name = first, rest
        repository, colon, tag = name.partition(":")
        if not valid_repository(repository):
            raise InvalidReference(text, f"{repository[:80]!r} is not a repository name")
        if colon and not valid_tag(tag):
            raise InvalidReference(text, f"{tag[:80]!r} is not a tag")
        return cls(registry, repository, tag if colon else None, digest)

    @property
    def name(self) -> str:
        """Registry and repository, without tag and digest: what Notary calls the GUN."""
        return f"{self.registry}/{self.repository}" if self.registry else self.repository

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"
