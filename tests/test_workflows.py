"""The durable engine behind our port: once per id, over kill -9, on both databases."""

import signal
import subprocess
import sys
from pathlib import Path

PROGRAM = '''
import os, signal, sys, time
from datetime import UTC, datetime
from pathlib import Path
from customhouse.db import Database
from customhouse.errors import Undetermined
from customhouse.workflows import Workflows
url, workflow_url, log, die = sys.argv[1:5]
stranded = []
def note(text):
    with open(log, "a") as file: file.write(text + "\\n"); file.flush(); os.fsync(file.fileno())
def one(argument): note("one " + argument); return "1"
def two(argument):
    note("two " + argument)
    if die == "die": os.kill(os.getpid(), signal.SIGKILL)
    if die == "silence": raise Undetermined("they do not answer")
    if die == "strand" and not stranded: stranded.append(1); raise SystemExit  # ends the thread, with no outcome
    return "2"
def body(step, argument): return step("one", one, argument) + step("two", two, argument)
database = Database(url); database.create()
workflows = Workflows(database, workflow_url, clock=lambda: datetime.now(UTC), workers=2, sole=True)
workflows.define("work", body)
workflows.launch()
workflows.start("work", "w-1", "x"); workflows.start("work", "w-1", "x")
for _ in range(200):
    if workflows.state("w-1") in ("done", "broken"): break
    workflows.sweep(); time.sleep(0.05)
print(workflows.state("w-1"), workflows.state("w-2"))
workflows.close(1)
'''


def run(tmp_path: Path, database_url: str, die: str) -> subprocess.CompletedProcess[str]:
    workflow_url = database_url if database_url.startswith("postgres") else f"sqlite:///{tmp_path}/workflows.db"
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, database_url, workflow_url, str(tmp_path / "log"), die],
        capture_output=True, text=True, timeout=60,
    )


def test_a_killed_workflow_is_resumed_without_repeating_its_recorded_steps(tmp_path: Path, database_url: str) -> None:
    killed = run(tmp_path, database_url, "die")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed = run(tmp_path, database_url, "live")
    assert resumed.stdout.split() == ["done", "None"], resumed.stderr
    assert (tmp_path / "log").read_text().split("\n") == ["one x", "two x", "two x", ""]


def test_an_id_that_was_started_and_finished_runs_only_once(tmp_path: Path, database_url: str) -> None:
    for _ in range(2):
        done = run(tmp_path, database_url, "live")
        assert done.stdout.split() == ["done", "None"], done.stderr
    assert (tmp_path / "log").read_text().split("\n") == ["one x", "two x", ""]


def test_work_whose_thread_died_without_an_outcome_goes_on(tmp_path: Path, database_url: str) -> None:
    done = run(tmp_path, database_url, "strand")
    assert done.stdout.split() == ["done", "None"], done.stderr
    assert (tmp_path / "log").read_text().split("\n") == ["one x", "two x", "two x", ""]


def test_what_others_do_not_answer_is_asked_a_few_times_and_then_given_up(tmp_path: Path) -> None:
    done = run(tmp_path, f"sqlite:///{tmp_path}/hub.db", "silence")
    assert done.stdout.split() == ["broken", "None"], done.stderr
    assert (tmp_path / "log").read_text().split("\n") == ["one x", *["two x"] * 5, ""]
