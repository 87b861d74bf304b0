"""Policies side by side, and what another one would say of what is official."""

import pytest

from customhouse.certification.check import discover
from customhouse.certification.comparison import differences
from customhouse.certification.policy import Policy, PolicyError, shipped
from tests.rooms import Rooms, image

CHECKS = discover()
BASELINE = Policy.default().bind(CHECKS)


def changed(*changes: tuple[str, str], add: str = "") -> Policy:
    text = BASELINE.text
    for before, after in changes:
        assert before in text
        text = text.replace(before, after, 1)
    return Policy.parse((text + add).encode()).bind(CHECKS)


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_policy_is_named_as_its_file_and_fits_the_checks(name: str) -> None:
    policy = Policy.shipped(name).bind(CHECKS)
    assert policy.name == name and policy.text.startswith("# ")
    found = differences(BASELINE, policy, CHECKS)
    assert bool(found) == (name != "baseline")


def test_only_what_is_done_differs_not_how_it_is_written() -> None:
    same = changed(add="\n[checks.MAN-SIZE]\nseverity = \"medium\"\n# a remark\n")
    assert same.digest != BASELINE.digest and differences(BASELINE, same, CHECKS) == []


def test_differences_name_the_check_and_both_sides() -> None:
    other = changed(
        ("approvals = 1", "approvals = 3"), add="\n[checks.MAN-LAYERS]\naction = \"block\"\nparams = { most = 5 }\n"
    )
    (whole, *of_check) = [item.as_json() for item in differences(BASELINE, other, CHECKS)]
    assert whole == {"check": "", "what": "review.approvals", "before": 1, "after": 3}
    assert {(item["check"], item["what"], item["after"]) for item in of_check} == {
        ("MAN-LAYERS", "failure", "block"), ("MAN-LAYERS", "params.most", 5),
    }


def test_a_policy_is_loaded_by_name_or_path_and_a_wrong_one_is_told(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("policies") / "own.toml"
    file.write_text(BASELINE.text.replace('name = "baseline"', 'name = "own"'))
    assert Policy.load(str(file)).name == "own" and Policy.load("minimal").name == "minimal"
    with pytest.raises(PolicyError, match="no shipped policy .baseline, docker-certified.* and no file"):
        Policy.load("strictest")
    with pytest.raises(PolicyError, match=r"line \d+ of the policy: the days of critical"):
        Policy.parse(BASELINE.text.encode() + b"\n[grade]\ncritical = { A = 9, B = 1 }\n")
    with pytest.raises(PolicyError, match="approvals is a number of people beside"):
        Policy.parse(BASELINE.text.encode() + b"\n[waivers]\napprovals = -1\n")


def test_another_policy_is_tried_on_everything_official(rooms: Rooms) -> None:
    rooms.enrol()
    first = rooms.publish(image("1"), "1")
    rooms.clock.advance(seconds=1)
    second = rooms.publish(image("2"), "2")
    same = rooms.rehearsal.page(BASELINE.text.encode(), None, 10)
    assert [row["submission"] for row in same.certifications] == [second.id, first.id]
    assert all(row["before"] == row["after"] for row in same.certifications) and same.other_parameters == []
    strict = changed(add="\n[checks.MAN-LAYERS]\nparams = { most = 1 }\n")
    assert rooms.rehearsal.page(strict.text.encode(), None, 10).other_parameters == ["MAN-LAYERS"]
    refused = changed(
        ('not_evaluable = "review"', 'not_evaluable = "block"'), ('[checks.RUN-START]\nnot_evaluable = "note"', "")
    )
    page = rooms.rehearsal.page(refused.text.encode(), None, 1)
    assert page.next == second.id and len(page.certifications) == 1
    (row,) = rooms.rehearsal.page(refused.text.encode(), page.next, 1).certifications
    assert row["reference"].endswith(f"{first.official}:1") and row["after"]["value"] == "refused"
    assert rooms.certification.get(first.id).verdict["value"] == "certified", "nothing was changed"
