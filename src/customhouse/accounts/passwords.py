"""Passwords: argon2id, never more than two at once, and the same work for a name that nobody has.

1. A hash costs 64 MiB and a tenth of a second; two at a time keep a flood of logins from taking the machine.
   Whoever cannot start within ten seconds is told to come again.
2. A password is 8 characters to 1024 bytes long, and not of the shape of a token's secret: that is looked up, not
   hashed, and has to stay telling one from the other.
RFC 9106 (argon2), NIST SP 800-63B §5.1.1.
"""

import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from customhouse.accounts.tokens import is_secret
from customhouse.errors import Invalid, Unavailable

SHORTEST_CHARACTERS = 8
LONGEST_BYTES = 1024
AT_ONCE = 2
PATIENCE_SECONDS = 10.0


class UnfitPassword(Invalid):
    """A new password that is refused."""

    def __init__(self, why: str) -> None:
        super().__init__(f"this password is refused: {why}", hint="Four random words make a good one.")


class Passwords:
    """Hashes and verifies; `hasher` sets the cost."""

    def __init__(self, hasher: PasswordHasher | None = None, patience: float = PATIENCE_SECONDS) -> None:
        self._hasher = hasher or PasswordHasher()
        self._patience = patience
        self._slots = threading.BoundedSemaphore(AT_ONCE)
        self._nobody = _no_password(self._hasher)

    def hash(self, password: str) -> str:
        """What is stored of a new password. Raises UnfitPassword, Unavailable."""
        if len(password) < SHORTEST_CHARACTERS:
            raise UnfitPassword(f"it is shorter than {SHORTEST_CHARACTERS} characters")
        if len(password.encode("utf-8", "surrogatepass")) > LONGEST_BYTES:
            raise UnfitPassword(f"it is longer than {LONGEST_BYTES} bytes")
        if "\x00" in password or any("\ud800" <= letter <= "\udfff" for letter in password):
            raise UnfitPassword("it holds a character that cannot be typed")
        if is_secret(password):
            raise UnfitPassword("it looks like the secret of an access token")
        with self._slot():
            return self._hasher.hash(password)

    def verify(self, stored: str | None, password: str) -> bool:
        """True for the right password. `stored` None (nobody has that name) costs the same and is False."""
        raw = password.encode("utf-8", "surrogatepass")
        if len(raw) > LONGEST_BYTES:
            return False
        with self._slot():
            try:
                return self._hasher.verify(stored or self._nobody, raw) and stored is not None
            except (Argon2Error, InvalidHashError):
                return False

    @contextmanager
    def _slot(self) -> Iterator[None]:
        if not self._slots.acquire(timeout=self._patience):
            raise Unavailable("too many logins at once", hint="Try again in a moment.")
        try:
            yield
        finally:
            self._slots.release()


def _no_password(hasher: PasswordHasher) -> str:
    """A stored form of the same cost that no password fits; made without paying that cost at every start."""
    cost = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    salt, digest = (b64encode(bytes(size)).decode().rstrip("=") for size in (hasher.salt_len, hasher.hash_len))
    return f"$argon2id$v=19${cost}${salt}${digest}"
