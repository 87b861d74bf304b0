"""Settings: where they come from, in which order, and what is refused."""

from dataclasses import fields
from pathlib import Path

import pytest

from customhouse.errors import Invalid
from customhouse.settings import PREFIX, Settings, client_environment, load, system_clock


def write(folder: Path, text: str) -> Path:
    (folder / "customhouse.toml").write_text(text)
    return folder


def test_defaults_need_nothing_but_a_folder(tmp_path: Path) -> None:
    made = load(tmp_path, {})
    assert made == Settings(data=tmp_path)
    assert (made.host, made.host_name, made.listen_address) == ("localhost:5443", "localhost", ("127.0.0.1", 5443))
    assert made.database_url == f"sqlite:///{tmp_path}/hub.db"
    assert made.workflow_database_url == f"sqlite:///{tmp_path}/workflows.db"


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    write(tmp_path, 'workers = 3\nhub_name = "file"\nlisten = "127.0.0.1:1"\n')
    made = load(tmp_path, {"CUSTOMHOUSE_HUB_NAME": "environment", "CUSTOMHOUSE_LISTEN": "127.0.0.1:2"},
                listen="127.0.0.1:3", url=None)
    assert (made.workers, made.hub_name, made.listen) == (3, "environment", "127.0.0.1:3")


def test_the_url_of_a_client_is_no_setting_of_a_hub(tmp_path: Path) -> None:
    client = {"CUSTOMHOUSE_URL": "https://elsewhere", "CUSTOMHOUSE_TOKEN": "t", "CUSTOMHOUSE_CA_FILE": "f",
              "CUSTOMHOUSE_DEBUG": "1", "CUSTOMHOUSE_ROOT_PASSPHRASE": "p", "CUSTOMHOUSE_REPOSITORY_PASSPHRASE": "p"}
    assert load(tmp_path, client) == Settings(data=tmp_path)


def test_what_is_set_to_nothing_is_not_set(tmp_path: Path) -> None:
    empty = {f"{PREFIX}{item.name.upper()}": "" for item in fields(Settings)}
    assert load(tmp_path, empty) == Settings(data=tmp_path)


@pytest.mark.parametrize(("text", "value"), [("yes", True), ("0", False), ("TRUE", True), ("off", False)])
def test_words_for_true_and_false(tmp_path: Path, text: str, value: bool) -> None:
    assert load(tmp_path, {"CUSTOMHOUSE_ANONYMOUS_PULL": text}).anonymous_pull is value


