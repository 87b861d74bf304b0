"""What a registry may answer when something is to be signed: refused with a sentence, before any key is opened."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from customhouse.oci.manifest import DOCKER_MANIFEST, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST
from customhouse.testing.images import minimal_server_image
from tests.cli.conftest import Person

GOOD = minimal_server_image(style="oci")
CONFIG = {"mediaType": OCI_CONFIG, "digest": "sha256:" + "0" * 64, "size": 2}
ANSWERS: dict[str, tuple[int, str, bytes, str]] = {
    "schema1": (200, "application/vnd.docker.distribution.manifest.v1+prettyjws",
                b'{"schemaVersion":1,"name":"a","tag":"1","fsLayers":[],"history":[]}', "is docker schema 1"),
    "noise": (200, OCI_MANIFEST, b"<html>", "the manifest"),
    "unknown": (200, "text/plain", b'{"schemaVersion":2,"layers":[]}', "is of the unknown type 'text/plain'"),
    "both": (200, OCI_INDEX, json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [], "layers": []})
             .encode(), "could be read as two things"),
    "other": (200, DOCKER_MANIFEST, GOOD.manifest_raw, "and was sent as"),
    "chart": (200, OCI_MANIFEST, json.dumps({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [],
        "config": {**CONFIG, "mediaType": "application/vnd.cncf.helm.config.v1+json"}}).encode(),
        "is of an artifact (application/vnd.cncf.helm.config.v1+json), not of an image"),
    "large": (200, OCI_MANIFEST, b" " * (4 * 1024 * 1024 + 1), "is larger than 4 MiB"),
    "absent": (404, "application/json", b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no such manifest"}]}',
               "has no tag absent in the registry"),
}  # fmt: skip


class Registry(BaseHTTPRequestHandler):
    answers: ClassVar = ANSWERS

    def do_GET(self) -> None:
        status, kind, body, _ = self.answers.get(self.path.rpartition("/")[2], (200, "application/json", b"{}", ""))
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None: ...


@pytest.fixture(scope="module")
def registry() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("tag", ANSWERS)
def test_what_cannot_be_signed_is_refused_with_a_sentence(registry: str, tag: str, stranger: Person) -> None:
    said = stranger(
        "image", "sign", f"{registry}/acme/web:{tag}", "--url", f"http://{registry}", "--insecure", code=1
    )  # fmt: skip
    assert ANSWERS[tag][3] in said.err, said.err
    assert "hint: " in said.err
    assert not (stranger.home / ".docker").exists()


