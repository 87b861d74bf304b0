"""MAL-PICKLE: no pickle or model file that runs code when it is loaded."""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, Subject
from customhouse.certification.checks._sightings import Fact, failures
from customhouse.certification.findings import JSON, Severity
from customhouse.certification.malware.pickles import PICKLES


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    accepted = params["accepted_imports"]
    left_out = set(accepted if isinstance(accepted, list) else ())
    yield from failures(subject, (PICKLES.name,), lambda fact: fact.get("rule") not in left_out, _described)


def _described(fact: Fact) -> str:
    if fact["rule"] == "unknown":
        return "bytes that are no pickle all through: not all of it could be looked at"
    inner = f" (in {fact['member']})" if "member" in fact else ""
    does = "runs code or reaches the system" if fact["severity"] == "high" else "is not known to be harmless"
    return f"a pickle that loads {fact['rule']}{inner}, which {does}"


CHECK = Check(
    id="MAL-PICKLE",
    title="No model or pickle that runs code when it is loaded",
    why="Loading a pickle runs whatever it names; a model from elsewhere is a program from elsewhere.",
    remedy="Ship weights as safetensors, ONNX or plain arrays, or name in the policy the imports that you know.",
    severity=Severity.MEDIUM,
    evaluate=evaluate,
    readers=(PICKLES,),
    params={"accepted_imports": []},
    sources=("picklescan",),
    not_evaluable="When a model file is too large or too broken to be looked into.",
)
