"""Who asks the trust server with what: docker's and notary's credentials, good, wrong, too small and gone."""

import base64
import json
import shutil
import time
from dataclasses import replace

import pytest

from tests.hub_process import PASSWORD
from tests.journeys import wire
from tests.journeys.contexts import context
from tests.journeys.people import Person, Town

pytestmark = pytest.mark.needs("dockerd", "docker", "busybox", "notary")
REFUSED = "you are not authorized to perform this operation: server returned 401."


@pytest.fixture(scope="module")
def keeper(village: Town, tmp_path_factory: pytest.TempPathFactory) -> Person:
    """A publisher with web:1 in staging and in official."""
    keeper = village.publisher("keeper")
    keeper.build(f"{keeper.staging('web')}:1", context(tmp_path_factory.mktemp("auth") / "web", page="kept"))
    keeper.push(f"{keeper.staging('web')}:1")
    keeper.outcome(f"{keeper.staging('web')}:1", "published")
    return keeper


def with_credentials(person: Person, entry: dict[str, str]) -> Person:
    """docker's configuration holds this for the hub."""
    folder = person.home / ".docker"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"auths": {person.hub.host: entry}}))
    return person


@pytest.mark.checklist("6.anonymous")
def test_nobody_in_particular_pulls_what_is_official_and_nothing_else(village: Town, keeper: Person) -> None:
    nemo = village.anonymous("nemo")
    assert not (nemo.home / ".docker/config.json").exists()
    nemo.docker_does("pull", f"{keeper.official('web')}:1", trust=True).told("Digest: sha256:")
    nemo.notary("list", keeper.official("web")).told("targets/customhouse")
    nemo.docker("pull", f"{keeper.staging('web')}:1", trust=True).refused(REFUSED)
    nemo.docker_does("tag", f"{keeper.official('web')}:1", f"{keeper.staging('web')}:nemo")
    may_not = "nobody is signed in, so you may not push in staging/keeper/web"
    nemo.docker("push", f"{keeper.staging('web')}:nemo", trust=True).refused(may_not)


@pytest.mark.checklist("6.wrong-password")
def test_a_wrong_password_is_wrong_for_docker_and_notary(village: Town, keeper: Person) -> None:
    basic = base64.b64encode(f"{keeper.name}:not it".encode()).decode()
    walt = with_credentials(replace(keeper, home=village.homes / "walt", password="not it"), {"auth": basic})
    wrong = "unauthorized: wrong user name or password. Check both"
    staging = f"{keeper.staging('web')}:1"
    for reference in (staging, f"{keeper.official('web')}:1"):
        walt.docker("pull", reference, trust=True).refused(f"error contacting notary server: {wrong}")
    walt.docker("push", staging, trust=True).refused(wrong)
    walt.docker("trust", "sign", staging).refused(wrong)
    walt.notary("list", keeper.staging("web")).refused(wrong)
    walt.docker("login", "-u", keeper.name, "--password-stdin", keeper.hub.host, stdin="not it").refused(wrong)


@pytest.mark.checklist("6.refresh-token")
def test_docker_signs_and_pulls_with_the_refresh_token_of_its_login(village: Town, keeper: Person) -> None:
    config = json.loads((keeper.home / ".docker/config.json").read_text())["auths"][village.hub.host]
    assert config["identitytoken"]
    assert PASSWORD not in base64.b64decode(config["auth"]).decode()
    two = f"{keeper.staging('web')}:refreshed"
    keeper.docker_does("tag", f"{keeper.staging('web')}:1", two)
    keeper.push(two)
    keeper.outcome(two, "published")
    keeper.docker_does("pull", two, trust=True)
    false = with_credentials(replace(keeper, home=village.homes / "false"), {**config, "identitytoken": "made up"})
    over = "unauthorized: the refresh token is unknown or over: log in again"
    false.docker("pull", two, trust=True).refused(f"error contacting notary server: {over}")
    false.docker("push", two, trust=True).refused(over)


