"""What `blobs/__init__.py` promises, as tests that every store has to pass; each makes a class of it."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from customhouse.blobs import BlobMissing, BlobStore, DigestMismatch, UploadBusy
from customhouse.errors import Invalid
from customhouse.oci.digest import Digest

SMALL = b"small content"
CONTENT = os.urandom(11_000_000)  # more than one part of a multipart upload
DIGEST = Digest.of(CONTENT)
HALF = 9_000_000
Make = Callable[[], BlobStore]


class StoreContract:
    """`make` gives a store as a process of its own would see it: over the same bytes, with an empty memory."""

    def test_what_was_added_is_read_back_and_counted(self, make: Make) -> None:
        digest = make().add(SMALL)
        assert digest == Digest.of(SMALL)
        with make().open(digest) as stream:
            assert stream.read() == SMALL
        assert make().stat(digest) == len(SMALL)
        assert list(make().digests()) == [digest]

    def test_a_store_bears_the_mark_of_its_hub_which_is_no_blob(self, make: Make) -> None:
        assert make().owner() == ""
        make().claim("a hub")
        assert make().owner() == "a hub"
        assert (list(make().digests()), list(make().unfinished(_later()))) == ([], [])  # type: ignore[attr-defined]

    def test_an_empty_blob_is_a_blob(self, make: Make) -> None:
        make().upload("u1").commit(Digest.of(b""))
        assert make().stat(Digest.of(b"")) == 0
        assert make().open(Digest.of(b"")).read() == b""

    def test_an_absent_blob_is_said_to_be_absent(self, make: Make) -> None:
        store = make()
        assert store.stat(DIGEST) is None
        with pytest.raises(BlobMissing):
            store.open(DIGEST)
        store.delete(DIGEST)

    def test_a_blob_is_deleted_once_and_a_second_time_without_harm(self, make: Make) -> None:
        digest = make().add(SMALL)
        make().delete(digest)
        make().delete(digest)
        assert make().stat(digest) is None

    def test_an_upload_goes_on_in_another_process(self, make: Make) -> None:
        first = make().upload("u1")
        for start in range(0, HALF, 500_000):
            first.write(CONTENT[start : start + 500_000])
        assert first.offset == HALF
        first.close()
        second = make().upload("u1")
        assert second.offset == HALF
        second.write(memoryview(CONTENT)[HALF:])
        assert second.commit(DIGEST) == len(CONTENT)
        assert make().open(DIGEST).read() == CONTENT
        assert list(make().unfinished(_later())) == []  # type: ignore[attr-defined]

    def test_an_upload_goes_on_in_the_same_process_in_small_pieces(self, make: Make) -> None:
        store = make()
        for start in range(0, 300_000, 100_000):
            upload = store.upload("u1")
            assert upload.offset == start
            upload.write(CONTENT[start : start + 100_000])
            upload.close()
        assert store.upload("u1").commit(Digest.of(CONTENT[:300_000])) == 300_000

    def test_a_buffer_may_be_used_again_once_it_is_written(self, make: Make) -> None:
        content = CONTENT + CONTENT[::-1]  # several parts
        upload, buffer = make().upload("u1"), bytearray(1024 * 1024)
        for start in range(0, len(content), len(buffer)):
            piece = content[start : start + len(buffer)]
            buffer[: len(piece)] = piece
            upload.write(memoryview(buffer)[: len(piece)])
            buffer[:] = bytes(len(buffer))
        upload.commit(Digest.of(content))
        assert make().open(Digest.of(content)).read() == content

    def test_one_request_is_committed_by_the_next(self, make: Make) -> None:
        store = make()
        upload = store.upload("u1")
        upload.write(CONTENT)
        upload.close()
        assert store.upload("u1").commit(DIGEST) == len(CONTENT)
        assert make().open(DIGEST).read() == CONTENT

    def test_a_hash_lost_with_its_process_is_made_again(self, make: Make) -> None:
        upload = make().upload("u1")
        upload.write(CONTENT)
        upload.close()
        assert make().upload("u1").commit(DIGEST) == len(CONTENT)
        assert make().stat(DIGEST) == len(CONTENT)

    def test_a_kept_hash_is_not_trusted_when_another_process_wrote_on(self, make: Make) -> None:
        ours = make()
        upload = ours.upload("u1")
        upload.write(CONTENT[:1000])
        upload.close()
        theirs = make().upload("u1")
        theirs.write(CONTENT[1000:])
        theirs.close()
        assert ours.upload("u1").commit(DIGEST) == len(CONTENT)

    @pytest.mark.parametrize("size", [len(SMALL), len(CONTENT)])
    def test_sha512_is_as_good(self, make: Make, size: int) -> None:
        digest = Digest.of(CONTENT[:size], "sha512")
        upload = make().upload("u1")
        upload.write(CONTENT[:size])
        upload.commit(digest)
        assert list(make().digests()) == [digest]

    @pytest.mark.parametrize("size", [len(SMALL), len(CONTENT)])
    @pytest.mark.parametrize("pieces", [1, 2])
    def test_wrong_bytes_never_appear_and_leave_nothing(self, make: Make, size: int, pieces: int) -> None:
        name = f"u{pieces}"
        for piece in range(pieces):
            upload = make().upload(name)
            upload.write(CONTENT[:size][piece * size // pieces : (piece + 1) * size // pieces])
            if piece < pieces - 1:
                upload.close()
        wrong = Digest.of(b"something else")
        with pytest.raises(DigestMismatch) as refused:
            upload.commit(wrong)
        assert refused.value.found == Digest.of(CONTENT[:size])
        upload.cancel()
        assert make().stat(wrong) is None and list(make().digests()) == []
        assert list(make().unfinished(_later())) == []  # type: ignore[attr-defined]

    def test_one_writer_at_a_time(self, make: Make) -> None:
        first = make().upload("u1")
        with pytest.raises(UploadBusy):
            make().upload("u1")
        make().upload("u2").close()
        first.close()
        make().upload("u1").close()

    @pytest.mark.parametrize("size", [len(SMALL), len(CONTENT)])
    def test_what_is_cancelled_is_gone(self, make: Make, size: int) -> None:
        upload = make().upload("u1")
        upload.write(CONTENT[:size])
        upload.close()
        upload = make().upload("u1")
        upload.write(CONTENT)
        upload.cancel()
        upload.close()
        assert list(make().unfinished(_later())) == []  # type: ignore[attr-defined]
        assert make().upload("u1").offset == 0

    def test_a_commit_heals_bytes_that_were_altered(self, make: Make, alter: Callable[[Digest, bytes], None]) -> None:
        digest = make().add(SMALL)
        alter(digest, b"altered")
        make().add(SMALL)
        assert make().open(digest).read() == SMALL
        alter(digest, b"altered")
        upload = make().upload("u1")
        upload.write(SMALL)
        upload.commit(digest)
        assert make().open(digest).read() == SMALL

    def test_blobs_are_told_by_age_and_by_shard(self, make: Make) -> None:
        store = make()
        kept = {store.add(bytes([number])) for number in range(8)}
        assert set(store.digests()) == kept
        assert list(store.digests(_later() - timedelta(days=2))) == []
        assert set(store.digests(_later())) == kept
        for digest in kept:
            assert digest in store.digests(None, int(digest.hex[:2], 16))
            assert digest not in store.digests(None, int(digest.hex[:2], 16) ^ 1)

    def test_unfinished_uploads_are_told_by_age(self, make: Make) -> None:
        upload = make().upload("u1")
        upload.write(SMALL)
        upload.close()
        assert list(make().unfinished(_later())) == ["u1"]  # type: ignore[attr-defined]
        assert list(make().unfinished(_later() - timedelta(days=2))) == []  # type: ignore[attr-defined]

    def test_a_blob_can_be_read_from_anywhere(self, make: Make) -> None:
        store = make()
        upload = store.upload("u1")
        upload.write(CONTENT)
        upload.commit(DIGEST)
        with store.open(DIGEST) as stream:
            for start, count in ((10_999_990, 100), (0, 10), (5_000_000, 3_000_000), (8_000_000, 10), (7, 1_000_000)):
                stream.seek(start)
                assert stream.read(count) == CONTENT[start : start + count]
                assert stream.tell() == min(start + count, len(CONTENT))
            assert stream.seek(-5, os.SEEK_END) == len(CONTENT) - 5
            assert stream.read() == CONTENT[-5:]

    @pytest.mark.parametrize("name", ["", "..", "a/b", "../x", "a" * 65, "a\x00"])
    def test_an_upload_cannot_leave_its_folder(self, make: Make, name: str) -> None:
        with pytest.raises(Invalid):
            make().upload(name)


def _later() -> datetime:
    return datetime.now(UTC) + timedelta(days=1)
