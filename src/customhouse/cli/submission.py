"""`customhouse submission`: follow a submission to its end, read its findings, decide about it.

1. A submission is named by its id, or by its reference, which means the newest of that tag.
2. `wait` ends at the first state that is final or needs a person; it exits 0 for published only, and 3 when the time
   was over before.
"""

import time
from typing import Any

import click

from customhouse.cli.hub_api import JSON, Connections, HubApi, connected
from customhouse.cli.output import Output, reporting
from customhouse.cli.program import DONE, REFUSED, UNDETERMINED
from customhouse.errors import NotFound
from customhouse.oci.reference import Reference

RESTING = frozenset({"awaiting_enrolment", "awaiting_review"})
FINAL = frozenset({"published", "rejected", "superseded", "failed", "withdrawn"})
STATES = ("received", "verifying", "awaiting_enrolment", "examining", "awaiting_review", "publishing", *sorted(FINAL))
LONG_POLL = 20
_SEVERITIES = ("block", "high", "medium", "low", "info")
_NEXT = {
    "awaiting_enrolment": "A certifier confirms: customhouse publisher enrol {publisher} --from-staging {repository}",
    "awaiting_review": "A certifier decides: customhouse submission approve {id}, or reject {id} --reason WHY",
    "published": "Consumers: DOCKER_CONTENT_TRUST=1 docker pull {official}, and customhouse verify {official}",
    "superseded": "What came after it: customhouse submission show {reference}",
    "rejected": "Correct what is named above, then push and sign again.",
    "failed": "When the cause is gone: customhouse submission retry {id}",
}
_NEXT_REMOTE = _NEXT | {
    "awaiting_enrolment": "A certifier confirms the key with the command above, after asking the publisher for its id.",
    "rejected": "Correct what is named above, sign it there, then: customhouse submit {source} --as {name}{at}",
}


@click.group()
def submission() -> None:
    """Follow, review and withdraw submissions."""


@submission.command("list")
@click.option("--repository", help="Only of this repository, e.g. staging/acme/web.")
@click.option("--state", type=click.Choice(STATES), help="Only in this state.")
@click.option("--publisher", help="Only of this publisher.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many at most.")
@click.option("--after", help="Continue an earlier list: its `next`.")
@reporting
@connected
def list_submissions(
    out: Output, connections: Connections, repository: str | None, state: str | None, publisher: str | None,
    limit: int, after: str | None,
) -> None:
    """List submissions, newest first."""
    found = connections.hub().get(
        "/submissions", repository=repository, state=state, publisher=publisher, limit=limit, after=after
    )
    columns = ("id", "state", "verdict", "grade", "reference", "created")
    out.result(found, out.table(found.get("submissions", []), columns))


@submission.command()
@click.argument("name", metavar="ID|REFERENCE")
@reporting
@connected
def show(out: Output, connections: Connections, name: str) -> None:
    """Show a submission with its findings."""
    _, row = _find(connections, name)
    out.result(row, submission_lines(row, fingerprints=True))


@submission.command()
@click.argument("name", metavar="ID|REFERENCE")
@click.option("--timeout", type=click.IntRange(0), default=600, show_default=True, help="Seconds to wait at most.")
@reporting
@connected
def wait(out: Output, connections: Connections, name: str, timeout: int) -> int:
    """Follow a submission until it is final or needs a person."""
    deadline = time.monotonic() + timeout
    hub, row = _find_in_time(out, connections, name, deadline)
    seen = 0
    while True:
        left = deadline - time.monotonic()
        news = hub.get(f"/submissions/{row['id']}/events", after=seen, wait=max(0, min(LONG_POLL, int(left))))
        for event in news.get("events", []):
            seen = max(seen, int(event["seq"]))
            out.note(f"{str(event['at'])[11:19]}  {event['step']}: {event['message']}")
        state = str(news.get("state"))
        if (state in RESTING or state in FINAL) and not news.get("events"):
            break
        if left <= 0:
            break
        if not news.get("events"):
            time.sleep(min(0.2, left))
    row = hub.get(f"/submissions/{row['id']}")
    out.result(row, submission_lines(row))
    if row["state"] == "published":
        return DONE
    if row["state"] in RESTING or row["state"] in FINAL:
        return REFUSED
    out.note(f"after {timeout} s it is still {row['state']}; wait again")
    return UNDETERMINED


@submission.command()
@click.argument("name", metavar="ID|REFERENCE")
@click.option("--reason", default="", help="Why; kept in the record.")
@reporting
@connected
def approve(out: Output, connections: Connections, name: str, reason: str) -> None:
    """Agree to its publication; an author never approves his own."""
    _decide(out, connections, name, "approve", reason)


@submission.command()
@click.argument("name", metavar="ID|REFERENCE")
@click.option("--reason", required=True, help="Why; the publisher reads it.")
@reporting
@connected
def reject(out: Output, connections: Connections, name: str, reason: str) -> None:
    """Refuse its publication."""
    _decide(out, connections, name, "reject", reason)


