"""The image config: lenient in keys, strict in types, one reading only."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from customhouse.oci.config import MAX_CONFIG_BYTES, ImageConfig, InvalidConfig

DIFF_ID = "sha256:" + "a" * 64


def parse(document: object) -> ImageConfig:
    return ImageConfig.parse(json.dumps(document).encode())


def test_everything_docker_writes_is_read() -> None:
    config = parse(
        {
            "architecture": "arm64",
            "variant": "v8",
            "os": "linux",
            "created": "2026-01-01T00:00:00Z",
            "config": {
                "User": "10001:0",
                "Env": ["PATH=/bin", "A=1", "A=2"],
                "Entrypoint": ["/app"],
                "Cmd": ["serve"],
                "Healthcheck": {"Test": ["CMD", "/app", "probe"], "Interval": 2_000_000_000, "Retries": 3},
                "Labels": {"name": "web", "Name": "other"},
                "ExposedPorts": {"80/tcp": {}},
                "Volumes": {"/data": {}},
                "WorkingDir": "/srv",
                "StopSignal": "SIGINT",
                "Shell": ["/bin/ash", "-c"],
                "OnBuild": None,
            },
            "rootfs": {"type": "layers", "diff_ids": [DIFF_ID]},
            "history": [{"created_by": "COPY . /", "empty_layer": False}, {"created_by": "USER", "empty_layer": True}],
            "something.new": {"is": "ignored"},
        }
    )
    assert str(config.platform) == "linux/arm64/v8"
    assert config.argv == ("/app", "serve")
    assert config.environment == {"PATH": "/bin", "A": "2"}
    assert config.healthcheck is not None and config.healthcheck.declared
    assert config.healthcheck.interval == 2_000_000_000
    assert config.labels == {"name": "web", "Name": "other"}, "the keys of labels are the publisher's own"
    assert config.exposed_ports == ("80/tcp",) and config.volumes == ("/data",)
    assert config.diff_ids == (DIFF_ID,)
    assert [line.empty_layer for line in config.history] == [False, True]


def test_an_absent_and_a_disabled_health_check_are_told_apart() -> None:
    assert parse({"config": {}}).healthcheck is None
    disabled = parse({"config": {"Healthcheck": {"Test": ["NONE"]}}}).healthcheck
    assert disabled is not None and disabled.disabled and not disabled.declared


def test_a_key_in_another_spelling_is_read_as_engines_read_it() -> None:
    assert parse({"Config": {"USER": "0"}}).user == "0"


def test_two_spellings_of_one_key_are_refused_because_engines_take_the_last() -> None:
    with pytest.raises(InvalidConfig, match="twice"):
        parse({"config": {"User": "10001", "user": "0"}})
    with pytest.raises(InvalidConfig, match="twice"):
        parse({"config": {"User": "10001"}, "conFig": {"User": "0"}})


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"config": []},
        {"config": {"User": 0}},
        {"config": {"Env": "A=1"}},
        {"config": {"Env": [1]}},
        {"config": {"Labels": {"a": 1}}},
        {"config": {"Healthcheck": {"Test": "CMD true"}}},
        {"config": {"Healthcheck": {"Test": ["CMD", "true"], "Interval": "2s"}}},
        {"config": {"Healthcheck": {"Test": ["CMD", "true"], "Retries": True}}},
        {"config": {"Healthcheck": {"Test": ["CMD", "true"], "Interval": 2**80}}},
        {"rootfs": {"diff_ids": ["sha256:abc"]}},
        {"rootfs": {"type": "snapshots"}},
        {"history": [1]},
        {"history": [{"empty_layer": "no"}]},
        {"config": {"Env": ["A=1"] * 20_000}},
    ],
)
def test_wrong_types_are_refused_with_the_place(document: object) -> None:
    with pytest.raises(InvalidConfig):
        parse(document)


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"\xff{}", b'{"os": NaN}', b'{"os": "linux", "os": "windows"}', b'{"os": "\\ud800"}', b"[" * 100_000],
)
def test_what_is_no_clean_json_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidConfig):
        ImageConfig.parse(raw)


def test_a_config_beyond_its_budget_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="larger"):
        ImageConfig.parse(b" " * (MAX_CONFIG_BYTES + 1))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(["os", "config", "Config", "rootfs", "history", "User", "Healthcheck", "Test", "Labels", "type"])


@given(st.dictionaries(keys, values | st.dictionaries(keys, values, max_size=4), max_size=5))
def test_any_json_is_either_a_config_or_refused(document: dict[str, object]) -> None:
    try:
        parse(document)
    except InvalidConfig as error:
        assert error.message
