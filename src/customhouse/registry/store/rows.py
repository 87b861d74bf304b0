"""What the registry's rows say, as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from customhouse.oci.digest import Digest


@dataclass(frozen=True)
class Found:
    """A manifest that a repository holds; `refused` is why it may not be pulled, or None."""

    digest: Digest
    media_type: str
    size: int
    refused: str | None


@dataclass(frozen=True)
class Linked:
    """A blob that a repository holds; `loose_since` is from when on no manifest may need it, or None."""

    size: int
    loose_since: datetime | None


@dataclass(frozen=True)
class Referrer:
    """One entry of the referrers API."""

    digest: Digest
    media_type: str
    size: int
    artifact_type: str
    annotations: Mapping[str, str]


@dataclass(frozen=True)
class Content:
    """A manifest's bytes and what they say: `needs` is `content.needs_of` it."""

    digest: Digest
    media_type: str
    raw: bytes
    subject: Digest | None
    artifact_type: str
    annotations: Mapping[str, str]
    needs: Mapping[Digest, str]
