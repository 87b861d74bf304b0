"""CFG-*: what the config says, judged against what is in the image."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from customhouse.certification.checks import (
    cfg_entry,
    cfg_envsecret,
    cfg_health,
    cfg_health_static,
    cfg_labels,
    cfg_user,
    sec_history,
)
from customhouse.certification.shell import always_succeeds, commands, outside_hosts
from customhouse.oci.wants import Budget
from customhouse.testing.images import (
    SECOND,
    BuiltImage,
    File,
    Layer,
    Symlink,
    image,
    labels,
    layer,
    minimal_server_image,
    tar_of,
)
from customhouse.testing.server_program import server_program

from .subjects import failed, findings, outcomes

SCRIPT = File(b"#!/bin/sh\nexit 0\n", mode=0o755)
PROGRAM = File(server_program(), mode=0o755)


def keys(check: Any, built: BuiltImage, **more: Any) -> set[Any]:
    return {item.evidence.get("key") for item in failed(findings(check.CHECK, built, **more))}


def truncated(**config: Any) -> BuiltImage:
    tar = tar_of({"etc/passwd": bytes(5000)})
    return image([Layer(tar, "none", stored=tar[:3000])], config=config)


# ---- CFG-USER


@pytest.mark.parametrize("user", ["10001", "10001:0", "server", "server:root", "65532"])
def test_a_user_that_is_not_root_passes(user: str) -> None:
    assert outcomes(findings(cfg_user.CHECK, minimal_server_image(User=user))) == {"pass"}


@pytest.mark.parametrize("user", [None, "", "0", "0:0", "00", "+0", "root", "root:server", ":10001", "0:10001"])
def test_every_way_to_write_root_is_refused(user: str | None) -> None:
    (found,) = failed(findings(cfg_user.CHECK, minimal_server_image(User=user)))
    assert found.severity == "block"


@pytest.mark.parametrize("passwd", ["evil:x:0:0::/:\n", "evil:x::0::/:\n", "evil:x:zero\n", "evil\n"])
def test_a_name_with_uid_0_or_with_none_is_root(passwd: str) -> None:
    built = minimal_server_image(User="evil", files={"etc/passwd": passwd})
    (found,) = failed(findings(cfg_user.CHECK, built))
    assert found.severity == "block" and found.evidence["uid"] == 0


def test_digits_are_a_uid_even_where_a_user_is_called_so() -> None:
    built = minimal_server_image(User="1000", files={"etc/passwd": "1000:x:0:0::/:\n"})
    assert outcomes(findings(cfg_user.CHECK, built)) == {"pass"}


@pytest.mark.parametrize("user", ["nobody-here", "-5", str(2**31)])
def test_a_user_that_no_engine_starts_needs_review(user: str) -> None:
    (found,) = failed(findings(cfg_user.CHECK, minimal_server_image(User=user)))
    assert found.severity == "high"


def test_a_user_database_that_was_not_read_is_not_evaluable() -> None:
    assert outcomes(findings(cfg_user.CHECK, truncated(User="app"))) == {"not_evaluable"}
    small = findings(cfg_user.CHECK, minimal_server_image(User="app"), budget=Budget(file=3))
    assert outcomes(small) == {"not_evaluable"}


# ---- CFG-HEALTH


@pytest.mark.parametrize("test", [["CMD", "/server", "health"], ["CMD-SHELL", "wget -q localhost"]])
def test_a_declared_health_check_passes(test: list[str]) -> None:
    assert outcomes(findings(cfg_health.CHECK, minimal_server_image(Healthcheck={"Test": test}))) == {"pass"}


@pytest.mark.parametrize("test", [None, [], ["NONE"], ["CMD"], ["CMD-SHELL", "  "], ["RUN", "x"]])
def test_a_missing_disabled_or_empty_health_check_fails(test: list[str] | None) -> None:
    built = minimal_server_image(Healthcheck=None if test is None else {"Test": test})
    assert keys(cfg_health, built) == {"healthcheck"}


# ---- CFG-HEALTH-STATIC


def probe(*test: str, files: dict[str, Any] | None = None, **more: Any) -> BuiltImage:
    tree = {"bin/sh": PROGRAM, "bin/curl": PROGRAM, "bin/wget": PROGRAM, **(files or {})}
    return minimal_server_image(files=tree, Env=["PATH=/bin"], Healthcheck={"Test": list(test), **more})


@pytest.mark.parametrize(
    "test",
    [
        ("CMD", "/server", "health"),
        ("CMD", "curl", "-f", "http://localhost:8080/"),
        ("CMD-SHELL", "curl -fsS http://127.0.0.1:8080/ || exit 1"),
        ("CMD-SHELL", "wget -q http://$HOSTNAME/"),
        ("CMD-SHELL", "curl --fail http://[::1]:80/ || wget http://localhost"),
        ("CMD-SHELL", "nothere http://localhost || wget -q http://localhost"),
        ("CMD-SHELL", "[ -f /ready ] && wget -q http://0.0.0.0:1/"),
        ("CMD-SHELL", "if wget -q http://localhost; then exit 0; else exit 1; fi"),
        ("CMD-SHELL", "$PROBE --check"),
        ("CMD", "/bin/sh", "-c", "wget -q http://localhost || exit 1"),
    ],
)
def test_an_honest_probe_passes(test: tuple[str, ...]) -> None:
    assert outcomes(findings(cfg_health_static.CHECK, probe(*test))) == {"pass"}


@pytest.mark.parametrize(
    "test",
    [
        ("CMD", "/bin/true"),
        ("CMD", "true"),
        ("CMD", "echo", "ok"),
        ("CMD-SHELL", "exit 0"),
        ("CMD-SHELL", "exit"),
        ("CMD-SHELL", ":"),
        ("CMD-SHELL", ""),
        ("CMD-SHELL", "curl -f http://localhost || true"),
        ("CMD-SHELL", "curl -f http://localhost; exit 0"),
        ("CMD-SHELL", "curl -f http://localhost || exit 0"),
        ("CMD-SHELL", "echo checking && sleep 1 && true"),
        ("CMD", "/bin/sh", "-c", "exit 0"),
        ("CMD", "/bin/busybox", "true"),
    ],
)
def test_a_probe_that_cannot_fail_is_a_failure(test: tuple[str, ...]) -> None:
    files = {name: PROGRAM for name in ("bin/true", "bin/echo", "bin/sleep", "bin/busybox")}
    assert keys(cfg_health_static, probe(*test, files=files)) == {"trivial"}


@pytest.mark.parametrize(
    ("test", "key"),
    [
        (("CMD", "pg_isready"), "probe-missing"),
        (("CMD", "/probe"), "probe-missing"),
        (("CMD", "/etc/passwd"), "probe-mode"),
        (("CMD", "/etc"), "probe-directory"),
        (("CMD-SHELL", "pg_isready -h localhost || exit 1"), "probe-missing"),
        (("CMD-SHELL", "wget -q http://localhost && nothere"), "probe-missing"),
    ],
)
def test_a_probe_that_cannot_start_is_a_failure(test: tuple[str, ...], key: str) -> None:
    assert keys(cfg_health_static, probe(*test)) == {key}


def test_a_shell_probe_needs_a_shell() -> None:
    built = minimal_server_image(Healthcheck={"Test": ["CMD-SHELL", "/server health"]})
    assert keys(cfg_health_static, built) == {"probe-missing"}
    own = minimal_server_image(
        files={"opt/shell": PROGRAM}, Shell=["/opt/shell", "-c"], Healthcheck={"Test": ["CMD-SHELL", "/server health"]}
    )
    assert outcomes(findings(cfg_health_static.CHECK, own)) == {"pass"}


def test_a_busybox_shell_brings_its_own_programs() -> None:
    tree = {"bin/busybox": PROGRAM, "bin/sh": Symlink("busybox")}
    health = {"Test": ["CMD-SHELL", "wget -q http://localhost || exit 1"]}
    built = minimal_server_image(files=tree, Env=["PATH=/bin"], Healthcheck=health)
    assert outcomes(findings(cfg_health_static.CHECK, built)) == {"pass"}


@pytest.mark.parametrize(
    ("command", "host"),
    [
        ("curl -f https://status.example.com/", "status.example.com"),
        ("curl -f status.example.com/health", "status.example.com"),
        ("wget -q http://10.0.0.5:80/", "10.0.0.5"),
        ("nc -z db 5432", "db"),
        ("ping -c 1 8.8.8.8", "8.8.8.8"),
        ("pg_isready -h db", "db"),
        ("curl -f http://user@evil.example:80/", "evil.example"),
        ("curl -f http://localhost.evil.example/", "localhost.evil.example"),
    ],
)
def test_a_probe_that_asks_elsewhere_is_a_failure(command: str, host: str) -> None:
    files = {f"bin/{name}": PROGRAM for name in ("nc", "ping", "pg_isready")}
    (found,) = failed(findings(cfg_health_static.CHECK, probe("CMD-SHELL", command, files=files)))
    assert found.evidence == {"key": "outside", "value": host}


def test_curl_without_fail_is_a_small_failure() -> None:
    (found,) = failed(findings(cfg_health_static.CHECK, probe("CMD", "curl", "http://localhost/")))
    assert found.evidence["key"] == "curl-fail" and found.severity == "low"


@pytest.mark.parametrize(
    ("field", "value", "severity"),
    [
        ("Interval", 500_000, "high"),
        ("Timeout", -1, "high"),
        ("Retries", -1, "high"),
        ("Interval", 3600 * SECOND, "medium"),
        ("StartPeriod", 3600 * SECOND, "medium"),
        ("Retries", 1000, "medium"),
    ],
)
def test_timing_that_engines_refuse_or_that_proves_nothing(field: str, value: int, severity: str) -> None:
    (found,) = failed(findings(cfg_health_static.CHECK, probe("CMD", "/server", **{field: value})))
    assert found.severity == severity


def test_without_a_health_check_or_filesystem_there_is_no_answer() -> None:
    for health in (None, {"Test": ["NONE"]}):
        built = minimal_server_image(Healthcheck=health)
        assert outcomes(findings(cfg_health_static.CHECK, built)) == {"not_applicable"}
    built = truncated(Healthcheck={"Test": ["CMD", "/x"]})
    assert outcomes(findings(cfg_health_static.CHECK, built)) == {"not_evaluable"}
    unreadable = probe("CMD-SHELL", "echo 'unfinished")
    assert outcomes(findings(cfg_health_static.CHECK, unreadable)) == {"not_evaluable"}


@given(st.text(max_size=200))
def test_any_text_can_be_asked_what_it_does(text: str) -> None:
    line = commands(text)
    assert always_succeeds(line) in (True, False)
    for command in line:
        assert all(isinstance(host, str) for host in outside_hosts(command))


# ---- CFG-ENTRY


def entry(*argv: str, architecture: str = "amd64", files: dict[str, Any] | None = None, **config: Any) -> BuiltImage:
    tree = {"server": PROGRAM, "bin/sh": PROGRAM, **(files or {})}
    inner = {"Entrypoint": list(argv), "Env": ["PATH=/bin"], **config}
    return image([layer(tree)], config=inner, architecture=architecture)


def elf(machine: int = 62, wide: int = 2, interpreter: bytes = b"") -> File:
    """The server with another machine, class or loader in its headers."""
    raw = bytearray(server_program())
    raw[18:20], raw[4] = machine.to_bytes(2, "little"), wide
    if interpreter:
        second = 64 + 56
        raw[second : second + 4] = (3).to_bytes(4, "little")
        raw[second + 8 : second + 16] = len(raw).to_bytes(8, "little")
        raw[second + 32 : second + 40] = (len(interpreter) + 1).to_bytes(8, "little")
        raw += interpreter + b"\0"
    return File(bytes(raw), mode=0o755)


@pytest.mark.parametrize(
    "built",
    [
        entry("/server"),
        entry("./server", WorkingDir="/"),
        entry("sh", "/run"),
        entry("/run", files={"run": SCRIPT}),
        entry("/run", files={"run": File(b"#!/bin/env -S sh -e\n", mode=0o755), "bin/env": PROGRAM}),
        entry("/bin/sh", "-c", "exec /server --flag"),
        entry("/app", files={"app": elf(interpreter=b"/lib/ld.so"), "lib/ld.so": PROGRAM}),
        entry("/app", files={"app": Symlink("opt/app"), "opt/app": PROGRAM}),
        entry("/app", files={"app": elf(machine=183)}, architecture="arm64"),
        image([layer({"server": PROGRAM})], config={"Cmd": ["/server"]}),
    ],
)
def test_what_can_start_passes(built: BuiltImage) -> None:
    assert outcomes(findings(cfg_entry.CHECK, built)) == {"pass"}


@pytest.mark.parametrize(
    ("built", "key"),
    [
        (image([layer({"server": PROGRAM})]), "none"),
        (entry("/gone"), "missing"),
        (entry("gone"), "missing"),
        (entry("/app", files={"app": Symlink("app")}), "missing"),
        (entry("/bin"), "directory"),
        (entry("/app", files={"app": File(server_program(), mode=0o644)}), "mode"),
        (entry("/app", files={"app": File(b"just text", mode=0o755)}), "format"),
        (entry("/app", files={"app": File(b"\x7fELF", mode=0o755)}), "format"),
        (entry("/app", files={"app": File(b"", mode=0o755)}), "format"),
        (entry("/app", files={"app": elf(machine=183)}), "architecture"),
        (entry("/server", architecture="arm64"), "architecture"),
        (entry("/app", files={"app": elf(interpreter=b"/lib64/ld-linux-x86-64.so.2")}), "interpreter"),
        (entry("/run", files={"run": File(b"#!/bin/bash\n", mode=0o755)}), "interpreter"),
        (entry("/run", files={"run": File(b"#!/bin/sh\r\n", mode=0o755)}), "interpreter"),
        (entry("/run", files={"run": File(b"#!/run\n", mode=0o755)}), "interpreter"),
        (entry("/run", files={"run": File(b"#!/bin/env node\n", mode=0o755), "bin/env": PROGRAM}), "interpreter"),
        (entry("/bin/sh", "-c", "/server"), "shell"),
    ],
)
def test_what_cannot_start_fails_with_its_reason(built: BuiltImage, key: str) -> None:
    assert keys(cfg_entry, built) == {key}


def test_a_program_behind_a_shell_is_looked_for_too() -> None:
    assert keys(cfg_entry, entry("/bin/sh", "-c", "gone --flag")) == {"shell", "missing"}


def test_entry_points_that_cannot_be_judged() -> None:
    assert outcomes(findings(cfg_entry.CHECK, truncated(Entrypoint=["/x"]))) == {"not_evaluable"}
    assert outcomes(findings(cfg_entry.CHECK, entry("/server", architecture="riscv128"))) == {"not_evaluable"}
    windows = image([layer({"a": b""})], config_changes={"os": "windows"})
    assert outcomes(findings(cfg_entry.CHECK, windows)) == {"not_applicable"}


# ---- CFG-ENVSECRET

TOKEN = "ghp_" + "a1B2" * 9


@pytest.mark.parametrize(
    "line",
    [
        "PATH=/bin",
        "GPG_KEY=0123456789ABCDEF",
        "DB_PASSWORD_FILE=/run/secrets/db",
        "DB_PASSWORD=",
        "DB_PASSWORD=$OTHER",
        "API_KEY=/run/secrets/key",
        "TOKEN_EXPIRY=3600",
        "AUTH=none",
        "KEYBOARD=us",
        "PWD=/srv",
        "REQUIRE_PASSWORD=true",
        "URL=https://example.com:8443/path@v1",
        "DATABASE_URL=postgres://user@db/app",
    ],
)
def test_usual_variables_pass(line: str) -> None:
    assert outcomes(findings(cfg_envsecret.CHECK, minimal_server_image(Env=[line]))) == {"pass"}


@pytest.mark.parametrize(
    "line",
    [
        "DB_PASSWORD=hunter2",
        "mysql_root_password=secret1",
        "PGPASSWORD=hunter2",
        "API_KEY=abcdef123",
        "AWS_SECRET_ACCESS_KEY=abcdef",
        f"SOMETHING={TOKEN}",
        "OTHER=AKIAIOSFODNN7EXAMPLE",
        "URL=postgres://app:hunter2@db/app",
        "CERT=-----BEGIN RSA PRIVATE KEY-----",
    ],
)
def test_secrets_in_the_environment_fail_and_are_not_repeated(line: str) -> None:
    (found,) = failed(findings(cfg_envsecret.CHECK, minimal_server_image(Env=[line])))
    value = line.partition("=")[2]
    assert value not in json.dumps(found.as_json()) and found.severity == "block"


def test_secrets_in_labels_and_history_fail() -> None:
    labelled = minimal_server_image(Labels={"ci.token": TOKEN})
    assert keys(cfg_envsecret, labelled) == {"label:ci.token"}
    for created_by, key in (
        ("|1 NPM_TOKEN=abc123def /bin/sh -c npm ci", "history:NPM_TOKEN"),
        ("ARG DEPLOY_PASSWORD=hunter2", "history:DEPLOY_PASSWORD"),
        (f"RUN git clone https://x:{TOKEN}@git.example/a", "history:github-pat"),
        ("RUN login --password hunter2 && ls", "history:password-option"),
    ):
        built = image([layer({"a": b""}, created_by=created_by)])
        assert key in keys(sec_history, built), created_by
        assert "hunter2" not in json.dumps([item.as_json() for item in findings(sec_history.CHECK, built)])


def test_text_made_to_slow_the_search_down_is_searched_at_once() -> None:
    for text in ("eyJ-" * 16_000, "-a" * 32_000, "x='" * 20_000, "https://" + "a:" * 30_000, "PASS_" * 12_000):
        outcomes(findings(cfg_envsecret.CHECK, minimal_server_image(Env=[f"X={text}", f"{text}=1"])))


def test_a_name_can_be_accepted_by_the_policy() -> None:
    built = minimal_server_image(Env=["DEMO_PASSWORD=demo"])
    assert outcomes(findings(cfg_envsecret.CHECK, built, params={"accepted_names": ["DEMO_PASSWORD"]})) == {"pass"}


# ---- CFG-LABELS


def test_a_full_set_of_labels_passes_wherever_it_stands() -> None:
    assert outcomes(findings(cfg_labels.CHECK, minimal_server_image())) == {"pass"}
    annotated = image([layer({"a": b""})], annotations=labels(), style="oci")
    assert outcomes(findings(cfg_labels.CHECK, annotated)) == {"pass"}
    other = dict.fromkeys(("name", "vendor", "version", "release", "summary", "description", "maintainer"), "x")
    assert outcomes(findings(cfg_labels.CHECK, minimal_server_image(Labels=other))) == {"pass"}


@pytest.mark.parametrize("value", ["MIT", "MIT OR Apache-2.0", "(MIT AND BSD-3-Clause) OR GPL-2.0+ WITH Classpath-2.0"])
def test_licence_expressions_pass(value: str) -> None:
    said = {**labels(), "org.opencontainers.image.licenses": value}
    assert outcomes(findings(cfg_labels.CHECK, minimal_server_image(Labels=said))) == {"pass"}


def test_missing_labels_are_one_failure_that_names_them() -> None:
    said = {key: value for key, value in labels().items() if not key.endswith((".source", ".licenses"))}
    (found,) = failed(findings(cfg_labels.CHECK, minimal_server_image(Labels=said)))
    assert "source, licenses" in found.message
    assert keys(cfg_labels, minimal_server_image(Labels=None))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("source", "somewhere"),
        ("created", "yesterday"),
        ("created", "2026-01-01"),
        ("licenses", "see file; ask us"),
        ("licenses", "MIT AND"),
        ("licenses", "(MIT OR Apache-2.0"),
        ("licenses", "MIT  " + "AND MIT  " * 400 + "!"),
        ("version", "the newest"),
        ("revision", "???"),
        ("base.digest", "sha256:abc"),
    ],
)
def test_a_label_of_the_wrong_form_is_a_failure(name: str, value: str) -> None:
    said = {**labels(), f"org.opencontainers.image.{name}": value}
    assert keys(cfg_labels, minimal_server_image(Labels=said)) == {f"form:{name}"}
