"""Where an image comes from that was signed elsewhere: a tag of another registry, and who serves its trust data."""

from dataclasses import dataclass
from typing import Self

from customhouse.errors import Invalid
from customhouse.oci.reference import Reference
from customhouse.trust.names import Gun


@dataclass(frozen=True)
class Origin:
    """`trust_server` is an address, empty for the registry's own host, as docker has it."""

    gun: Gun
    tag: str
    trust_server: str = ""

    @classmethod
    def parse(cls, text: str, trust_server: str = "") -> Self:
        """REGISTRY/NAME:TAG, the host in one spelling. Raises InvalidReference, InvalidGun, Invalid."""
        reference = Reference.parse(text)
        if reference.registry is None or reference.tag is None or reference.digest is not None:
            raise Invalid(
                f"{text[:300]!r} does not say which tag of which registry", hint="Write it as REGISTRY/NAME:TAG."
            )
        if len(trust_server) > 300:
            raise Invalid("the trust server's address is too long", hint="Write it as https://HOST[:PORT].")
        gun = Gun.parse(f"{reference.registry.lower()}/{reference.repository}")
        return cls(gun, reference.tag, trust_server.rstrip("/").lower())

    @property
    def asked(self) -> str:
        """The trust server that is asked: its address, or the registry's host."""
        return self.trust_server or self.gun.host

    def __str__(self) -> str:
        return f"{self.gun}:{self.tag}"
