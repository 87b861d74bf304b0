"""A short search by every fuzz target; `make fuzz` searches longer."""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.fuzz.__main__ import NAMES

ROOT = Path(__file__).parents[2]
SECONDS = 2


def search(names: list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.fuzz", *names, "--seconds", str(SECONDS)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=170, check=False)


@pytest.mark.needs("atheris")
def test_a_short_search_finds_nothing_new() -> None:
    hands = min(os.cpu_count() or 1, 4)
    with ThreadPoolExecutor(hands) as pool:
        ended = list(pool.map(search, [list(NAMES[start::hands]) for start in range(hands)]))
    assert all(done.returncode == 0 for done in ended), "\n".join(done.stdout + done.stderr for done in ended)
    said = "\n".join(done.stdout for done in ended)
    tried = dict(re.findall(r"^([a-z-]+): (\d+) inputs$", said, re.MULTILINE))
    assert set(tried) == set(NAMES) and said.count("nothing broke") == hands
    assert all(int(count) > 20 for count in tried.values()), tried
