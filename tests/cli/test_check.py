"""`customhouse check` on a laptop: the forms it writes, the same each time, and exit codes by verdict."""

import json
from pathlib import Path
from typing import Any

import pytest

from customhouse.cli.program import run as main
from customhouse.testing.images import minimal_server_image, write_docker_save, write_oci_layout

MOMENT = "1795000000"  # in November 2026


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", MOMENT)
    monkeypatch.chdir(tmp_path)
    good = minimal_server_image()
    write_docker_save(good, tmp_path / "good.tar", reference="example.com/web:1.0.0")
    write_oci_layout(good, tmp_path / "layout", tag="1.0.0")
    write_docker_save(minimal_server_image(User="0"), tmp_path / "bad.tar", reference="example.com/web:1.0.0")
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["check", "--engine", "none", *arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_the_exit_code_is_the_verdict(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "good.tar")
    assert code == 0 and out.startswith("certified, grade ")
    code, out, _ = run(capsys, "bad.tar")
    assert code == 1 and out.startswith("refused, grade F") and "CFG-USER" in out
    code, _, err = run(capsys, "good.tar", "--policy", "strictest")
    assert code == 1 and "no shipped policy" in err
    assert run(capsys, "good.tar", "--format", "pdf")[0] == 2


@pytest.mark.parametrize("form", ["text", "json", "sarif", "html"])
def test_each_form_is_the_same_bytes_from_a_file_a_folder_and_a_cache(
    desk: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    first = run(capsys, "good.tar", "--format", form, "--no-cache")
    again = run(capsys, "good.tar", "--format", form)
    cached = run(capsys, "good.tar", "--format", form)
    assert first == again == cached and first[0] == 0
    file = desk / "out" / f"report.{form}"
    code, out, err = run(capsys, "good.tar", "--format", form, "--out", str(file))
    assert (code, out, file.read_text()) == (0, "", first[1]) and str(file) in err
    if form == "sarif":
        assert json.loads(first[1])["version"] == "2.1.0"
    if form == "html":
        assert first[1].startswith("<!doctype html>") and first[1].rstrip().endswith("</html>")


def test_an_archive_and_a_layout_of_one_image_have_the_same_findings(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def findings(name: str) -> Any:
        document = json.loads(run(capsys, name, "--json", "--tag", "1.0.0")[1])
        return [(item["check"], item["outcome"], item["evidence"].get("path")) for item in document["findings"]]

    assert findings("good.tar") == findings("layout")


def test_layers_and_packages_are_in_the_document(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(run(capsys, "good.tar", "--json")[1])
    assert document["made"] == "2026-11-18T11:06:40+00:00" and document["policy"]["name"] == "baseline"
    (platform,) = document["platforms"]
    assert platform["layers"] and platform["layers"][0]["digest"].startswith("sha256:")
    assert document["runs"][0]["outcome"] == "unavailable"


def test_a_moment_that_is_no_number_is_told(
    desk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    code, _, err = run(capsys, "good.tar")
    assert code == 1 and "SOURCE_DATE_EPOCH" in err




def test_a_publishers_own_documents_are_judged_or_refused_with_their_line(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (desk / "tests.yaml").write_text("schemaVersion: 2.0.0\nfileExistenceTests: [{name: licence, path: /LICENCE}]\n")
    code, out, _ = run(capsys, "good.tar", "--structure-tests", "tests.yaml")
    assert code == 1 and "CST-USER" in out and "licence: it does not exist" in out
    (desk / "profile.toml").write_text("version = 1\nprivileged = true\n")
    code, _, err = run(capsys, "good.tar", "--profile", "profile.toml")
    assert code == 1 and "line 2 of the run profile: 'privileged' is not known" in err
    (desk / "profile.toml").write_text("version = 1\nscript = 'exec /server'\n")
    assert run(capsys, "good.tar", "--profile", "profile.toml", "--companion", "db=layout")[0] == 0
    assert run(capsys, "good.tar", "--companion", "layout")[0] == 2


def test_malware_is_looked_for_with_the_rules_and_the_daemon_that_are_named(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (desk / "rules").mkdir()
    (desk / "rules/own.yar").write_text('rule own { meta: about = "our mark" condition: uint32be(0) == 0x7f454c46 }')
    code, out, _ = run(capsys, "good.tar", "--malware-rules", "rules")
    assert code == 1 and "MAL-SIG: /server holds our mark" in out
    code, out, _ = run(capsys, "good.tar", "--clamd", f"unix:{desk}/none")
    assert "MAL-SIG: not all was searched: /server could not be read (ClamdFailed)" in out
    code, _, err = run(capsys, "good.tar", "--clamd", "localhost")
    assert code == 1 and "is no address of clamd" in err
