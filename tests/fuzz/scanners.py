"""Scanners for secrets and malware under fuzzing: what they say of any bytes is bounded, and never the bytes."""

import base64
import collections
import json
import pickle
import struct
from collections.abc import Iterator

from customhouse.certification.findings import Severity
from customhouse.certification.malware.clamd import ClamdFailed, parse_answer
from customhouse.certification.malware.pickles import MOST_IMPORTS, PICKLES, Unreadable, scan, weight
from customhouse.certification.secrets.engine import MOST_SIGHTINGS, UNFINISHED, find
from customhouse.certification.secrets.keys import CREDENTIALS
from customhouse.certification.secrets.reader import SECRETS
from customhouse.oci.entry import FileEntry

# The first byte says as which file the rest is read.
PATHS = (
    "app/notes.txt", "app/.env", "app/k8s.yaml", "app/.netrc", "app/.htpasswd", "app/nuget.config", "root/.npmrc",
    "root/.kube/config", "root/.docker/config.json", "root/.pypirc", "root/.aws/credentials", "root/.pgpass", "a.jks",
    "a.p12", "a.ppk", "a.der", "a.kdbx", "root/.m2/settings.xml", "terraform.tfstate", "config/master.key",
    "node_modules/a/index.js",
)  # fmt: skip
# What the parsers of credentials refuse with; the pass makes an unread file of it.
REFUSALS = (ValueError, RecursionError, struct.error)


def secrets(data: bytes) -> bool:
    """Every text rule, and the files of credentials. True if anything was found, or nothing had to be."""
    if not data:
        return False
    path, body = PATHS[data[0] % len(PATHS)], data[1:]
    facts: list[object] = []
    for reader in (SECRETS, CREDENTIALS):
        if not reader.wants(FileEntry(path, "file", len(body), head=body[:256])):
            continue
        try:
            facts += list(reader.read(path, body))
        except REFUSALS:
            assert reader is CREDENTIALS
    assert len(facts) <= 4 * MOST_SIGHTINGS
    for fact in facts:
        assert isinstance(fact, dict) and Severity(str(fact["severity"])) and len(json.dumps(fact)) < 1000
    for seen in find(body):
        assert seen.rule == UNFINISHED or body[seen.offset : seen.offset + seen.length]
        assert body.count(b"\n", 0, seen.offset) + 1 == seen.line
    return bool(facts)


def secrets_seeds() -> Iterator[bytes]:
    token = ("gh" + "p_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8").encode()
    word = b"Zq8" + b"vN3kT6wL"
    dashes = b"-" * 5
    login = base64.b64encode(b"bob:" + word)
    texts = {
        "app/notes.txt": b"token = " + token + b"\n" + dashes + b"BEGIN RSA PRIVATE KEY" + dashes + b"\n" + b"QUJD" * 40
        + b"\n" + dashes + b"END RSA PRIVATE KEY" + dashes + b"\nurl: postgres://app:" + word + b"@db.example/x",
        "app/.env": b"DB_PASSWORD=" + word + b"\n", "root/.npmrc": b"//r.example/:_authToken=" + word,
        "root/.kube/config": b"users:\n- user:\n    token: " + word,
        "root/.docker/config.json": b'{"auths": {"r.example": {"auth": "' + login + b'"}}}',
        "a.jks": b"\xfe\xed\xfe\xed" + struct.pack(">IIIH", 2, 1, 1, 1) + b"a",
        "a.ppk": b"PuTTY-User-Key-File-3: x\nEncryption: none\n",
        "app/k8s.yaml": b"kind: Secret\ndata:\n  a: " + login + b"\n",
    }  # fmt: skip
    for path, text in texts.items():
        yield bytes([PATHS.index(path)]) + text


def malware(data: bytes) -> bool:
    """Pickles and archives of them, and what clamd answers, after the first byte."""
    if not data:
        return False
    kind, body = data[0] % 3, data[1:]
    if kind == 0:
        found = scan(body)
        assert len(found.imports) <= 2 * MOST_IMPORTS
        return all(weight(*one) in (None, *Severity) for one in found.imports) and not found.partial
    if kind == 1:
        try:
            facts = list(PICKLES.read("model.pt", body))
        except Unreadable:
            return False
        return all(isinstance(fact, dict) and len(json.dumps(fact)) < 4000 for fact in facts)
    try:
        name = parse_answer(body)
    except ClamdFailed:
        return False
    assert name is None or (name.isprintable() and len(name) <= 200)
    return True


def malware_seeds() -> Iterator[bytes]:
    value = [collections.OrderedDict(a=1), {1, 2}, 2**70, "text", b"bytes", 1.5, None]
    for protocol in range(6):
        yield b"\0" + pickle.dumps(value, protocol)
    yield b"\1" + pickle.dumps(value)
    yield b"\2stream: OK\0"
    yield b"\2stream: Eicar-Test FOUND\0"
