"""The body of a publish: multipart/form-data, one part per role, within budgets.

1. A part is known by its file name alone: a role, whole (`targets/releases` is not a path), `.json` at its end taken
   off. The form field's name means nothing.
2. No parts at all is a legal body; a body that stops before its closing boundary is not.
3. A role twice is refused: which of the two was meant is not for the server to guess.
4. How the bytes are cut on their way makes no difference.
Notary v1 wire: publish request. RFC 7578.
"""

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from customhouse.errors import Invalid, TooLarge
from customhouse.trust.metadata import MAXIMUM_PLAIN
from customhouse.trust.names import RoleName

MAXIMUM_BODY = 48 * 1024 * 1024  # two roles of 100,000 tags of 20 letters with both digests
MAXIMUM_PARTS = 256


class MalformedUpload(Invalid):
    """The body is not a whole multipart form: `reason`."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the upload is malformed: {reason}", hint="Publish again with docker or notary.")
        self.reason = reason


class NoFilename(Invalid):
    """A part does not say which role it is."""

    def __init__(self) -> None:
        super().__init__("a part of the upload names no role in its filename")


class UploadTooLarge(TooLarge):
    """More bytes or parts than a publish may have."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the update is too large: {what}", hint="Publish one role at a time, or fewer tags in it.")


class UploadParser:
    """Fed with the body as it comes; `files()` at the end."""

    def __init__(self, content_type: str) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise MalformedUpload("it is not multipart/form-data with a boundary")
        self._files: dict[RoleName, bytes] = {}
        self._size = self._parts = 0
        self._begun = self._ended = False
        self._field = self._value = b""
        self._name: bytes | None = None
        self._content = bytearray()
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._on_field,
                    "on_header_value": self._on_value,
                    "on_header_end": self._on_header,
                    "on_part_data": self._on_content,
                    "on_part_end": self._end_part,
                    "on_end": self._end,
                },
            )
        except FormParserError:
            raise MalformedUpload("its boundary is too long") from None

    def feed(self, chunk: bytes) -> None:
        """The next bytes. Raises MalformedUpload, NoFilename, InvalidRole, UploadTooLarge."""
        self._size += len(chunk)
        if self._size > MAXIMUM_BODY:
            raise UploadTooLarge(f"more than {MAXIMUM_BODY} bytes")
        if not self._begun:
            # Empty lines may come first. The parser below skips more than those, as far as the piece goes.
            chunk = chunk.lstrip(b"\r\n")
            self._begun = bool(chunk)
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise MalformedUpload("a boundary or header in it is broken") from None

    def files(self) -> dict[RoleName, bytes]:
        """The files by role. Raises MalformedUpload when the body stopped too early."""
        if not self._ended:
            raise MalformedUpload("it ends before its closing boundary")
        return self._files

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MAXIMUM_PARTS:
            raise UploadTooLarge(f"more than {MAXIMUM_PARTS} files")
        self._name = None
        self._content = bytearray()

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header(self) -> None:
        if self._field.lower() == b"content-disposition":
            name = parse_options_header(self._value)[1].get(b"filename")
            self._name = self._value if b"\\" in self._value else name  # the parser takes a path of Windows apart
        self._field = self._value = b""

    def _on_content(self, data: bytes, start: int, end: int) -> None:
        if len(self._content) + end - start > MAXIMUM_PLAIN:
            raise UploadTooLarge(f"a file of more than {MAXIMUM_PLAIN} bytes")
        self._content += data[start:end]

    def _end_part(self) -> None:
        name = (self._name or b"").removesuffix(b".json")
        if not name:
            raise NoFilename
        role = RoleName.parse(name.decode("ascii", "backslashreplace"))
        if role in self._files:
            raise MalformedUpload(f"it holds {role} twice")
        self._files[role] = bytes(self._content)

    def _end(self) -> None:
        self._ended = True
