"""PKG-OS: the distribution inside the image still gets fixes.

1. No distribution in the image (scratch, one static binary): not applicable.
2. A distribution or release that the table of dates does not know is not evaluable: that is our lack of knowledge and
   no fault of the image, so a person decides. So is a development release, which has no dates.
3. Past the last day is a failure that blocks; fewer than `warn_days` left is one of medium severity.
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta

from customhouse.catalogue.eol import SupportTable
from customhouse.certification.check import Check, Failure, NotApplicable, NotEvaluable, Subject
from customhouse.certification.findings import JSON, Severity


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    distro = subject.catalogue.distro
    if distro is None:
        if not subject.image.complete:
            raise NotEvaluable("a layer could not be read to its end, so the distribution is not known")
        if any(package.ecosystem in ("dpkg", "apk") for package in subject.catalogue.packages):
            raise NotEvaluable("there is a package database, but nothing says which distribution it is")
        raise NotApplicable("there is no distribution in the image")
    table = SupportTable.shipped()
    if distro.id in table.rolling:
        return
    if not table.knows(distro):
        raise NotEvaluable(f"no support dates are known for {distro} (os-release ID {distro.id!r})")
    release = table.release(distro)
    if release is None:
        number = distro.version_id or "a development release"
        raise NotEvaluable(f"no support dates are known for {distro.id} {number} (dates as of {table.as_of})")
    last = release.last_day(long_term=bool(params["long_term_support"]))
    left = last - subject.now.date()
    evidence: dict[str, JSON] = {
        "key": distro.id,
        "release": distro.version_id,
        "last_day_of_support": last.isoformat(),
        "dates_as_of": table.as_of.isoformat(),
        "path": distro.path,
    }
    if left < timedelta():
        yield Failure(f"{distro} has had no fixes since {last}", evidence, Severity.BLOCK)
    elif left < timedelta(days=_whole(params["warn_days"])):
        yield Failure(f"{distro} gets fixes for {left.days} more days only, until {last}", evidence, Severity.MEDIUM)


def _whole(value: JSON) -> int:
    return value if isinstance(value, int) else 0


CHECK = Check(
    id="PKG-OS",
    title="The distribution is known and supported",
    why="Flaws found after the end of support are never fixed in the distribution, and its advisory feed falls silent, "
    "so that later scans look clean.",
    remedy="Rebuild on a release that is supported: change the FROM line to it and pull the newest base image.",
    severity=Severity.BLOCK,
    evaluate=evaluate,
    params={"warn_days": 90, "long_term_support": True},
    sources=("Docker Scout", "Trivy", "Grype"),
    not_applicable="there is no distribution in the image",
    not_evaluable="the distribution or its release is not in the table of dates, or a layer could not be read",
)
