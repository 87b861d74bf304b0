"""Collection never races a push: several processes push, pull, mount, delete and push again while others collect
without pause and with hardly any grace. Whatever was acknowledged and not deleted is whole at every moment and after.
"""

import json
import random
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from customhouse.audit import Audit
from customhouse.blobs import BlobStore
from customhouse.blobs.files import FileBlobs
from customhouse.db import Database
from customhouse.errors import Conflict, CustomhouseError, NotFound, Unavailable
from customhouse.oci.digest import Digest
from customhouse.registry.content import BlobUnknown, ContentMissing, UploadUnknown
from customhouse.registry.service import RegistryService
from customhouse.registry.store import RegistryStore
from customhouse.registry.sweep import ALL_SHARDS, Grace
from tests.registry.conftest import CONFIG, descriptor, image

HARDLY = Grace(*(timedelta(milliseconds=50) for _ in range(3)), timedelta(seconds=1), timedelta(milliseconds=50))
REPOSITORIES = [f"staging/acme/{name}" for name in "abc"]
LAYERS = [f"layer {number}".encode() * 50 for number in range(40)]
PUSHERS, THREADS, SWEEPERS = 2, 3, 2
AGAIN = (ContentMissing, UploadUnknown, BlobUnknown, Unavailable, Conflict)  # what a client meets with such a grace


def registry(url: str, root: str) -> RegistryService:
    database = Database(url)
    return RegistryService(
        RegistryStore(database), store_at(root), Audit(database), lambda: datetime.now(UTC), HARDLY
    )


def store_at(root: str) -> BlobStore:
    """A folder, or `s3://BUCKET/PREFIX@ENDPOINT`."""
    if not root.startswith("s3://"):
        return FileBlobs(Path(root))
    from customhouse.blobs.s3 import Place, S3Blobs  # extras, which this file can do without
    from tests.peers.rgw import KEY, SECRET

    url, endpoint = root.split("@")
    return S3Blobs(Place(url, endpoint, "", KEY, SECRET))


class Pusher:
    """One client with tags of its own in shared repositories, so that it knows what must be there."""

    def __init__(self, service: RegistryService, seed: str, end: float) -> None:
        self.service, self.seed, self.end = service, seed, end
        self.chance = random.Random(seed)
        self.mine: dict[tuple[str, str], bytes] = {}
        self.done = {"pushed": 0, "refused": 0, "pulled": 0, "deleted": 0, "mounted": 0}
        self.failure = ""

    def run(self) -> None:
        try:
            while time.monotonic() < self.end:
                act = self.chance.choice((self.push, self.push, self.pull, self.delete, self.leave))
                try:
                    act()
                except AGAIN:
                    self.done["refused"] += 1
            for place in list(self.mine):
                self.check(place)
        except BaseException as error:
            self.failure = f"{self.seed}: {type(error).__name__}: {error}"

    def push(self) -> None:
        place = self.chance.choice(REPOSITORIES), f"{self.seed}-{self.chance.randrange(4)}"
        layers = [CONFIG, *self.chance.sample(LAYERS, 2)]
        for content in layers:
            self.blob(place[0], content)
        raw = json.dumps({
            **json.loads(image(layers[1])), "annotations": {"by": f"{self.seed} {self.chance.random()}"},
            "layers": [descriptor(layer, "application/vnd.oci.image.layer.v1.tar") for layer in layers[1:]],
        }).encode()
        self.service.push_manifest(*place, raw, None)
        was, self.mine[place] = self.mine.get(place), raw
        self.done["pushed"] += 1
        if was is not None:  # else it would keep its layers without a tag
            self.service.delete_manifest(place[0], Digest.of(was), self.seed)

    def blob(self, repository: str, content: bytes) -> None:
        """As docker does: HEAD, mount, then an upload."""
        digest = Digest.of(content)
        try:
            self.service.blob(repository, digest)
            return
        except BlobUnknown:
            pass
        if self.service.mount(repository, digest, self.chance.choice(REPOSITORIES)):
            self.done["mounted"] += 1
            return
        self.upload(repository, content)

    def upload(self, repository: str, content: bytes) -> None:
        name = self.service.uploads.begin(repository)
        upload = self.service.uploads.resume(repository, name)
        try:
            upload.write(content)
            self.service.uploads.finish(repository, name, upload, Digest.of(content))
        finally:
            upload.close()

    def leave(self) -> None:
        """Send a layer that manifests may need already, and no manifest; or begin an upload."""
        repository = self.chance.choice(REPOSITORIES)
        self.upload(repository, self.chance.choice(LAYERS))
        self.service.uploads.begin(repository)

    def pull(self) -> None:
        if self.mine:
            self.check(self.chance.choice(list(self.mine)))
            self.done["pulled"] += 1

    def check(self, place: tuple[str, str]) -> None:
        """What was acknowledged is whole."""
        try:
            found = self.service.resolve(*place)
            assert found.raw == self.mine[place], f"{place} points at something else"
            document = json.loads(found.raw)
            for child in (document["config"], *document["layers"]):
                with self.service.open_blob(place[0], Digest(child["digest"])) as stream:
                    assert Digest.of(stream.read()) == child["digest"], f"{child} is not whole"
        except NotFound as error:
            raise AssertionError(f"{place} was acknowledged, and {error}") from error

    def delete(self) -> None:
        if not self.mine:
            return
        place = self.chance.choice(list(self.mine))
        self.service.delete_manifest(place[0], Digest.of(self.mine[place]), self.seed)
        del self.mine[place]
        self.done["deleted"] += 1


