"""The fuzz targets: seeds and earlier finds in every run; tests/conformance/test_search.py searches for new ones."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.__main__ import CASES, NAMES
from tests.fuzz.targets import TARGETS_BY_NAME

ROOT = Path(__file__).parents[2]
FOUND = sorted(path for path in CASES.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", NAMES)
def test_valid_inputs_are_accepted_and_cut_ones_break_nothing(name: str) -> None:
    target = TARGETS_BY_NAME[name]
    seeds = list(target.seeds())
    assert len(seeds) > 3
    for seed in seeds:
        assert target.run(seed), seed[:200]
        for length in {*range(0, len(seed), 1 + len(seed) // 50), len(seed) - 1}:
            target.run(seed[:length])
            target.run(seed[:length] + b"\0" + seed[length + 1 :])


@pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_once_broke_a_parser_does_so_no_more(path: Path) -> None:
    TARGETS_BY_NAME[path.parent.name].run(path.read_bytes())


def test_there_are_targets_of_these_names() -> None:
    assert tuple(TARGETS_BY_NAME) == NAMES


@pytest.mark.needs("atheris")
def test_a_search_that_finds_something_says_what_and_where(tmp_path: Path) -> None:
    """The same runner on a parser that is broken on purpose: a search that cannot fail would find nothing either."""
    script = tmp_path / "broken.py"
    script.write_text(
        "import sys\nfrom tests.fuzz import __main__ as fuzz, targets\n"
        "from dataclasses import replace\n"
        "def broken(data):\n    if data[:1] == b'[':\n        raise RuntimeError('broken on purpose')\n"
        "json = targets.TARGETS_BY_NAME['json']\n"
        "targets.TARGETS_BY_NAME['json'] = replace(json, run=broken)\n"
        "sys.exit(fuzz.fuzz('json', fuzz.Path(sys.argv[1]), 3))\n"
    )
    (corpus := tmp_path / "corpus").mkdir()
    done = subprocess.run(
        [sys.executable, str(script), str(corpus)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode != 0
    assert "broken on purpose" in done.stdout + done.stderr
    assert list(corpus.glob("broke-crash-*"))
