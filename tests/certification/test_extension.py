"""A check of somebody else: a package of its own, installed by pip, found by its entry point."""

import subprocess
import sys
import zipfile
from pathlib import Path

# What `pip wheel` makes of a pyproject.toml with [project.entry-points."customhouse.checks"].
METADATA = "Metadata-Version: 2.1\nName: acme-checks\nVersion: 1.0\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
ENTRY_POINTS = "[customhouse.checks]\nmotd = acme_checks\n"
CHECK = '''\
"""ACME-MOTD: the image greets nobody."""

from customhouse.certification.check import Check, Failure, at_layer, whole_filesystem
from customhouse.certification.findings import Severity


def evaluate(subject, params):
    entry = whole_filesystem(subject).entry("etc/motd")
    if entry is not None and entry.size > params["most_bytes"]:
        yield Failure(f"/etc/motd has {entry.size} bytes", {"path": "etc/motd", **at_layer(subject, entry.layer)})


CHECK = Check(
    id="ACME-MOTD",
    title="No message of the day",
    why="Nobody logs in to a container.",
    remedy="Remove /etc/motd.",
    severity=Severity.LOW,
    evaluate=evaluate,
    params={"most_bytes": 0},
)
'''
ASK = """\
import sys
from customhouse.certification.check import discover
from customhouse.certification.policy import Policy
from tests.certification.subjects import findings
from customhouse.testing.images import image, layer

check = next(item for item in discover() if item.id == "ACME-MOTD")
policy = Policy.default().bind(discover())
assert "ACME-MOTD" in policy.required
(found,) = findings(check, image([layer({"etc/motd": b"hello"})]))
print(found.check, found.outcome.value, found.evidence["path"])
(found,) = findings(check, image([layer({"etc/motd": b""})]))
print(found.check, found.outcome.value)
"""


def test_a_check_that_pip_installs_is_run_like_any_other(tmp_path: Path) -> None:
    target, wheel = tmp_path / "target", tmp_path / "acme_checks-1.0-py3-none-any.whl"
    files = {"METADATA": METADATA, "WHEEL": WHEEL, "entry_points.txt": ENTRY_POINTS, "RECORD": ""}
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("acme_checks/__init__.py", CHECK)
        for name, text in files.items():
            archive.writestr(f"acme_checks-1.0.dist-info/{name}", text)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target)]
    done = subprocess.run([*install, str(wheel)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    root = Path(__file__).parents[2]
    asked = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = [{str(target)!r}, {str(root)!r}]\n{ASK}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.stdout == "ACME-MOTD fail etc/motd\nACME-MOTD pass\n", asked.stderr
