"""Images with something wrong inside: each refused or held for a person, with the check and what to do."""

import json
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from customhouse.testing.images import minimal_server_image, tar_layer, write_oci_layout
from tests.advisories.records import HIGH, dump, fixed_in, kev, record, written
from tests.journeys.contexts import context, tar_of
from tests.journeys.people import Town

pytestmark = pytest.mark.needs("dockerd", "docker", "busybox")
SITE = "usr/lib/python3.11/site-packages"


def distribution(name: str, version: str) -> dict[str, str]:
    """An installed Python package."""
    return {f"{SITE}/{name}-{version}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"}


def test_root_is_refused_and_a_waiver_with_a_retry_lets_it_through(village: Town, tmp_path: Path) -> None:
    rita = village.publisher("rooted")
    staging, official = f"{rita.staging('web')}:1", f"{rita.official('web')}:1"
    rita.build(staging, context(tmp_path / "web", user=""))
    digest = rita.push(staging)
    row = rita.outcome(staging, "rejected")
    assert "CFG-USER" in row["reason"]
    rita.wait(staging).told("CFG-USER", "Add a user and set it by number: USER 10001.", "push and sign again")
    rita.docker("pull", official).refused("not found")

    shown = rita.customhouse("submission", "show", staging).told("fingerprint").said
    named = shown.split("runs as root fingerprint ")[1].split()[0]
    waiver = (
        "waiver", "add", "staging/rooted/web", "--fingerprint", named, "--reason", "drops rights", "--expires", "30d",
    )  # fmt: skip
    rita.customhouse(*waiver).refused("certifier")
    wilma = village.certifier("wilma")
    waived = wilma.customhouse_does(*waiver)["id"]
    rita.customhouse_does("submission", "retry", row["id"])
    row = rita.outcome(staging, "published")
    assert [item["waived"] for item in row["findings"] if item["check"] == "CFG-USER"] == [waived]
    rita.docker_does("pull", official, trust=True).told(digest)


def test_a_secret_in_the_environment_is_refused_and_is_not_shown_again(village: Town, tmp_path: Path) -> None:
    sepp = village.publisher("secretive")
    staging = f"{sepp.staging('web')}:1"
    secret = "q7Zr0vXw" + "Lk3TbN8s"
    sepp.build(staging, context(tmp_path / "web", more=[f"ENV DATABASE_PASSWORD={secret}"]))
    sepp.push(staging)
    row = sepp.outcome(staging, "rejected")
    assert "CFG-ENVSECRET" in row["reason"]
    assert secret not in json.dumps(row)
    sepp.wait(staging).told("DATABASE_PASSWORD", "at run time")


def test_a_layer_that_writes_outside_of_the_image_is_refused_and_never_started(town: Town, tmp_path: Path) -> None:
    hugo = town.publisher("hostile")
    staging = f"{hugo.staging('web')}:1"
    link = tarfile.TarInfo("escape")
    link.type, link.linkname = tarfile.SYMTYPE, "../../../../etc"
    hostile = tar_of({"escape": link, "../../etc/cron.d/evil": b"* * * * * root true\n", "escape/passwd": b"x\n"})
    layout = write_oci_layout(minimal_server_image(more=[tar_layer(hostile)]), tmp_path / "layout")
    hugo.customhouse_does("image", "push", f"oci-layout:{layout}", staging, "--sign")
    row = hugo.outcome(staging, "rejected")
    assert "TAR-SAFE" in row["reason"]
    runs = [item["message"] for item in row["findings"] if item["check"] == "RUN-START"]
    assert runs == ["not started, because TAR-SAFE failed"]
    hugo.wait(staging).told("etc/cron.d/evil")


def test_a_vulnerable_package_is_refused_until_it_is_updated(village: Town, tmp_path: Path) -> None:
    today = datetime.now(UTC)
    old = (today - timedelta(days=90)).isoformat()
    records = [
        record("PYSEC-1", fixed_in("PyPI", "leftpadder", "1.2.0"), modified=today.isoformat(), published=old,
               aliases=["CVE-2026-1001"], severity=HIGH),
        record("PYSEC-2", fixed_in("PyPI", "rightpadder", "9.0"), modified=today.isoformat(), published=old,
               aliases=["CVE-2026-1002"]),
    ]  # fmt: skip
    archive = written(tmp_path, "PyPI-all.zip", dump(records))
    exploited = written(tmp_path, "kev.json", kev("CVE-2026-1002", released=today.isoformat()))
    village.admin.customhouse_does("advisories", "import", archive, exploited)

    vera = village.publisher("vulnerable")
    staging = f"{vera.staging('web')}:1"
    vera.build(staging, context(tmp_path / "old", files=distribution("leftpadder", "1.1.9")))
    vera.push(staging)
    row = vera.outcome(staging, "rejected")
    assert "VUL-FIXABLE" in row["reason"]
    vera.wait(staging).told("VUL-FIXABLE", "CVE-2026-1001", "leftpadder 1.1.9", "1.2.0", "push and sign again")

    vera.build(staging, context(tmp_path / "new", files=distribution("leftpadder", "1.2.0")))
    vera.push(staging)
    vera.outcome(staging, "published")

    attacked = f"{vera.staging('attacked')}:1"
    vera.build(attacked, context(tmp_path / "attacked", files=distribution("rightpadder", "1.0")))
    vera.push(attacked)
    assert "VUL-KEV" in vera.outcome(attacked, "rejected")["reason"]
    vera.wait(attacked).told("CVE-2026-1002 in rightpadder 1.0 is being exploited; fixed in 9.0")


def test_packages_without_advisories_wait_for_a_person_and_go_on_once_there_are_some(
    village: Town, tmp_path: Path
) -> None:
    dieter = village.publisher("dieter")
    staging = f"{dieter.staging('web')}:1"
    stanza = "Package: zlib1g\nStatus: install ok installed\nArchitecture: amd64\nSource: zlib\nVersion: 1:1.3-1\n\n"
    release = 'ID=debian\nVERSION_ID="13"\nPRETTY_NAME="Debian GNU/Linux 13 (trixie)"\n'
    owned = "/.\n/bin\n/bin/busybox\n/bin/serve\n"  # a database that says so, as dpkg's does
    dpkg = {
        "var/lib/dpkg/status": stanza, "var/lib/dpkg/info/zlib1g.list": owned, "etc/os-release": release,
    }  # fmt: skip
    dieter.build(staging, context(tmp_path / "web", files=dpkg))
    dieter.push(staging)
    row = dieter.outcome(staging, "awaiting_review")
    unknown = {item["check"] for item in row["findings"] if item["outcome"] == "not_evaluable"}
    assert {"VUL-FIXABLE", "VUL-KEV"} <= unknown
    dieter.wait(staging).told("advisories are not complete: Debian:13 is missing", "import")

    today = datetime.now(UTC).isoformat()
    sound = [record("DEBIAN-1", fixed_in("Debian:13", "zlib", "1:1.2-9"), modified=today)]
    village.admin.customhouse_does(
        "advisories", "import", written(tmp_path, "Debian-all.zip", dump(sound)),
        written(tmp_path, "kev.json", kev("CVE-2026-1002", released=today)),
    )  # fmt: skip
    dieter.customhouse_does("submission", "retry", row["id"])
    dieter.outcome(staging, "published")
