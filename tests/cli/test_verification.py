"""Verification without a network: every rule at the present time, from a bundle or from what was kept."""

import json
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from customhouse.cli.consumer import Answer, Verification
from customhouse.cli.kept import Kept
from customhouse.cli.local_images import examine_content, open_image
from customhouse.errors import Undetermined
from customhouse.oci.reference import Reference
from customhouse.testing import images
from customhouse.testing.trust_simulator import TrustSimulator
from customhouse.trust.bundle import Bundle, BundledRepository, BundledRoot
from customhouse.trust.names import RELEASES, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, RoleName

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
HOST, NAME = "hub.example", "hub.example/acme/web"
IMAGE = images.minimal_server_image(style="oci")
HUB = RoleName.parse("targets/customhouse")


def simulator() -> TrustSimulator:
    """An official repository as the hub makes it: two delegations with one tag."""
    made = TrustSimulator(NAME, NOW, common_name=f"{HOST}/*")
    for role in (RELEASES, HUB):
        made.delegate(role)
        made.sign_tag("1", IMAGE.manifest_raw, role)
    return made


@pytest.fixture
def sim() -> TrustSimulator:
    return simulator()


def bundle_of(sim: TrustSimulator, files: Mapping[RoleName, bytes] | None = None) -> Bundle:
    files = sim.files() if files is None else files
    root = BundledRoot(sim.keys[ROOT][0].public.public.decode())
    listed = (BundledRepository(sim.gun, files[ROOT], files),) if files else ()
    return Bundle(HOST, f"https://{HOST}", "customhouse", NOW, (root,), "", listed)


@pytest.fixture
def asked(tmp_path: Path) -> Callable[..., Answer]:
    def ask(
        bundle: Bundle | None, reference: str = f"{NAME}:1", now: datetime = NOW, image: str = ""
    ) -> Answer:
        return Verification(Reference.parse(reference), tmp_path / "state", now, bundle, image).offline()

    return ask


Ask = Callable[..., Answer]


def test_a_bundle_with_metadata_certifies_and_says_what_it_did_not_ask(sim: TrustSimulator, asked: Ask) -> None:
    found = asked(bundle_of(sim))
    assert (found.verdict, found.digest, found.signers, found.role) == (
        "certified", IMAGE.digest, ("customhouse",), RELEASES
    )
    assert found.expires == NOW + timedelta(days=14)
    assert found.reason == "signed by the hub; what the registry gives was not asked"
    assert found.document()["checked"] == {"metadata": "bundle", "registry": False, "content": False}
    assert found.root == "bundle"


@pytest.mark.parametrize(
    ("spoil", "reason", "role"),
    [
        (lambda sim: sim.forge(TIMESTAMP), "timestamp version 1 has 0 of 1 needed signatures", "timestamp"),
        (lambda sim: sim.swap_key(SNAPSHOT), "snapshot version 1 has 0 of 1 needed signatures", "snapshot"),
        (lambda sim: sim.change_hash(TARGETS), "the hash of targets is not the one that snapshot names", "targets"),
        (lambda sim: sim.change_length(ROOT), "the length of root is not the one that snapshot names", "root"),
        (lambda sim: sim.remove_tag("1", RELEASES), "tag 1 is not signed by the hub", None),
    ],
)
def test_what_is_altered_or_not_signed_is_not_certified_with_role_and_reason(
    sim: TrustSimulator, asked: Ask, spoil: Callable[[TrustSimulator], None], reason: str, role: str | None
) -> None:
    spoil(sim)
    found = asked(bundle_of(sim))
    assert (found.verdict, found.document()["role"]) == ("not_certified", role)
    assert found.reason == reason


def test_missing_signatures_are_counted(sim: TrustSimulator, asked: Ask) -> None:
    sim.forge(TIMESTAMP)
    assert asked(bundle_of(sim)).document()["missing"] == {"role": "timestamp", "version": 1, "valid": 0, "needed": 1}


def test_a_delegation_that_is_left_out_is_named_with_what_it_lacks(asked: Ask) -> None:
    sim = simulator()
    sim.forge(RELEASES)
    found = asked(bundle_of(sim))
    assert found.verdict == "not_certified"
    assert found.reason == (
        "tag 1 is not signed by the hub; "
        "targets/releases is left out: targets/releases version 1 has 0 of 1 needed signatures"
    )
    assert found.document()["missing"] == {"role": "targets/releases", "version": 1, "valid": 0, "needed": 1}


def test_a_root_that_is_not_the_bundles_is_not_certified(sim: TrustSimulator, asked: Ask) -> None:
    other = simulator()
    found = asked(replace(bundle_of(sim), repositories=bundle_of(other).repositories))
    assert (found.verdict, found.role) == ("not_certified", ROOT)
    assert "is not one that was enrolled" in found.reason


