"""`customhouse policy`: what blocks, what needs people, and what another policy would change."""

from typing import TYPE_CHECKING, Any

import click

from customhouse.cli.hub_api import Connections, connected
from customhouse.cli.output import Output, reporting
from customhouse.cli.program import DONE, REFUSED

if TYPE_CHECKING:
    from customhouse.certification.policy import Policy

_PAGE = 50


@click.group()
def policy() -> None:
    """Show, compare and try policies.

    A policy is named by the name of one that is shipped (`policy list`), or by the path of a file.
    """


@policy.command("list")
@reporting
def list_policies(out: Output) -> None:
    """List the policies that are shipped."""
    from customhouse.certification.policy import DEFAULT, Policy, shipped

    rows = [
        {"name": name + (" (where none is named)" if name == DEFAULT else ""), "for": _opening(Policy.shipped(name))}
        for name in shipped()
    ]
    out.result({"policies": rows}, out.table(rows, ("name", "for")))


@policy.command()
@click.argument("name", required=False)
@click.option("--raw", is_flag=True, help="Print the document itself, to begin one's own from.")
@reporting
@connected
def show(out: Output, connections: Connections, name: str | None, raw: bool) -> None:
    """Show what a policy does with each check; without a name, the hub's.

    A file with a mistake is refused, with the line of the mistake.
    """
    from customhouse.certification.check import discover
    from customhouse.certification.comparison import effect
    from customhouse.certification.policy import Policy

    chosen = Policy.load(name) if name else Policy.parse(connections.hub().get("/policy")["document"].encode())
    checks = discover()
    chosen = chosen.bind(checks)
    document = {
        "name": chosen.name, "digest": str(chosen.digest), "document": chosen.text,
        "checks": {check.id: effect(chosen, check) for check in checks},
    }
    rows = [
        {
            "check": check.id, "severity": said["severity"], "failure": said["failure"],
            "no answer": said["not_evaluable"],
            "with": " ".join(f"{key[7:]}={_text(value)}" for key, value in said.items() if key.startswith("params.")),
        }
        for check in checks
        for said in [effect(chosen, check)]
    ]
    heading = [f"{chosen.name}  {chosen.digest}", ""]
    table = out.table(rows, ("check", "severity", "failure", "no answer", "with"))
    out.result(document, chosen.text.rstrip("\n") if raw else heading + table)


@policy.command()
@click.argument("before")
@click.argument("after")
@reporting
def diff(out: Output, before: str, after: str) -> int:
    """Show where two policies differ; exits 1 if they do."""
    from customhouse.certification.check import discover
    from customhouse.certification.comparison import differences
    from customhouse.certification.policy import Policy

    checks = discover()
    found = differences(Policy.load(before).bind(checks), Policy.load(after).bind(checks), checks)
    rows = [
        {"check": each.check or None, "what": each.what, before: _text(each.before), after: _text(each.after)}
        for each in found
    ]
    document = {"before": before, "after": after, "differences": [each.as_json() for each in found]}
    out.result(document, out.table(rows, ("check", "what", before, after)) if rows else "they do the same")
    return REFUSED if found else DONE


@policy.command()
@click.argument("name")
@click.option("--all", "everything", is_flag=True, help="Show also what stays as it is.")
@reporting
@connected
def test(out: Output, connections: Connections, name: str, everything: bool) -> int:
    """Show what a policy would change for everything certified so far; exits 1 if it would.

    The stored findings are judged again; nothing is examined, nothing is changed.
    """
    from customhouse.certification.policy import Policy

    document, hub = Policy.load(name).text, connections.hub()
    rows: list[Any] = []
    after: str | None = ""
    while after is not None:
        page = hub.post("/policy/test", {"document": document, "after": after, "limit": _PAGE})
        rows, after = rows + page["certifications"], page["next"]
    changed = [row for row in rows if _differs(row)]
    lines = out.table([_row(row) for row in (rows if everything else changed)], ("reference", "now", "then", "why"))
    if page["other_parameters"]:
        out.note(f"would run with other parameters, and were not run: {', '.join(page['other_parameters'])}")
    said = f"{len(changed)} of {len(rows)} certifications would change"
    answer = {"certifications": rows, "changed": len(changed), "other_parameters": page["other_parameters"]}
    out.result(answer, [*(lines if len(lines) > 1 else []), said])
    return REFUSED if changed else DONE


def _differs(row: dict[str, Any]) -> bool:
    before, after = row["before"], row["after"]
    return (before["value"], before["grade"]) != (after["value"], after["grade"])


def _row(row: dict[str, Any]) -> dict[str, Any]:
    now, then = (f"{each['value']}, {each['grade']}".replace("_", " ") for each in (row["before"], row["after"]))
    return {"reference": row["reference"], "now": now, "then": then, "why": row["after"]["reason"]}


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name}={each}" for name, each in value.items())
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _opening(chosen: "Policy") -> str:
    """The first sentence of a policy's own comment."""
    comment = []
    for line in chosen.text.splitlines():
        if not line.startswith("#"):
            break
        comment.append(line.lstrip("# "))
    return " ".join(comment).partition(". ")[0].rstrip(".")


