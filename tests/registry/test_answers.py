"""What is remembered is never older than the last commit, whoever made it."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from customhouse.answers import Answers
from customhouse.registry.content import BlobUnknown, ManifestRefused, ManifestUnknown
from customhouse.registry.service import RegistryService
from tests.registry.conftest import image
from tests.registry.test_service import LAYER, SOURCE, put_blob, put_image


def test_a_question_is_asked_once_until_somebody_commits(tmp_path: Path) -> None:
    file = tmp_path / "a.db"
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("PRAGMA journal_mode=WAL")
    other.execute("CREATE TABLE t (x)")
    answers, asked = Answers(file), []

    def ask() -> int:
        asked.append(1)
        return len(asked)

    assert [answers.get("q", ask) for _ in range(3)] == [1, 1, 1]
    assert answers.get("another", ask) == 2
    other.execute("INSERT INTO t VALUES (1)")
    assert answers.get("q", ask) == 3
    other.execute("SELECT * FROM t").fetchall()
    assert answers.get("q", ask) == 3
    other.close()


def test_nothing_is_remembered_without_a_file_or_of_what_is_absent(tmp_path: Path) -> None:
    asked: list[int] = []
    for answers in (Answers(None), Answers(Path(":memory:"))):
        for _ in range(2):
            answers.get("q", lambda: asked.append(1) or 7)  # type: ignore[func-returns-value]
    assert len(asked) == 4
    file = tmp_path / "a.db"
    for _ in range(2):
        assert Answers(file).get("q", lambda: asked.append(1)) is None
    assert len(asked) == 6


def test_every_change_is_seen_by_the_next_look_in_another_process_too(
    service: RegistryService, make_service: Callable[[], RegistryService]
) -> None:
    other = make_service()
    first = put_image(service, SOURCE)
    assert (service.resolve(SOURCE, "1").digest, other.resolve(SOURCE, "1").digest) == (first, first)
    second = put_image(other, SOURCE, "1", b"second")
    assert (service.resolve(SOURCE, "1").digest, other.resolve(SOURCE, "1").digest) == (second, second)
    with other.store.write() as tx:
        other.refuse(tx, SOURCE, second, "withdrawn")
        assert service.resolve(SOURCE, "1").digest == second, "not committed yet"
    with pytest.raises(ManifestRefused):
        service.resolve(SOURCE, "1")
    other.delete_manifest(SOURCE, first, "alice")
    with pytest.raises(ManifestUnknown):
        service.resolve(SOURCE, first)
    loose = put_blob(service, SOURCE, b"loose")
    assert service.blob(SOURCE, loose).size == other.blob(SOURCE, loose).size == 5
    other.delete_blob(SOURCE, loose, "alice")
    with pytest.raises(BlobUnknown):
        service.blob(SOURCE, loose)
    assert image(LAYER) and service.tags(SOURCE) == ["1"]
