"""One hub takes from another over docker's token authentication, by the command line, as people type it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Person
from tests.hub_process import PASSWORD, HubProcess
from tests.publisher import Publisher, image


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Publisher]:
    """Somebody who publishes at a hub of his own."""
    folder = tmp_path_factory.mktemp("elsewhere")
    made = Publisher(HubProcess(folder / "data").start(), folder / "keys", "vendor", "victor")
    made.join()
    yield made
    made.hub.close()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    made = HubProcess(tmp_path_factory.mktemp("here") / "data").start()
    made.add_publisher("acme", "alice")
    made.add_user("carol", "certifier")
    yield made
    assert made.doctor() == []
    made.close()


@pytest.fixture(scope="module")
def people(hub: HubProcess, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Person]:
    made = {name: Person(tmp_path_factory.mktemp(name)) for name in ("admin", "alice", "carol")}
    for name, person in made.items():
        words = ("login", hub.url, "-u", name, "--password-stdin", "--ca-file", hub.ca)
        person(*words, stdin=PASSWORD + "\n")
    return made


def register(admin: Person, vendor: Publisher) -> None:
    assert vendor.login is not None
    done = admin(
        "source", "add", vendor.hub.url, "--publisher", "acme", "--authority", vendor.hub.ca,
        "--username", vendor.login.username, "--password-stdin", stdin=vendor.login.secret + "\n",
    )  # fmt: skip
    assert done.out == f"the hub may read from {vendor.hub.url} for acme\n"


def test_a_vendor_elsewhere_becomes_official_here(
    hub: HubProcess, vendor: Publisher, people: dict[str, Person], tmp_path: Path
) -> None:
    admin, alice, carol = people["admin"], people["alice"], people["carol"]
    built = image("from elsewhere")
    source = f"{vendor.hub.host}/{vendor.release('web', '2.0', built)}"

    refused = alice("submit", source, "--as", "acme/web:1", code=1)
    assert refused.err == (
        f"error: {vendor.hub.host} is no source of publisher acme\n"
        f"hint: An administrator registers it: customhouse source add {vendor.hub.url} --publisher acme\n"
    )
    register(admin, vendor)
    listed = alice("source", "list")
    assert vendor.hub.host in listed.out and vendor.login and vendor.login.secret not in listed.out

    alice("submit", f"{source}.9", "--as", "acme/web:1", code=1)  # no such tag
    begun = alice("submit", source, "--as", "acme/web:1", "--json").json
    assert (begun["source"], begun["state"], begun["author"]) == (source, "received", "alice")
    waiting = alice("submission", "wait", begun["id"], "--timeout", "60", code=1)
    key = vendor.directory.root_key().public.canonical_id
    assert "awaiting_enrolment" in waiting.out and f"publisher enrol acme --key-id {key}" in waiting.out
    assert f"source    {source}" in waiting.out

    assert carol("publisher", "enrol", "acme", "--key-id", key).out == f"enrolled for acme: {key}  its id\n"
    done = alice("submission", "wait", f"{hub.host}/staging/acme/web:1", "--timeout", "60", "--json").json
    assert (done["state"], done["digest"], done["source"]) == ("published", built.digest, source)
    stranger = Person(tmp_path / "stranger", {"CUSTOMHOUSE_CA_FILE": str(hub.ca)})
    verified = stranger("verify", f"{hub.host}/acme/web:1", "--json").json
    assert (verified["verdict"], verified["digest"], verified["signers"]) == (
        "certified", built.digest, ["customhouse"]
    )
    assert alice("submit", source, "--as", "acme/web:1", "--json").json["id"] == begun["id"], "no news"

    written = [file.read_bytes() for file in hub.data.rglob("*") if file.is_file()] + [hub.log.read_bytes()]
    assert not [raw for raw in written if vendor.login.secret.encode() in raw], "the login is sealed"


def test_a_source_that_is_down_at_the_last_look_fails_the_submission_and_a_retry_goes_on(
    hub: HubProcess, vendor: Publisher, people: dict[str, Person]
) -> None:
    admin, alice, carol = people["admin"], people["alice"], people["carol"]
    register(admin, vendor)
    key = vendor.directory.root_key().public.canonical_id
    carol("publisher", "enrol", "acme", "--key-id", key)
    built = image("late", Healthcheck=None)
    source = f"{vendor.hub.host}/{vendor.release('late', '1', built)}"
    row = alice("submit", source, "--as", "acme/late", "--json").json
    alice("submission", "wait", row["id"], "--timeout", "60", code=1)
    vendor.hub.stop()
    try:
        carol("submission", "approve", row["id"])
        failed = alice("submission", "wait", row["id"], "--timeout", "100", "--json", code=1).json
    finally:
        vendor.hub.start()
    assert failed["state"] == "failed"
    assert failed["reason"] == (
        f"the hub could not go on: nothing answers at {vendor.hub.host}; `customhouse submission retry {row['id']}` "
        "tries again"
    )
    alice("verify", f"{hub.host}/acme/late:1", code=1)
    alice("submission", "retry", row["id"])
    state = alice("submission", "wait", row["id"], "--timeout", "60", "--json", code=None).json["state"]
    if state == "awaiting_review":
        carol("submission", "approve", row["id"])
    assert alice("submission", "wait", row["id"], "--timeout", "60", "--json").json["state"] == "published"


def test_a_source_that_was_removed_fails_what_is_under_way(
    hub: HubProcess, vendor: Publisher, people: dict[str, Person]
) -> None:
    admin, alice, carol = people["admin"], people["alice"], people["carol"]
    register(admin, vendor)
    carol("publisher", "enrol", "acme", "--key-id", vendor.directory.root_key().public.canonical_id)
    source = f"{vendor.hub.host}/{vendor.release('gone', '1', image('gone', Healthcheck=None))}"
    row = alice("submit", source, "--as", "acme/gone", "--json").json
    alice("submission", "wait", row["id"], "--timeout", "60", code=1)
    admin("source", "remove", vendor.hub.host, "--publisher", "acme")
    carol("submission", "approve", row["id"])
    failed = alice("submission", "wait", row["id"], "--timeout", "60", "--json", code=1).json
    assert failed["reason"].startswith(f"the hub could not go on: {vendor.hub.host} is no source of publisher acme; ")
    assert failed["state"] == "failed"


def test_a_root_is_confirmed_only_if_it_is_of_the_key_that_was_named(
    hub: HubProcess, people: dict[str, Person], tmp_path: Path
) -> None:
    carol = people["carol"]
    hub.add_publisher("newco", "nora")
    nora = Publisher(hub, tmp_path / "keys", "newco", "nora")
    reference = nora.release("web", "1", image("new"))
    hub.wait_for(reference, "awaiting_enrolment")
    key, other = nora.directory.root_key().public.canonical_id, "0" * 64
    words = ("publisher", "enrol", "newco", "--from-staging", "staging/newco/web")
    refused = carol(*words, "--key-id", other, code=1)
    assert f"the root of staging/newco/web is of key {key}, not {other}" in refused.err
    assert "Nothing was enrolled." in refused.err
    assert "64 hexadecimal digits" in carol(*words, "--key-id", key[:12], code=1).err
    assert key in carol(*words, "--key-id", key).out
    hub.wait_for(reference, "published")
