"""The pages hang together: links lead somewhere, generated pages are current, and no command escapes the tests."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.guide import PROGRAMS, World, blocks

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
PLAYED = {
    "README.md", "docs/publishers.md", "docs/keys.md", "docs/teams.md", "docs/consumers.md", "docs/certifiers.md",
    "docs/administrators.md", "docs/audit-policy.md", "docs/sources.md", "docs/mirrors.md", "docs/policies.md",
}
# Everything that is shown and not typed; a new line here needs a reason as good as these.
NOT_RUN = {
    ("README.md", "make is tried by a test of its own"),
    ("README.md", "installs packages"),
    ("docs/administrators.md", "installs packages"),
    ("docs/administrators.md", "needs a token"),
    ("docs/publishers.md", "needs buildx with emulators for other platforms"),
}
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and its like make them."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE):
        found.add(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in _LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name_of(page)}: {link}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target.read_text(encoding="utf-8")), f"{name_of(page)}: {link}"


def test_commands_stand_in_played_pages_only_and_what_is_not_run_is_on_the_list() -> None:
    with_commands, not_run = set(), set()
    for page in PAGES:
        for block in blocks(page.read_text(encoding="utf-8")):
            assert block.language not in ("sh", "bash", "shell"), f"{name_of(page)}:{block.line}: write ```console"
            if block.language == "console":
                with_commands.add(name_of(page))
            if block.not_run:
                not_run.add((name_of(page), block.not_run))
    assert with_commands == PLAYED
    assert not_run == NOT_RUN


def test_messages_that_the_guides_explain_are_messages_of_the_program() -> None:
    source = "\n".join(file.read_text(encoding="utf-8") for file in sorted((ROOT / "src").rglob("*.py"))).lower()
    checked = 0
    for page in PAGES:
        table = False
        for line in page.read_text(encoding="utf-8").splitlines():
            first = line.strip("|").split("|")[0]
            table = line.startswith("|") and (table or " says" in first or "what you see" in first)
            for message in re.findall(r"`([^`]+)`", first) if table else ():
                for part in (part.strip() for part in message.split("…")):
                    assert part.lower() in source, f"{name_of(page)}: no message has {part!r}"
                    checked += 1
    assert checked > 15


def test_the_reference_pages_are_current() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "reference.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_check_of_reference_pages_can_fail(tmp_path: Path) -> None:
    for name in ("scripts", "docs/reference"):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        for file in (ROOT / name).iterdir():
            if file.is_file():
                (folder / file.name).write_bytes(file.read_bytes())
    page = tmp_path / "docs" / "reference" / "cli.md"
    page.write_text(page.read_text().replace("customhouse verify", "customhouse falsify"))
    command = [sys.executable, str(tmp_path / "scripts" / "reference.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "docs/reference/cli.md is stale" in done.stderr and "checks.md" not in done.stderr


def test_the_first_screen_of_the_readme_says_what_it_is_for_whom_and_the_two_commands() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    screen = "\n".join(lines[:40])
    assert lines[0] == "# Customhouse"
    assert re.search(r"^\$ make demo\b", screen, re.MULTILINE) and re.search(r"^\$ make test\b", screen, re.MULTILINE)
    assert "For people who" in screen
    for station in ("publisher", "staging", "quarantine", "examine", "review", "official", "consumer"):
        assert station in screen


def test_what_make_demo_runs_ends_with_a_verified_official_image(tmp_path: Path) -> None:
    shown = subprocess.run(["make", "-n", "demo"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.search(r"bin/customhouse demo$", shown, re.MULTILINE), shown
    done = subprocess.run(
        [PROGRAMS / "customhouse", "demo", "--data", tmp_path / "demo", "--stop"],
        capture_output=True, text=True, timeout=120, check=False, env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "certified: localhost:" in done.stdout and "official   localhost:" in done.stdout


def test_the_commands_of_the_readme_start_a_hub(tmp_path: Path) -> None:
    world = World(tmp_path / "world")
    try:
        world.play((ROOT / "README.md").read_text(encoding="utf-8"))
        assert world.server is not None and world.server.poll() is None
    finally:
        world.close()
