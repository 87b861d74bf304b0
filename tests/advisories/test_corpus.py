"""Real dumps, where the machine has them: CUSTOMHOUSE_TEST_CORPUS names a folder with osv/<Ecosystem>/all.zip and
kev/known_exploited_vulnerabilities.json.gz as osv.dev and CISA publish them. Without it this file holds no test: the
small cases beside it cover the same rules."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from customhouse.accounts.people import HUB
from customhouse.advisories.feed import Record, Refused, read_feed
from customhouse.advisories.matching import match
from customhouse.advisories.memory import MemoryAdvisories
from customhouse.advisories.service import AdvisoriesService
from customhouse.advisories.store import AdvisoriesStore
from customhouse.audit import Audit
from customhouse.db import Database
from tests.advisories.records import deb, lib
from tests.conftest import Clock

CORPUS = Path(os.environ.get("CUSTOMHOUSE_TEST_CORPUS", "/nonexistent"))
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)

if CORPUS.is_dir():

    def test_every_record_of_every_dump_is_usable() -> None:
        records, refused, flawed = 0, [], []
        for path in sorted((CORPUS / "osv").glob("*/all.zip")):
            for item in read_feed(path):
                records += isinstance(item, Record)
                if isinstance(item, Refused):
                    refused.append(item)
                elif isinstance(item, Record) and item.advisory.flaws:
                    flawed.append(item.advisory.id)
        assert records == 25_932 and not refused
        assert len(flawed) == 1, "one CVSS 3.1 vector is labelled V4"

    def test_all_of_pypi_is_imported_and_known_versions_match(database: Database, clock: Clock) -> None:
        service = AdvisoriesService(AdvisoriesStore(database), Audit(database), clock)
        report = service.import_feed(CORPUS / "osv/PyPI/all.zip", HUB)
        assert (report.records, report.change.new, report.withdrawn, report.refused) == (7080, 7080, 269, 0)
        assert report.renewed == ("PyPI",)
        service.import_feed(CORPUS / "kev/known_exploited_vulnerabilities.json.gz", HUB)
        packages = [lib("PyPI", "jinja2", "2.10"), lib("PyPI", "PyYAML", "5.1"), lib("PyPI", "requests", "2.34.0")]
        found = service.match(packages)
        assert {m.id for m in found.matches if m.package.name == "PyYAML"} >= {"CVE-2019-20477", "CVE-2020-14343"}
        assert "CVE-2019-10906" in {m.id for m in found.matches if m.package.name == "jinja2"}
        ids = [(m.package.name, name) for m in found.matches for name in (m.id, *m.aliases)]
        assert len(ids) == len(set(ids)), "no flaw is counted twice"
        assert service.import_feed(CORPUS / "osv/PyPI/all.zip", HUB).change.unchanged == 7080

    def test_distribution_samples_match_by_source() -> None:
        dumps = [CORPUS / "osv" / name / "all.zip" for name in ("Debian", "Alpine", "Ubuntu", "npm")]
        held = MemoryAdvisories.load(dumps, NOW)
        curl = deb("libcurl4", "7.88.1-10+deb12u5", "curl")
        xkb = deb("xkbcomp", "1.4.0-r0", ecosystem="Alpine:v3.20")
        report = match([curl, xkb, lib("npm", "tinymce", "4.9.6")], held, NOW, timedelta(days=36500))
        found = {(m.package.name, m.id) for m in report.matches}
        assert ("xkbcomp", "CVE-2018-15863") in found
        assert ("tinymce", "CVE-2020-17480") in found
        assert ("libcurl4", "CVE-2023-28322") not in found, "fixed in 7.88.1-10 already"