@pytest.mark.checklist("6.pull-only")
def test_who_may_only_pull_signs_nothing(village: Town, keeper: Person) -> None:
    words = ("token", "create", "looker", "--publisher", "keeper", "--scope", "pull", "--expires", "90d")
    made = keeper.customhouse_does(*words)
    looker = replace(keeper, name=made["username"], password=made["secret"], home=village.homes / "looker")
    shutil.copytree(keeper.home / ".docker/trust", looker.home / ".docker/trust")  # even with the right keys
    looker.docker_login()
    staging = f"{keeper.staging('web')}:1"
    looker.docker_does("pull", staging, trust=True)
    before = wire.trust_file(keeper, "staging/keeper/web", "targets")
    looker.docker("push", staging, trust=True).refused("keeper-looker may not push in staging/keeper/web")
    looker.docker("trust", "sign", staging).refused(f"failed to sign {staging}: {REFUSED}")
    looker.docker("trust", "revoke", "--yes", staging).refused(REFUSED)
    looker.notary("remove", "-p", keeper.staging("web"), "1").refused(REFUSED)
    assert wire.trust_file(keeper, "staging/keeper/web", "targets") == before


@pytest.mark.checklist("6.star")
def test_all_rights_are_the_members_for_keys_and_an_administrators_for_deletion(village: Town, keeper: Person) -> None:
    staging, gun = f"{keeper.staging('star')}:1", keeper.staging("star")
    keeper.docker_does("tag", f"{keeper.staging('web')}:1", staging)
    keeper.push(staging)
    keeper.outcome(staging, "published")
    before = wire.trust_file(keeper, "staging/keeper/star", "root")
    rotate, delete = ("key", "rotate", gun, "timestamp", "-r"), ("delete", gun, "--remote")
    for stranger in (village.publisher("keepers-rival"), village.anonymous("nemo")):
        stranger.notary(*rotate).refused(f"unable to rotate remote key: {REFUSED}")
        stranger.notary(*delete).refused(REFUSED)
    assert wire.trust_file(keeper, "staging/keeper/star", "root") == before
    keeper.notary(*rotate).told("Successfully rotated timestamp key")
    assert wire.trust_file(keeper, "staging/keeper/star", "root")["version"] == before["version"] + 1
    keeper.notary(*delete).refused(REFUSED)
    village.admin.notary(*delete).told("Successfully deleted local and remote trust data")
    keeper.docker("pull", staging, trust=True).refused("does not have trust data")


@pytest.mark.checklist("6.other-gun")
def test_a_token_for_one_repository_opens_no_other(keeper: Person) -> None:
    asked = (("GET", "root.json"), ("GET", "timestamp.key"), ("POST", ""), ("POST", "snapshot.key"), ("DELETE", ""))
    mine, other = (f"/v2/{keeper.staging(name)}/_trust/tuf/" for name in ("web", "other"))
    bearer = wire.token(keeper, f"repository:{keeper.staging('web')}:pull,push")
    assert wire.request(keeper, "GET", f"{mine}root.json", bearer=bearer).status == 200
    for method, file in asked:
        answer = wire.request(keeper, method, f"{other}{file}", bearer=bearer)
        assert (answer.status, answer.json()["errors"][0]["code"]) == (401, "UNAUTHORIZED")
        challenge = answer.headers["www-authenticate"]
        assert 'scope="repository:staging/keeper/other:' in challenge
        assert 'error="insufficient_scope"' in challenge


@pytest.mark.checklist("6.removed-user")
def test_a_user_who_was_removed_neither_signs_nor_pulls(village: Town, keeper: Person) -> None:
    gone = village.person("keeper-gone", "publisher", "keeper")
    village.admin.customhouse_does("publisher", "member", "add", "keeper", gone.name)
    staging, gun = f"{keeper.staging('web')}:1", keeper.staging("web")
    gone.docker_does("pull", staging, trust=True)
    bearer = wire.token(gone, f"repository:{gun}:pull,push")
    village.admin.customhouse_does("user", "disable", gone.name)
    # A token that was handed out before is over in five minutes; there is no other, by password or by refresh token.
    claims = json.loads(base64.urlsafe_b64decode(bearer.split(".")[1] + "=="))
    assert claims["exp"] - time.time() <= 300
    fresh = replace(gone, home=village.homes / "gone-fresh")
    shutil.copytree(gone.home / ".docker", fresh.home / ".docker", ignore=shutil.ignore_patterns("trust"))
    fresh.docker("pull", staging, trust=True).refused("error contacting notary server: unauthorized:", "log in again")
    gone.docker("push", staging, trust=True).refused("log in again")
    gone.docker("trust", "sign", staging).refused("log in again")
    fresh.notary("list", gun).refused("the account keeper-gone is disabled")
