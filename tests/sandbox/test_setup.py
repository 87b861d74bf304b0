import pytest

from customhouse.oci.digest import Digest
from customhouse.sandbox.setup import MAX_BYTES, InvalidSetup, Setup

DIGEST = Digest.of(b"db")
FULL = f"""\
version = 1
tmpfs = ["/data", "/tmp"]
script = "exec /app --standalone"

[environment]
MODE = "demo"

[[companion]]
name = "db"
image = "acme/db@{DIGEST}"
command = ["--memory"]
environment = {{ A = "b" }}

[[companion]]
name = "queue"
image = "hub.example:5443/acme/queue@{DIGEST}"
"""


def test_a_whole_profile_is_read():
    setup = Setup.parse(FULL.encode())
    assert setup.environment == {"MODE": "demo"}
    assert setup.tmpfs == ("/data", "/tmp")
    assert (setup.entrypoint, setup.command) == (("/bin/sh", "-c", "exec /app --standalone"), ())
    database, queue = setup.companions
    assert (database.name, database.repository, database.digest) == ("db", "acme/db", DIGEST)
    assert (database.command, database.environment) == (("--memory",), {"A": "b"})
    assert queue.reference == f"hub.example:5443/acme/queue@{DIGEST}"
    assert {"demo", "/data", "--memory"} <= setup.words


def test_an_empty_profile_changes_nothing():
    assert Setup.parse(b"version = 1\n") == Setup()


@pytest.mark.parametrize(
    ("document", "line", "why"),
    [
        ("version = 2", 1, "version must be 1"),
        ("version = true", 1, "version must be 1"),
        ("tmpfs = []", None, "version must be 1"),
        ("version = 1\nprivileged = true", 2, "'privileged' is not known"),
        ("version = 1\nmounts = ['/etc']", 2, "not known"),
        ("version = 1\nnetwork = 'host'", 2, "not known"),
        ("version = 1\n\n[environment]\nA = 1", 3, "A is a text"),
        ("version = 1\n[environment]\n'A B' = 'x'", 2, "names no variable"),
        ("version = 1\ntmpfs = ['data']", 2, "cannot be a tmpfs"),
        ("version = 1\ntmpfs = ['/data/../proc']", 2, "cannot be a tmpfs"),
        ("version = 1\ntmpfs = ['/proc/sys']", 2, "cannot be a tmpfs"),
        ("version = 1\ntmpfs = ['/data:exec']", 2, "cannot be a tmpfs"),
        ("version = 1\ncommand = 'sh -c x'", 2, "list of texts"),
        ("version = 1\ncommand = ['a']\nscript = 'x'", 3, "in place of"),
        ("version = 1\n[companion]\nname = 'x'", 2, "[[companion]]"),
        ("version = 1\n[[companion]]\nname = 'db'\nimage = 'acme/db:1'", 4, "by digest"),
        (f"version = 1\n[[companion]]\nname = 'D B'\nimage = 'acme/db@{DIGEST}'", 3, "a companion's name"),
        (FULL.replace('"queue"\n', '"db"\n'), 13, "the same name"),
        (FULL + "privileged = true\n", 17, "not known"),
        ("version = 1\nx = \ny = 1", 2, "not valid TOML"),
    ],
)
def test_what_is_not_known_or_would_loosen_a_wall_is_refused_with_its_line(document, line, why):
    with pytest.raises(InvalidSetup, match=why.replace("[", r"\[")) as refused:
        Setup.parse(document.encode())
    assert refused.value.line == line


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff", b"#" * (MAX_BYTES + 1), b"a=" + b"[" * 5000, b"version = 1\n" + b"[[companion]]\n" * 9,
        b'version = 1\ncommand = ["a\\u0000b"]', b"version = 1\ncommand = []", b"version = 1\nenvironment = 3",
    ],
)  # fmt: skip
def test_hostile_profiles_are_refused(raw):
    with pytest.raises(InvalidSetup):
        Setup.parse(raw)