def test_what_has_expired_is_undetermined_and_says_until_when_it_was_good(sim: TrustSimulator, asked: Ask) -> None:
    bundle, later = bundle_of(sim), NOW + timedelta(days=15)
    found = asked(bundle, now=later)
    assert (found.verdict, found.role, found.expires) == ("undetermined", TIMESTAMP, NOW + timedelta(days=14))
    assert found.reason == (
        "timestamp version 1 expired on 2026-12-08 12:00 UTC: what is at hand here was good until "
        "2026-12-08 12:00 UTC, and it was signed by the hub then"
    )
    assert "--metadata" in found.hint
    unsigned = asked(bundle, f"{NAME}:2", now=later)
    assert unsigned.verdict == "undetermined" and unsigned.reason.endswith("it was not signed by the hub then")


def test_what_has_expired_and_was_never_right_is_not_certified(sim: TrustSimulator, asked: Ask) -> None:
    sim.forge(SNAPSHOT)
    found = asked(bundle_of(sim), now=NOW + timedelta(days=15))
    assert (found.verdict, found.reason) == ("not_certified", "snapshot version 1 has 0 of 1 needed signatures")


def test_an_older_bundle_after_a_newer_one_is_a_rollback_once_the_newer_is_gone(
    sim: TrustSimulator, asked: Ask, tmp_path: Path
) -> None:
    old = bundle_of(sim)
    sim.bump(SNAPSHOT, TIMESTAMP)
    new = bundle_of(sim)
    assert asked(new).verdict == "certified"
    kept = asked(old)  # the newer files were kept, and are taken
    assert (kept.verdict, kept.checked.metadata) == ("certified", "kept")
    folder = Kept(tmp_path / "state", sim.gun).folder
    for path in folder.glob("timestamp.*"):
        path.unlink()
    found = asked(old)
    assert (found.verdict, found.role) == ("not_certified", TIMESTAMP)
    assert found.reason == "timestamp version 1 is older than version 2, which was seen before"


def test_versions_that_were_seen_never_go_down(sim: TrustSimulator, tmp_path: Path, asked: Ask) -> None:
    old = bundle_of(sim)
    sim.bump(SNAPSHOT, TIMESTAMP)
    asked(bundle_of(sim))
    before = Kept(tmp_path / "state", sim.gun)
    asked(replace(old, repositories=()), now=NOW + timedelta(hours=1))
    asked(old)
    after = Kept(tmp_path / "state", sim.gun)
    assert after.versions == before.versions and after.versions[TIMESTAMP] == 2


def test_what_was_kept_is_enough_the_next_time_and_knows_its_root(sim: TrustSimulator, asked: Ask) -> None:
    nothing = asked(None)
    assert (nothing.verdict, nothing.hint) == (
        "undetermined", "Verify it once with a network, or bring a bundle of customhouse trust export --metadata."
    )
    asked(bundle_of(sim))
    found = asked(None)
    assert (found.verdict, found.root, found.checked.metadata) == ("certified", "known", "kept")


def test_damage_of_what_was_kept_is_never_trusted(sim: TrustSimulator, asked: Ask, tmp_path: Path) -> None:
    asked(bundle_of(sim))
    kept = Kept(tmp_path / "state", sim.gun)
    for path in kept.folder.glob("targets+releases.*"):
        path.write_bytes(path.read_bytes().replace(b"sha256", b"sha257"))
    found = asked(None)
    assert found.verdict == "undetermined" and "is damaged" in found.reason
    (kept.folder / "seen.json").write_text("{}")
    assert "is damaged: which versions were seen before is not known" in asked(bundle_of(sim)).reason
    with pytest.raises(Undetermined):
        Kept(tmp_path / "state", sim.gun)


def test_a_rotated_root_is_followed_from_the_kept_one(sim: TrustSimulator, asked: Ask) -> None:
    first = bundle_of(sim)
    asked(first)
    sim.rotate_root()
    sim.bump(SNAPSHOT, TIMESTAMP)
    rotated = bundle_of(sim).repositories
    found = asked(replace(first, repositories=rotated))  # the pinned key is the old one; the new root has both
    assert found.verdict == "certified", found.reason
    assert found.versions[ROOT] == 2


def test_a_rotated_root_is_followed_by_the_earlier_roots_of_the_bundle(sim: TrustSimulator, asked: Ask) -> None:
    pinned = bundle_of(sim).roots
    for _ in range(2):
        sim.rotate_root()
    files = sim.files()
    earlier = tuple(raw for raw in sim.roots if raw != files[ROOT])
    listed = (BundledRepository(sim.gun, files[ROOT], files, earlier),)
    found = asked(replace(bundle_of(sim), roots=pinned, repositories=listed))
    assert found.verdict == "certified", found.reason
    assert found.versions[ROOT] == 3
    cut = (BundledRepository(sim.gun, files[ROOT], files, earlier[1:]),)
    assert asked(replace(bundle_of(sim), roots=pinned, repositories=cut), now=NOW).verdict == "certified"  # kept