def push(url: str, root: str, seed: str, seconds: str) -> None:
    service, end = registry(url, root), time.monotonic() + float(seconds)
    pushers = [Pusher(service, f"{seed}{number}", end) for number in range(THREADS)]
    threads = [threading.Thread(target=each.run) for each in pushers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = {name: sum(each.done[name] for each in pushers) for name in pushers[0].done}
    kept = [(*place, Digest.of(raw)) for each in pushers for place, raw in each.mine.items()]
    print(json.dumps({"done": done, "kept": kept, "failures": [each.failure for each in pushers if each.failure]}))


def sweep(url: str, root: str, seconds: str) -> None:
    service, end = registry(url, root), time.monotonic() + float(seconds)
    total = [0, 0, 0, 0, 0]
    failures = []
    shards = ALL_SHARDS if isinstance(service.blobs, FileBlobs) else ()  # in a bucket each shard is a question more
    while time.monotonic() < end:
        try:
            swept = service.sweep(datetime.now(UTC), shards=shards)
        except CustomhouseError as error:
            failures.append(f"{type(error).__name__}: {error.message}")
            continue
        each = (swept.links, swept.blobs, swept.manifests, swept.orphans, swept.uploads)
        total = [one + more for one, more in zip(total, each, strict=True)]
    print(json.dumps({"swept": total, "failures": failures}))


def stress(url: str, root: str, seconds: int) -> None:
    made = Database(url)
    service = registry(url, root)

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", __name__, *arguments]
        return subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True)

    pushers = [start("push", url, root, f"p{number}", str(seconds)) for number in range(PUSHERS)]
    sweepers = [start("sweep", url, root, str(seconds)) for _ in range(SWEEPERS)]
    pushed = [json.loads(each.communicate(timeout=seconds + 60)[0]) for each in pushers]
    swept = [json.loads(each.communicate(timeout=seconds + 60)[0]) for each in sweepers]
    print(pushed[0]["done"], [each["swept"] for each in swept])
    assert [each["failures"] for each in (*pushed, *swept)] == [[]] * (PUSHERS + SWEEPERS)
    assert list(service.breaches(rehash=True)) == []
    for report in pushed:
        assert report["done"]["pushed"] > seconds and report["done"]["deleted"] > 0
        for repository, tag, digest in report["kept"]:
            assert service.resolve(repository, tag).digest == digest
    links, blobs, manifests, *_ = (sum(each) for each in zip(*(report["swept"] for report in swept), strict=True))
    assert links > 0 and blobs > 0 and manifests > 0, "nothing was collected, so nothing was proved"
    # At rest everything that is not needed goes, and nothing else.
    time.sleep(0.2)
    service.sweep(datetime.now(UTC) + timedelta(days=9), shards=())
    service.sweep(datetime.now(UTC) + timedelta(days=9))
    with service.store.read() as tx:
        held = [item for name in REPOSITORIES for item in service.store.all_tags(tx, name)]
        needed = service.store.below(tx, {digest for _, _, digest in held})[1]
    assert set(service.blobs.digests()) == set(needed)
    assert list(service.breaches(rehash=True)) == []
    made.close()


def test_nothing_is_lost_while_everything_is_pushed_deleted_and_collected(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    stress(database_url, str(tmp_path / "blobs"), 15)


@pytest.mark.slow
def test_nothing_is_lost_in_a_long_time_either(database: Database, database_url: str, tmp_path: Path) -> None:
    stress(database_url, str(tmp_path / "blobs"), 120)


if __name__ == "__main__":
    {"push": push, "sweep": sweep}[sys.argv[1]](*sys.argv[2:])
