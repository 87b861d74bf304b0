"""The import law has no holes: every module has its layer, every file of a room is reserved, pure or named here."""

import ast
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "customhouse"
RESERVED = {"http.py", "service.py", "store.py", "store"}
ENGINES = {"sqlalchemy", "sqlite3", "starlette", "urllib3", "docker", "dbos", "uvicorn", "alembic", "obstore"}
NO_ROOMS = {"cli", "migrations", "testing"}

# Files of a room that are neither one of the three reserved names nor pure, and why.
EXCEPTIONS = {
    "certification.rehearsal": "reads what is certified, through its room's store",
    "archive.__init__": "the form of an export",
    "archive.reading": "makes a hub of an export: files, bytes, rows",
    "archive.writing": "makes an export of a hub: rows, bytes, files",
    "accounts.authentication": "half of the service: who a login or a secret belongs to",
    "accounts.authorizer": "judges the tokens of requests; raises what the doors of registry and trust answer",
    "accounts.caller": "what every door of the API asks first, over starlette's request",
    "accounts.passwords": "argon2 at bounded speed: holds a semaphore",
    "advisories.mirror": "reads a mirror of dumps: a folder, or https",
    "advisories.stored": "the advisories of one moment, over one transaction of the store",
    "advisories.updates": "half of the service: follows a mirror",
    "blobs.__init__": "the contract of the stores; what becomes of an upload is told in errors",
    "blobs.bucket": "one bucket, over the client library; its failures are errors of ours",
    "blobs.choice": "which store a hub has, by its settings",
    "blobs.files": "the store on files",
    "blobs.leases": "locks for a store that has none, over a bucket",
    "blobs.s3": "the store in a bucket",
    "certification.steps": "half of the service: what a workflow does with a submission",
    "certification.attached": "half of the steps: what lies in the registry beside an image",
    "enrolment.signers": "half of the service: who signs where the hub keeps the root",
    "registry.client": "speaks the wire to another registry",
    "registry.collector": "half of the service: collects what nothing needs any more",
    "registry.content": "names the errors of blobs.py among the registry's own",
    "registry.dialect": "part of the door: errors as OCI has them",
    "registry.following": "half of the service: what goes with a manifest",
    "registry.importer": "brings images in from another registry, over client and service",
    "registry.integrity": "half of the service: whether rows and bytes agree",
    "registry.keeper": "half of the service: what retention lets go of",
    "registry.rulebook": "half of the service: what administrators rule, and whether a tag may move",
    "registry.transfer": "part of the door: bodies of blobs, without copies",
    "registry.uploads": "half of the service: uploads in progress",
    "registry.call": "part of the door: one request, read once",
    "registry.wire": "part of the door: headers and forms of the wire",
    "replication.copying": "sends images to another registry, over service and client",
    "replication.run": "half of the service: the work of one run",
    "replication.runner": "half of the service: which mirrors are run when, in threads",
    "replication.signing": "signs at another trust server, over its client",
    "sandbox.container_runner": "one run, over whatever runtime",
    "sandbox.docker_engine": "the runner that drives a container engine",
    "sandbox.engine": "the engine's API, over its client library",
    "sandbox.trial": "one run in an engine",
    "scanning.cache": "keeps scans in a folder",
    "scanning.child": "the process that reads a layer",
    "scanning.contained": "starts such processes and hears them",
    "scanning.wire": "a scan as bytes, between the two",
    "trust.client": "speaks the wire to another trust server",
    "trust.key_directory": "a publisher's keys on his disk",
    "trust.publish": "a publisher's signing, over client and key directory",
    "trust.known": "what lies on a publisher's disk of the repositories he saw",
    "trust.rotation": "half of a publisher's signing: other keys",
    "trust.signers": "half of a publisher's signing: who else may",
}


def contract(name: str) -> dict[str, Any]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    found: dict[str, Any] = next(item for item in contracts if item["name"].startswith(name))
    return found


def modules_of_rooms() -> dict[str, Path]:
    """Every file of a room that is not reserved, by its name below customhouse."""
    found = {}
    for room in sorted(path for path in SOURCE.iterdir() if path.is_dir() and path.name not in NO_ROOMS):
        for file in sorted(room.rglob("*.py")):
            parts = file.relative_to(SOURCE).with_suffix("").parts
            if file.relative_to(room).parts[0] not in RESERVED and ast.parse(file.read_text()).body[1:]:
                found[".".join(parts)] = file
    return found


def imported(file: Path) -> set[str]:
    """First names of what a file imports when it runs; what is for types only is not among them."""
    tree = ast.parse(file.read_text())
    typing_only = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and isinstance(branch.test, ast.Name) and branch.test.id == "TYPE_CHECKING"
        for statement in branch.body
        for node in ast.walk(statement)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    return found


def listed_as_pure(module: str) -> bool:
    """By its own name or by that of a folder above it."""
    return any(
        f"customhouse.{module}.".startswith(f"{name}.") for name in contract("Content and metadata")["source_modules"]
    )


def test_every_module_has_its_layer() -> None:
    layers = {name.strip() for row in contract("Rooms")["layers"] for name in row.split("|")}
    there = {
        f"customhouse.{path.stem}"
        for path in SOURCE.iterdir()
        if not path.stem.startswith("_") and (path.suffix == ".py" or (path / "__init__.py").exists())
    }
    assert there == layers


def test_every_file_of_a_room_is_reserved_pure_or_named_with_a_reason() -> None:
    unnamed = [name for name in modules_of_rooms() if not listed_as_pure(name) and name not in EXCEPTIONS]
    assert unnamed == [], "list it in pyproject.toml as plain Python, or give the reason here"


def test_no_exception_is_stale_or_pure_after_all() -> None:
    there = modules_of_rooms()
    assert set(EXCEPTIONS) <= set(there)
    assert not [name for name in EXCEPTIONS if listed_as_pure(name)]


def test_no_file_that_is_listed_as_pure_imports_an_engine() -> None:
    guilty = {
        name: sorted(imported(file) & ENGINES)
        for name, file in modules_of_rooms().items()
        if listed_as_pure(name) and imported(file) & ENGINES
    }
    assert guilty == {}


def test_the_list_of_pure_files_names_nothing_that_is_gone() -> None:
    for name in contract("Content and metadata")["source_modules"]:
        path = SOURCE / Path(*name.split(".")[1:])
        assert path.is_dir() or path.with_suffix(".py").exists(), name


def test_sql_is_spoken_by_stores_only() -> None:
    """Queries are built where tables are; a service that names a connection's type does not import the engine."""
    speakers = {"db.py", "audit.py", "hub_files.py", "workflows.py"}
    builders = {"select", "insert", "update", "delete", "Table", "text"}
    guilty = []
    for file in SOURCE.rglob("*.py"):
        place = file.relative_to(SOURCE)
        if place.parts[0] == "migrations" or place.name in speakers or {"store", "store.py"} & set(place.parts):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sqlalchemy"):
                guilty += [f"{place}: {name.name}" for name in node.names if name.name in builders]
    assert guilty == []


def test_files_are_short_enough_to_be_read_at_once() -> None:
    long = {str(file.relative_to(SOURCE)): len(file.read_text().splitlines()) for file in SOURCE.rglob("*.py")}
    assert {name: lines for name, lines in long.items() if lines > 400} == {}
