"""Which program asks: by the User-Agents that real programs sent, and by what nobody should send."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from customhouse.accounts.clients import _KNOWN, OTHER, WARNING, Client, ClientWatch, UnverifyingClient

ENGINE_20 = "docker/20.10.24+dfsg1 go/go1.19.8 git-commit/5d6db84 kernel/6.1.0 os/linux arch/amd64"
ENGINE_29 = (
    "docker/29.8.1 go/go1.26.8 git-commit/abcdef kernel/6.1.0 os/linux arch/amd64 "
    "containerd-client/2.3.5+unknown storage-driver/native"
)
DOCKER_29 = rf"{ENGINE_29} UpstreamClient(Docker-Client/29.8.2 \(linux\))"
HOST = "hub.example"


@pytest.mark.parametrize(
    ("user_agent", "label", "verifies"),
    [
        (DOCKER_29, "docker-29", "no"),
        (rf"{ENGINE_20} UpstreamClient(Docker-Client/29.8.2 \(linux\))", "docker-29", "no"),
        (rf"{ENGINE_29} UpstreamClient(Docker-Client/28.2.2 \(linux\))", "docker-28", "if_told"),
        (rf"{ENGINE_20} UpstreamClient(Docker-Client/20.10.24+dfsg1 \(linux\))", "docker-20", "if_told"),
        ("Docker-Client/29.8.2 (linux)", "docker-29", "no"),  # docker manifest inspect asks by itself
        ("Docker-Client/30.0.0-rc.1 (windows)", "docker-30", "no"),
        (ENGINE_29, "docker-engine", "unknown"),  # for a program that does not say who it is
        (f"{ENGINE_29} UpstreamClient(docker-sdk-python/7.2.0)", "docker-engine", "unknown"),
        ("containerd/2.3.5+unknown", "containerd", "unknown"),
        ("skopeo/1.9.3", "skopeo", "unknown"),
        ("containers/5.36.1 (github.com/containers/image)", "podman", "unknown"),
        ("buildkit/v0.26", "buildkit", "unknown"),
        ("customhouse/0.1.0", "customhouse", "if_told"),
        ("go-containerregistry/v0.20.2", "crane", "unknown"),
        ("Go-http-client/1.1", "other", "unknown"),
        ("Mozilla/5.0 (X11; Linux)", "other", "unknown"),
        ("", "other", "unknown"),
    ],
)
def test_programs_are_known_by_what_they_send(user_agent: str, label: str, verifies: str) -> None:
    found = Client.parse(user_agent)
    assert (found.label, found.verifies) == (label, verifies)


@pytest.mark.parametrize(
    "user_agent",
    [
        "x" * 5000 + DOCKER_29, "Docker-Client/", "Docker-Client/x.1", "Docker-Client/29999999999.1",
        "UpstreamClient(", "UpstreamClient()", "\x00\xff", "((((((" * 100, "docker", "/", "name only",
        "not Docker-Client/29.1",
    ],
)
def test_what_nobody_should_send_is_other(user_agent: str) -> None:
    assert Client.parse(user_agent) == OTHER


def test_labels_are_few_whatever_is_sent() -> None:
    labels = {Client.parse(f"Docker-Client/{number}.0").label for number in range(9999)}
    assert len(labels) == 100
    assert {Client.parse(f"program{number}/1").label for number in range(2000)} == {"other"}


def test_docker_29_is_refused_an_official_tag_where_the_operator_wants_that_and_told_what_to_do() -> None:
    watch = ClientWatch(HOST, "refuse")
    with pytest.raises(UnverifyingClient) as caught:
        watch.tag_asked(DOCKER_29, "acme/web", "1")
    assert caught.value.message == (
        "docker 29 ignores DOCKER_CONTENT_TRUST, and this hub gives tags to clients that verify"
    )
    assert caught.value.hint == "Run `customhouse verify hub.example/acme/web:1 --digest` and pull what it prints"
    watch.tag_asked(DOCKER_29, "acme/web", "sha256:" + "0" * 64)  # whoever knows the digest has verified
    watch.tag_asked(DOCKER_29, "staging/acme/web", "1")
    watch.tag_asked(DOCKER_29, "quarantine/a1b2", "1")
    watch.tag_asked(f"{ENGINE_29} UpstreamClient(Docker-Client/28.2.2)", "acme/web", "1")
    watch.tag_asked("skopeo/1.9.3", "acme/web", "1")
    assert watch.pulls == {("docker-29", "no"): 1, ("docker-28", "if_told"): 1, ("skopeo", "unknown"): 1}


def test_by_default_it_is_counted_and_warned() -> None:
    watch = ClientWatch(HOST)
    watch.tag_asked(DOCKER_29, "acme/web", "1")
    assert watch.pulls == {("docker-29", "no"): 1}
    assert watch.warning(DOCKER_29) == WARNING and watch.warning("skopeo/1.9.3") == watch.warning("") == ""


def test_the_warning_is_of_the_form_that_registries_use() -> None:
    """distribution-spec, "Warnings": 299, an unknown agent, a quoted text without escapes."""
    code, agent, text = WARNING.split(" ", 2)
    assert (code, agent) == ("299", "-")
    assert text[0] == text[-1] == '"' and '"' not in text[1:-1] and "\\" not in text and len(text) < 256


@given(st.text() | st.text("Docker-Client/()0129UpstreamClient \\;.", max_size=200))
def test_no_text_breaks_the_reading_or_makes_a_label_of_its_own(text: str) -> None:
    label = Client.parse(text).label
    assert label in LABELS or label.startswith("docker-")


LABELS = {*_KNOWN.values(), "other"}
