"""Who may not: each is refused by docker itself, with a sentence that says who may."""

import json
import time

import pytest

from tests.hub_process import PASSWORD
from tests.journeys import wire
from tests.journeys.contexts import context
from tests.journeys.people import Done, Person, Town

pytestmark = pytest.mark.needs("dockerd", "docker", "busybox")


@pytest.fixture(scope="module")
def owner(village: Town, tmp_path_factory: pytest.TempPathFactory) -> Person:
    """A publisher with web:1 in staging and in official."""
    owner = village.publisher("owner")
    owner.build(f"{owner.staging('web')}:1", context(tmp_path_factory.mktemp("rights") / "web", page="owned"))
    owner.push(f"{owner.staging('web')}:1")
    owner.outcome(f"{owner.staging('web')}:1", "published")
    return owner


def pushes(person: Person, source: str, target: str) -> Done:
    person.docker_does("tag", source, target)
    return person.docker("push", target)


def test_nobody_but_its_members_pushes_to_a_publishers_staging(village: Town, owner: Person) -> None:
    mine = f"{owner.staging('web')}:1"
    rival, carl, cert = village.publisher("rival"), village.consumer("carl"), village.certifier("cert")
    for person in (rival, carl, cert):
        refused = pushes(person, mine, f"{owner.staging('web')}:evil")
        refused.refused(f"{person.name} may not push in staging/owner/web", "as a member, or with a token")
        person.docker("pull", mine).refused(f"{person.name} may not pull in staging/owner/web")
        person.docker("trust", "sign", f"{owner.staging('web')}:evil").refused()
    pushes(village.anonymous("thief"), mine, f"{owner.staging('web')}:evil").refused(
        "nobody is signed in, so you may not push in staging/owner/web"
    )
    rival.customhouse("submission", "show", mine).refused("there is no submission")
    assert cert.customhouse("submission", "show", mine).code == 0


def test_nobody_pushes_to_official_or_quarantine(village: Town, owner: Person) -> None:
    mine = f"{owner.staging('web')}:1"
    pushes(owner, mine, f"{owner.official('web')}:2").refused("push to staging/owner/web and it is certified")
    pushes(village.admin, mine, f"{owner.official('web')}:2").refused("push to staging/owner/web and it is certified")
    pushes(owner, mine, f"{village.hub.host}/quarantine/mine:1").refused("nobody pushes to quarantine")
    pushes(owner, mine, f"{village.hub.host}/web:1").refused("push to staging/")


def test_a_blob_of_another_namespace_can_neither_be_read_nor_mounted(village: Town, owner: Person) -> None:
    moe = village.publisher("mounter")
    digest = wire.manifest(owner, "staging/owner/web", "1").json()["layers"][0]["digest"]
    scopes = ("repository:staging/mounter/web:pull,push", "repository:staging/owner/web:pull")
    answer = wire.request(
        moe, "POST", f"/v2/staging/mounter/web/blobs/uploads/?mount={digest}&from=staging/owner/web", *scopes
    )
    assert answer.status == 202
    assert wire.request(moe, "HEAD", f"/v2/staging/mounter/web/blobs/{digest}", *scopes).status == 404
    assert wire.request(moe, "GET", f"/v2/staging/owner/web/blobs/{digest}", *scopes).status == 401
    # What is official is everybody's: that may be mounted.
    scopes = ("repository:staging/mounter/web:pull,push", "repository:owner/web:pull")
    answer = wire.request(
        moe, "POST", f"/v2/staging/mounter/web/blobs/uploads/?mount={digest}&from=owner/web", *scopes
    )
    assert answer.status == 201


def test_a_machine_has_the_rights_of_its_token_until_it_ends(village: Town, owner: Person) -> None:
    mine = f"{owner.staging('web')}:1"
    made = {}
    for name, scope in (("reader", "pull"), ("writer", "push")):
        made[name] = owner.customhouse_does(
            "token", "create", name, "--publisher", "owner", "--scope", scope, "--expires", "90d"
        )
    machines = {
        name: Person(token["username"], village.hub, village.homes / name, owner.engine, password=token["secret"])
        for name, token in made.items()
    }
    for machine in machines.values():
        machine.docker_login()
        machine.docker_does("pull", mine)
    pushes(machines["reader"], mine, f"{owner.staging('web')}:by-reader").refused(
        "owner-reader may not push in staging/owner/web", "with a token of it whose scope is push"
    )
    pushes(machines["writer"], mine, f"{owner.staging('web')}:by-writer").told("digest: sha256:")
    elsewhere = f"{village.hub.host}/staging/rival/web:1"
    pushes(machines["writer"], mine, elsewhere).refused("owner-writer may not push in staging/rival/web")

    owner.customhouse_does("token", "revoke", "owner-writer")
    pushes(machines["writer"], mine, f"{owner.staging('web')}:late").refused("log in again", "docker login")
    # What a machine signs has its owner as author.
    signing = village.publisher("robots")
    token = signing.customhouse_does("token", "create", "ci", "--publisher", "robots", "--scope", "push")
    robot = Person("robots-ci", village.hub, signing.home, owner.engine, password=token["secret"], publisher="robots")
    robot.docker_login()
    robot.docker_does("tag", mine, f"{robot.staging('web')}:1")
    robot.push(f"{robot.staging('web')}:1")
    assert signing.outcome(f"{robot.staging('web')}:1", "published")["author"] == "robots-dev"


def test_a_token_that_is_over_lets_nobody_in(village: Town) -> None:
    machine = village.brief
    time.sleep(max(0.0, village.brief_ends - time.monotonic()))
    login = ("login", "-u", machine.name, "--password-stdin", machine.hub.host)
    machine.docker(*login, stdin=machine.password).refused("the access token brief-reader expired on", "Make a new one")


def test_sessions_are_refresh_tokens_that_end_with_logout_and_with_the_user(village: Town, owner: Person) -> None:
    dave = village.person("dave", "publisher", "owner")
    village.admin.customhouse_does("publisher", "member", "add", "owner", "dave")
    mine = f"{owner.staging('web')}:1"
    config = json.loads((dave.home / ".docker/config.json").read_text())["auths"][village.hub.host]
    assert config["identitytoken"]
    assert PASSWORD not in json.dumps(config)
    dave.docker_does("pull", mine)
    dave.docker_does("logout", village.hub.host)
    dave.docker("pull", mine).refused("nobody is signed in, so you may not pull in staging/owner/web")
    wrong = dave.docker("login", "-u", "dave", "--password-stdin", village.hub.host, stdin="not it")
    wrong.refused("wrong user name or password")

    dave.docker_login()
    dave.docker_does("pull", mine)
    village.admin.customhouse_does("user", "disable", "dave")
    dave.docker("pull", mine).refused("log in again", "docker login")
    login = ("login", "-u", "dave", "--password-stdin", village.hub.host)
    dave.docker(*login, stdin=PASSWORD).refused("the account dave is disabled. Ask an administrator")
    dave.customhouse("submission", "list").refused("is unknown, over or revoked", "customhouse login")