@pytest.mark.parametrize(
    ("file", "environment", "says"),
    [
        ("polcy = 'x'", {}, "there is no setting 'polcy'"),
        ("workers = ", {}, "not valid TOML"),
        ("workers = 2.5", {}, "2.5 is not a whole number"),
        ("workers = true", {}, "True is not a whole number"),
        ("listen = 5443", {}, "5443 is not a text"),
        ("anonymous_pull = 'perhaps'", {}, "neither true nor false"),
        ("", {"CUSTOMHOUSE_POLCY": "x"}, "there is no setting CUSTOMHOUSE_POLCY"),
        ("", {"CUSTOMHOUSE_WORKERS": "many"}, "'many' is not a whole number"),
        ("", {"CUSTOMHOUSE_WORKERS": "²"}, "is not a whole number"),
        ("workers = 0", {}, "from 1 to 64"),
        ('unverifying_clients = "ignore"', {}, "it must be warn or refuse"),
        ("quarantine_days = 0", {}, "from 1 to 3650"),
        ("url = 'http://localhost'", {}, "not https://HOST"),
        ("url = 'https://localhost/path'", {}, "not https://HOST"),
        ("url = 'https://user:word@localhost'", {}, "not https://HOST"),
        ("url = 'https://Localhost'", {}, "in lower case"),
        ("url = 'https://localhost:0'", {}, "not https://HOST"),
        ("url = 'https://localhost:99999'", {}, "not https://HOST"),
        ("url = 'https://'", {}, "not https://HOST"),
        (f"url = 'https://{'a' * 63}'", {}, "longer than 62"),
        ("listen = 'localhost'", {}, "is not HOST:PORT"),
        ("listen = '127.0.0.1:70000'", {}, "is not HOST:PORT"),
        ("hub_name = 'Two Words'", {}, "cannot name a signer"),
        ("hub_name = 'releases'", {}, "cannot name a signer"),
        ("database = 'mysql://x'", {}, "'mysql' is not known"),
        ("blobs = 'https://bucket'", {}, "blobs is 'https://bucket'"),
        ("blobs = 's3://a/../b?c'", {}, "blobs is"),
        ("blobs = 's3://bucket'\ns3_access_key = 'k'", {}, "s3_access_key and s3_secret_key belong together"),
        ("blobs = 's3://bucket'\ns3_endpoint = 'https://name:secret@host'", {}, "s3_endpoint is not"),
        ("tls_key = 'x'", {}, "belong together"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, file: str, environment: dict[str, str], says: str) -> None:
    with pytest.raises(Invalid, match=says):
        load(write(tmp_path, file), environment)


def test_a_file_that_cannot_be_read_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "customhouse.toml").mkdir()
    with pytest.raises(Invalid, match="cannot be read"):
        load(tmp_path, {})


@pytest.mark.parametrize(
    ("url", "host", "name"),
    [
        ("https://hub.example/", "hub.example", "hub.example"),
        ("https://127.0.0.1:5443", "127.0.0.1:5443", "127.0.0.1"),
        ("https://[::1]:5443", "[::1]:5443", "::1"),
    ],
)
def test_the_public_name(tmp_path: Path, url: str, host: str, name: str) -> None:
    made = load(tmp_path, {}, url=url)
    assert (made.host, made.host_name, made.url) == (host, name, url.rstrip("/"))


def test_the_databases(tmp_path: Path) -> None:
    for given in ("postgresql://u@h/n", "postgres://u@h/n", "postgresql+psycopg://u@h/n"):
        made = load(tmp_path, {}, database=given)
        assert made.database_url == made.workflow_database_url == "postgresql+psycopg://u@h/n"
    lite = load(tmp_path, {}, database="sqlite:////elsewhere/hub.db")
    assert lite.workflow_database_url == f"sqlite:///{tmp_path}/workflows.db", "two engines never share one file"


def test_the_engine_is_found_as_docker_finds_it(tmp_path: Path) -> None:
    assert load(tmp_path, {"DOCKER_HOST": "unix:///x"}).engine == "unix:///x"
    assert load(tmp_path, {"DOCKER_HOST": "unix:///x", "CUSTOMHOUSE_ENGINE": "none"}).engine == "none"


def test_a_bucket_is_opened_as_every_s3_client_opens_it(tmp_path: Path) -> None:
    amazon = {
        "AWS_ACCESS_KEY_ID": "their-key", "AWS_SECRET_ACCESS_KEY": "their-secret", "AWS_SESSION_TOKEN": "their-token",
        "AWS_REGION": "eu-north-1", "AWS_ENDPOINT_URL": "https://s3.example.com",
    }  # fmt: skip
    made = load(tmp_path, amazon, blobs="s3://bucket/hub")
    assert (made.s3_access_key, made.s3_secret_key) == ("their-key", "their-secret")
    assert made.s3_session_token == "their-token"
    assert (made.s3_region, made.s3_endpoint) == ("eu-north-1", "https://s3.example.com")
    ours = load(tmp_path, amazon, blobs="s3://bucket/hub", s3_access_key="our-key", s3_secret_key="our-secret")
    assert (ours.s3_access_key, ours.s3_secret_key, ours.s3_session_token) == ("our-key", "our-secret", "")
    assert ours.s3_region == "eu-north-1"
    assert "secret" not in repr(made) + repr(ours)
    assert load(tmp_path, amazon).s3_access_key == "", "a hub on files opens nothing"


def test_paths_are_paths_and_secrets_are_not_shown(tmp_path: Path) -> None:
    pair = {"tls_key": Path("p.pem"), "tls_certificate": "c.pem"}
    made = load(tmp_path, {"CUSTOMHOUSE_ADMIN_PASSWORD": "a secret word"}, **pair)
    assert made.tls_key == Path("p.pem") and "a secret word" not in repr(made)
    assert load(write(tmp_path, "master_key_file = 'q'"), {}).master_key_file == Path("q")


def test_what_a_client_is_told() -> None:
    told = client_environment({"HOME": "/h", "CUSTOMHOUSE_DEBUG": "0", "CUSTOMHOUSE_TOKEN": "t",
                               "DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE": "docker's"})
    assert (told.config, told.debug) == (Path("/h/.config/customhouse"), False)
    assert told.passphrases["root"] == "docker's" and "docker's" not in repr(told)


def test_the_clock_knows_its_zone() -> None:
    assert system_clock().utcoffset() is not None


def test_a_host_that_only_serves_needs_others(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="no other hosts"):
        load(tmp_path, {}, role="api")
    assert load(tmp_path, {}, role="api", database="postgresql://hub@db/hub").role == "api"
    with pytest.raises(Invalid, match="all or api"):
        load(tmp_path, {}, role="worker")