def test_a_copy_is_certified_when_every_byte_is_the_signed_one(sim: TrustSimulator, asked: Ask, tmp_path: Path) -> None:
    folder = images.write_oci_layout(IMAGE, tmp_path / "copy")
    found = asked(bundle_of(sim), image=f"oci-layout:{folder}")
    pieces, size = len(IMAGE.blobs) + 1, len(IMAGE.manifest_raw) + sum(map(len, IMAGE.blobs.values()))
    assert found.verdict == "certified" and found.checked.content
    assert found.reason == (
        f"signed by the hub, and the copy here is exactly that: {pieces} pieces, {size} bytes, all hashed"
    )


def test_one_changed_byte_below_the_right_manifest_is_not_certified(
    sim: TrustSimulator, asked: Ask, tmp_path: Path
) -> None:
    folder = images.write_oci_layout(IMAGE, tmp_path / "copy")
    digest = next(digest for digest in IMAGE.blobs if digest != IMAGE.digest)
    blob = folder / "blobs" / "sha256" / digest.hex
    raw = blob.read_bytes()
    blob.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    found = asked(bundle_of(sim), image=f"oci-layout:{folder}")
    assert (found.verdict, found.reason) == (
        "not_certified", f"the copy here is damaged: {digest} is not what it says"
    )
    blob.write_bytes(raw + b"x")
    assert asked(bundle_of(sim), image=f"oci-layout:{folder}").verdict == "not_certified"
    blob.unlink()
    assert "is missing from the image" in asked(bundle_of(sim), image=f"oci-layout:{folder}").reason


def test_another_image_is_not_certified_and_a_path_without_one_is_undetermined(
    sim: TrustSimulator, asked: Ask, tmp_path: Path
) -> None:
    other = images.minimal_server_image(style="oci", Labels={"other": "yes"})
    folder = images.write_oci_layout(other, tmp_path / "other")
    found = asked(bundle_of(sim), image=f"oci-layout:{folder}")
    assert found.reason == f"the copy here is {other.digest}, the hub signed {IMAGE.digest}"
    assert found.verdict == "not_certified"
    assert asked(bundle_of(sim), image=f"oci-layout:{tmp_path / 'none'}").verdict == "undetermined"
    assert asked(bundle_of(sim), f"{NAME}:2", image=f"oci-layout:{folder}").checked.content is False


def test_a_copy_does_not_make_up_for_old_metadata(sim: TrustSimulator, asked: Ask, tmp_path: Path) -> None:
    folder = images.write_oci_layout(IMAGE, tmp_path / "copy")
    found = asked(bundle_of(sim), now=NOW + timedelta(days=15), image=f"oci-layout:{folder}")
    assert found.verdict == "undetermined" and found.checked.content


def test_every_field_of_the_document_is_json_and_always_there(sim: TrustSimulator, asked: Ask) -> None:
    fields = {
        "reference", "digest", "verdict", "reason", "hint", "role", "missing", "versions", "signers", "expires",
        "checked", "root",
    }
    sim.forge(TIMESTAMP)
    for answer in (asked(bundle_of(simulator())), asked(bundle_of(sim)), asked(None, f"{HOST}/acme/other:1")):
        assert set(json.loads(json.dumps(answer.document()))) == fields


@pytest.mark.needs("skopeo")
@pytest.mark.parametrize("style", ["docker", "oci"])
def test_what_skopeo_writes_to_dir_is_the_image_with_all_its_platforms(tmp_path: Path, style: images.Style) -> None:
    other = images.image([images.layer({"x": "y"})], config=images.server_config(), style=style, architecture="arm64")
    both = images.index([images.minimal_server_image(style=style), other], style=style)
    source, target = images.write_oci_layout(both, tmp_path / "source"), tmp_path / "target"
    subprocess.run(
        ["skopeo", "--insecure-policy", "copy", "--all", "--preserve-digests", f"oci:{source}", f"dir:{target}"],
        check=True, capture_output=True, timeout=60,
    )
    local = open_image(f"dir:{target}")
    pieces = {both.digest, *both.blobs}
    assert local.digest == both.digest
    assert examine_content(local) == (len(pieces), len(both.manifest_raw) + sum(map(len, both.blobs.values())))


def test_where_nothing_can_be_kept_the_answer_is_undetermined_and_says_where(
    sim: TrustSimulator, asked: Ask, tmp_path: Path
) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    found = asked(bundle_of(sim))
    assert found.verdict == "undetermined" and "XDG_STATE_HOME" in found.hint
    assert found.reason.startswith(f"what was seen cannot be kept in {tmp_path / 'state'}")
