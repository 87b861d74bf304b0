"""Passwords: what is refused, what is stored, and how many hashes run at once."""

import threading
import time

import pytest
from argon2 import PasswordHasher

from customhouse.accounts.passwords import Passwords, UnfitPassword
from customhouse.errors import Unavailable
from tests.accounts.conftest import PASSWORD, cheap_passwords


class SlowHasher(PasswordHasher):
    """Counts how many verifications run at the same time."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.running = self.most = self.done = 0
        self.lock = threading.Lock()
        self.seconds = 0.02

    def verify(self, hash: str | bytes, password: str | bytes) -> bool:
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
        time.sleep(self.seconds)
        with self.lock:
            self.running -= 1
            self.done += 1
        return super().verify(hash, password)


def test_only_the_right_password_is_right() -> None:
    passwords = cheap_passwords()
    stored = passwords.hash(PASSWORD)
    assert stored.startswith("$argon2id$")
    assert PASSWORD not in stored
    assert passwords.hash(PASSWORD) != stored
    assert passwords.verify(stored, PASSWORD)
    for wrong in ("", PASSWORD + " ", PASSWORD[:-1], PASSWORD.upper(), "x" * 5000, "\ud800", "\x00"):
        assert not passwords.verify(stored, wrong)
    assert not passwords.verify("not a hash", PASSWORD)


@pytest.mark.parametrize(
    "password", ["", "short77", "x" * 1025, "é" * 513, "nul\x00inside", "half \ud800 pair", "ch_" + "x" * 43]
)
def test_unfit_passwords_are_refused_without_being_repeated(password: str) -> None:
    with pytest.raises(UnfitPassword) as caught:
        cheap_passwords().hash(password)
    assert not password or password not in str(caught.value)


@pytest.mark.parametrize("password", ["exactly8", "x" * 1024, "пароль-из-букв"])
def test_long_and_foreign_passwords_are_fine(password: str) -> None:
    passwords = cheap_passwords()
    assert passwords.verify(passwords.hash(password), password)


def test_a_name_that_nobody_has_costs_a_hash_as_well() -> None:
    hasher = SlowHasher()
    passwords = Passwords(hasher)
    assert not passwords.verify(None, "a password that no account has")
    assert hasher.done == 1


def test_two_hashes_run_at_once_and_no_more() -> None:
    hasher = SlowHasher()
    passwords = Passwords(hasher)
    threads = [threading.Thread(target=passwords.verify, args=(None, PASSWORD)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert hasher.done == 8
    assert hasher.most == 2


def test_who_waits_too_long_is_told_to_come_again() -> None:
    hasher = SlowHasher()
    hasher.seconds = 0.5
    passwords = Passwords(hasher, patience=0.01)
    threads = [threading.Thread(target=passwords.verify, args=(None, PASSWORD)) for _ in range(2)]
    for thread in threads:
        thread.start()
    while hasher.running < 2:
        time.sleep(0.005)
    with pytest.raises(Unavailable):
        passwords.verify(None, PASSWORD)
    for thread in threads:
        thread.join()
