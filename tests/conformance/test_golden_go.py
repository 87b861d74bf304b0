"""A real program of the Go toolchain, alone in an image: what the static checks say of it."""

import os
import subprocess
from pathlib import Path

import pytest

from customhouse.certification.findings import Outcome
from customhouse.certification.policy import Policy
from customhouse.certification.runner import run
from customhouse.testing.images import File, image, labels, layer
from tests.certification.subjects import subject
from tests.certification.test_golden import static

SOURCE = """\
package main

import "net/http"

func main() { http.ListenAndServe(":8080", http.NotFoundHandler()) }
"""


def built(folder: Path) -> bytes:
    (folder / "main.go").write_text(SOURCE)
    (folder / "go.mod").write_text("module acme.example/web\n\ngo 1.21\n")
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off", "GOTOOLCHAIN": "local"}
    command = ["go", "build", "-trimpath", "-buildvcs=false", "-o", "web", "."]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=170)
    assert done.returncode == 0, done.stderr
    return (folder / "web").read_bytes()


def failures(program: bytes) -> set[tuple[str, str]]:
    config = {
        "User": "65532:65532",
        "Entrypoint": ["/web"],
        "ExposedPorts": {"8080/tcp": {}},
        "Healthcheck": {"Test": ["CMD", "/web", "health"]},
        "Labels": labels(),
    }
    one = image(
        [layer({"web": File(program, mode=0o755)}, created_by="COPY web / # buildkit")],
        config=config,
        config_changes={"created": "2026-11-01T08:00:00Z"},
    )
    checks = static()
    found = run(checks, subject(one, *checks, tag="1.4.2"), Policy.default())
    unexpected = (Outcome.ERROR, Outcome.NOT_EVALUABLE)
    assert [item for item in found if item.outcome in unexpected] == []
    return {
        (item.check, str(item.evidence.get("path") or item.evidence["key"]))
        for item in found
        if item.outcome is Outcome.FAIL
    }


@pytest.mark.needs("go")
def test_a_go_program_alone_fails_only_what_its_build_left_out(tmp_path: Path) -> None:
    assert failures(built(tmp_path)) == {("FS-BINHARD", "pie")}