@submission.command()
@click.argument("name", metavar="ID|REFERENCE")
@click.option("--reason", required=True, help="Why; consumers who pull the digest read it.")
@reporting
@connected
def withdraw(out: Output, connections: Connections, name: str, reason: str) -> None:
    """Take an official image back, for clients with a cache too."""
    _decide(out, connections, name, "withdraw", reason)


@submission.command()
@click.argument("name", metavar="ID|REFERENCE")
@reporting
@connected
def retry(out: Output, connections: Connections, name: str) -> None:
    """Examine a failed or rejected submission again."""
    _decide(out, connections, name, "retry", "")


def _find(connections: Connections, name: str) -> tuple[HubApi, JSON]:
    if "/" in name:
        reference = Reference.parse(name)
        hub = connections.hub(reference.registry)
        return hub, hub.get("/submissions/latest", reference=str(reference))
    hub = connections.hub()
    return hub, hub.get(f"/submissions/{name}")


def _find_in_time(out: Output, connections: Connections, name: str, deadline: float) -> tuple[HubApi, JSON]:
    """The push may be on its way: a reference that is not there yet is asked for again."""
    told = False
    while True:
        try:
            return _find(connections, name)
        except NotFound as error:
            if "/" not in name or time.monotonic() + 1 > deadline:
                raise
            if not told:
                out.note(f"{error.message} yet; waiting. {error.hint}")
                told = True
            time.sleep(1)


def _decide(out: Output, connections: Connections, name: str, verb: str, reason: str) -> None:
    hub, row = _find(connections, name)
    row = hub.post(f"/submissions/{row['id']}/{verb}", {"reason": reason})
    out.result(row, submission_lines(row))


def later(row: dict[str, Any]) -> str:
    """What is left of the grade: its score, and the next day on which it drops."""
    said = f" ({row['score']} of 100)" if row.get("score") is not None else ""
    step = next((step for step in row.get("grade_steps") or [] if step["grade"] > row["grade"]), None)
    return said + (f", {step['grade']} from {step['on'][:10]}: {step['because']}" if step else "")


def submission_lines(row: dict[str, Any], *, fingerprints: bool = False) -> list[str]:
    """A submission for people: what it is, how it stands, what was found, what to do next."""
    graded = f", grade {row['grade']}{later(row)}" if row.get("grade") else ""
    lines = [f"{row['reference']}  {row['digest']}", f"  id        {row['id']}", f"  state     {row['state']}{graded}"]
    if row.get("verdict"):
        lines.append(f"  verdict   {row['verdict']}")
    if row.get("reason"):
        lines.append(f"  reason    {row['reason']}")
    if row.get("source"):
        at = f", signed at {row['trust_server']}" if row.get("trust_server") else ""
        lines.append(f"  source    {row['source']}{at}")
    if row["state"] == "published":
        lines.append(f"  official  {row['official_reference']}")
    if row["state"] == "awaiting_review":
        lines.append(f"  look at   {row['quarantine']}")
    if row.get("required_approvals"):
        lines.append(f"  approvals {len(row.get('approvals') or [])} of {row['required_approvals']}")
    lines += finding_lines(row.get("findings") or [], fingerprints=fingerprints)
    advice = (_NEXT_REMOTE if row.get("source") else _NEXT).get(row["state"])
    if advice:
        repository = Reference.parse(row["reference"]).repository
        name = repository.removeprefix("staging/") + f":{Reference.parse(row['reference']).tag}"
        at = f" --trust-server {row['trust_server']}" if row.get("trust_server") else ""
        names = {"repository": repository, "name": name, "at": at, "official": row.get("official_reference"), **row}
        lines.append("  next      " + advice.format(**names))
    return lines


def finding_lines(findings: list[dict[str, Any]], *, fingerprints: bool = False) -> list[str]:
    """The findings that are no plain pass: failures first, the worst first, and once for each check what to do.

    `fingerprints`: with the name that `waiver add --fingerprint` takes.
    """
    shown = [item for item in findings if item["outcome"] not in ("pass", "not_applicable")]
    shown.sort(key=lambda item: (item["outcome"] != "fail", _SEVERITIES.index(item["severity"])))
    lines, told = [], set()
    for item in shown:
        waived = f" (waived: {item['waived']})" if item.get("waived") else ""
        lines.append(f"  {item['outcome']:<13} {item['severity']:<6} {item['check']}: {item['message']}{waived}")
        if fingerprints and not waived:
            lines.append(f"{'':<23}fingerprint {item['fingerprint']}")
        if item.get("remedy") and not waived and item["check"] not in told:
            told.add(item["check"])
            lines.append(f"{'':<23}-> {item['remedy']}")
    passed = sum(item["outcome"] == "pass" for item in findings)
    return lines + ([f"  {passed} checks passed"] if findings else [])
