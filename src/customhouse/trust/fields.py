"""Reading the fields of a JSON document that must have exactly the fields it should; refusals name the role.

Notary v1 wire: common fields of `signed`.
"""

import base64
import binascii
import re
from datetime import datetime

from customhouse.errors import Invalid
from customhouse.trust.canonical import JSON
from customhouse.trust.names import RoleName

MAXIMUM_VERSION = 2**31 - 1

_EXPIRES = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?Z")


class InvalidMetadata(Invalid):
    """A file of a role that breaks the format: `role`, `reason`."""

    def __init__(self, role: str, reason: str) -> None:
        super().__init__(f"the {role} metadata is not well-formed: {reason}")
        self.role = role
        self.reason = reason


class Fields:
    """Reads typed values out of one role's file."""

    def __init__(self, role: RoleName) -> None:
        self.role = role

    def wrong(self, reason: str) -> InvalidMetadata:
        return InvalidMetadata(self.role, reason)

    def object(self, value: JSON, where: str, fields: tuple[set[str], set[str]]) -> dict[str, JSON]:
        found = self.mapping(value, where)
        needed, optional = fields
        for name in sorted(needed - set(found)):
            raise self.wrong(f"{where[:60]} has no {name}")
        for name in sorted(set(found) - needed - optional):
            raise self.wrong(f"{where[:60]} has the unknown field {name[:60]!r}")
        return found

    def mapping(self, value: JSON, where: str) -> dict[str, JSON]:
        if not isinstance(value, dict):
            raise self.wrong(f"{where[:60]} should be an object")
        return value

    def list(self, value: JSON, where: str) -> "list[JSON]":
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.wrong(f"{where[:60]} should be a list")
        return value

    def text(self, value: JSON, where: str) -> str:
        if not isinstance(value, str):
            raise self.wrong(f"{where[:60]} should be a text")
        return value

    def number(self, value: JSON, where: str, least: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self.wrong(f"{where[:60]} should be a whole number, {least} or more")
        return value

    def version(self, signed: dict[str, JSON]) -> int:
        version = self.number(signed["version"], "version", 1)
        if version > MAXIMUM_VERSION:
            raise self.wrong(f"version {version} is beyond {MAXIMUM_VERSION}")
        return version

    def expires(self, signed: dict[str, JSON]) -> datetime:
        text = self.text(signed["expires"], "expires")
        try:
            if _EXPIRES.fullmatch(text):
                return datetime.fromisoformat(text)
        except ValueError:
            pass
        raise self.wrong(f"expires {text[:40]!r} should read like 2027-01-31T12:00:00Z")

    def bytes(self, value: JSON, where: str) -> bytes:
        text = self.text(value, where)
        try:
            raw = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise self.wrong(f"{where[:60]} should be base64") from None
        if base64.b64encode(raw).decode() != text:
            raise self.wrong(f"{where[:60]} is not in the one form of base64 that others write")
        return raw
