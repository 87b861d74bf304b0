"""Guessing passwords is slow: a small token bucket of failures for each name and address.

1. An attempt takes its token before any password is compared, so that many at once count as many; a success gives
   the bucket back. `now` is an argument; the buckets live in memory, in a bounded table.
2. Name *and* address: a stranger cannot lock a user out from elsewhere.
3. Where other processes take logins too, each failure is a row as well (`client`, `refilled`), and an attempt needs a
   token in both: what is guessed at the same time is counted by each process, what follows by all of them.
"""

import math
import threading
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from customhouse.errors import Unauthenticated

BURST = 10
SECONDS_PER_ATTEMPT = 6.0
REMEMBERED = 20_000


class Throttled(Unauthenticated):
    """Too many failed logins; `wait_seconds` until the next attempt is looked at."""

    def __init__(self, wait_seconds: int) -> None:
        super().__init__(
            f"too many failed logins: wait {wait_seconds} s and try again",
            hint="An administrator can set a new password meanwhile.",
        )
        self.wait_seconds = wait_seconds


def client(name: str, address: str) -> str:
    """Of whom the failures of all processes are counted: hashed, because strangers choose both."""
    return sha256(f"{address}\0{name[:200]}".encode("utf-8", "surrogatepass")).hexdigest()


def refilled(left: float, at: datetime, now: datetime) -> float:
    """Attempts that are left now, when so many were at a moment."""
    return min(float(BURST), left + max(0.0, (now - at).total_seconds()) / SECONDS_PER_ATTEMPT)


def require(left: float) -> None:
    """Raises Throttled where no attempt is left."""
    if left < 1:
        raise Throttled(max(1, math.ceil((1 - left) * SECONDS_PER_ATTEMPT)))


@dataclass
class _Bucket:
    left: float
    at: datetime


class Throttle:
    """Failed logins by (name, address)."""

    def __init__(self, burst: int = BURST, seconds_per_attempt: float = SECONDS_PER_ATTEMPT) -> None:
        self._burst = burst
        self._seconds = seconds_per_attempt
        self._buckets: dict[tuple[str, str], _Bucket] = {}
        self._lock = threading.Lock()

    def attempt(self, name: str, address: str, now: datetime) -> None:
        """Take one attempt. Raises Throttled when there is none left."""
        key = (name[:200], address)
        with self._lock:
            bucket = self._buckets.pop(key, None) or _Bucket(self._burst, now)
            self._buckets[key] = bucket  # the last one used is the last one forgotten
            passed = max(0.0, (now - bucket.at).total_seconds())
            bucket.left = min(self._burst, bucket.left + passed / self._seconds)
            bucket.at = now
            if len(self._buckets) > REMEMBERED:
                del self._buckets[next(iter(self._buckets))]
            if bucket.left < 1:
                raise Throttled(max(1, math.ceil((1 - bucket.left) * self._seconds)))
            bucket.left -= 1

    def succeeded(self, name: str, address: str) -> None:
        """The right password: earlier failures were typing errors."""
        with self._lock:
            self._buckets.pop((name[:200], address), None)
