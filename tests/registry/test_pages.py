"""Lists in pages while they change: what was there all the time is told exactly once."""

import threading
from collections.abc import Callable, Iterator

import pytest

from customhouse.oci import manifest as m
from tests.registry.conftest import Client, descriptor, image

WEB = "staging/alice/web"


def pages(hub: Client, path: str, user: str = "alice") -> Iterator[Client]:
    following: str | None = path
    while following:
        page = hub("GET", following, user=user)
        assert page.status == 200, page
        yield page
        link = page.headers.get("link")
        following = link[1 : link.index(">")] if link else None


def in_the_meantime(change: Callable[[int], None]) -> Callable[[], None]:
    """Somebody who keeps changing what is listed; to be called when the list was read."""
    over = threading.Event()

    def work() -> None:
        turn = 0
        while not over.is_set():
            change(turn)
            turn += 1

    thread = threading.Thread(target=work)
    thread.start()

    def end() -> None:
        over.set()
        thread.join(20)

    return end


def test_tags_that_stay_are_told_once_while_others_come_and_go(hub: Client) -> None:
    raw = hub.push_image(WEB, "stays-00")
    stay = [f"stays-{number:02}" for number in range(24)]
    for tag in stay:
        hub.push_manifest(WEB, tag, raw)
    other = Client(hub.port)

    def change(turn: int) -> None:
        name = f"stays-{turn % 24:02}-not" if turn % 2 else f"a-{turn}"
        other.push_manifest(WEB, name, raw)
        other("DELETE", f"/v2/{WEB}/manifests/{name}")

    end = in_the_meantime(change)
    try:
        for _ in range(3):
            seen = [tag for page in pages(hub, f"/v2/{WEB}/tags/list?n=3") for tag in page.json["tags"]]
            assert [tag for tag in seen if tag in stay] == stay
            assert len(set(seen)) == len(seen)
    finally:
        end()
        other.close()


def test_referrers_that_stay_are_told_once_while_others_come_and_go(
    hub: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("customhouse.registry.http.MOST_REFERRERS", 3)
    subject = hub.push_image(WEB)
    about = descriptor(subject, m.OCI_MANIFEST)

    def attach(client: Client, number: int) -> str:
        raw = image(subject=about, artifactType="text/x", annotations={"number": str(number)})
        return client.push_manifest(WEB, str(descriptor(raw, "")["digest"]), raw).headers["docker-content-digest"]

    stay = sorted(attach(hub, number) for number in range(12))
    other = Client(hub.port)

    def change(turn: int) -> None:
        other("DELETE", f"/v2/{WEB}/manifests/{attach(other, 100 + turn)}")

    path = f"/v2/{WEB}/referrers/{about['digest']}?artifactType=text/x"
    end = in_the_meantime(change)
    try:
        for _ in range(3):
            seen = []
            for page in pages(hub, path):
                assert page.headers["oci-filters-applied"] == "artifactType"
                seen += [found["digest"] for found in page.json["manifests"]]
            assert [digest for digest in seen if digest in stay] == stay
            assert len(set(seen)) == len(seen)
    finally:
        end()
        other.close()


def test_all_repositories_are_listed_in_pages_for_those_who_may(hub: Client) -> None:
    names = [f"staging/alice/{name}" for name in ("a", "b", "c", "d-e", "d/e")]
    for name in names:
        hub.push_image(name)
    told = [page.json["repositories"] for page in pages(hub, "/v2/_catalog?n=2", user="root")]
    assert told == [names[0:2], names[2:4], names[4:]]
    assert hub("GET", "/v2/_catalog?last=staging/alice/c", user="root").json["repositories"] == names[3:]
    assert hub("GET", "/v2/_catalog?n=x", user="root").status == 400
    assert hub("GET", "/v2/_catalog").status == 401
    assert hub("GET", "/v2/_catalog", user=None).status == 401
    assert hub("DELETE", "/v2/_catalog", user="root").codes == ["UNSUPPORTED"]
