"""Which store a hub's blobs are in: files, or a bucket where the settings name one."""

from pathlib import Path
from typing import Protocol

from customhouse.blobs import BlobStore
from customhouse.blobs.files import FileBlobs
from customhouse.errors import Invalid


class Wanted(Protocol):
    """What the settings say; see docs/reference/settings.md."""

    @property
    def blobs(self) -> str: ...
    @property
    def blob_redirect(self) -> bool: ...
    @property
    def s3_endpoint(self) -> str: ...
    @property
    def s3_region(self) -> str: ...
    @property
    def s3_access_key(self) -> str: ...
    @property
    def s3_secret_key(self) -> str: ...
    @property
    def s3_session_token(self) -> str: ...
    @property
    def s3_path_style(self) -> bool: ...
    @property
    def s3_ca_file(self) -> Path | None: ...


def open_blobs(folder: Path, wanted: Wanted) -> BlobStore:
    """The store, ready for use. Raises Invalid, and Unavailable where a bucket cannot be reached."""
    if not wanted.blobs:
        return FileBlobs(folder)
    try:
        from customhouse.blobs.bucket import Place  # an extra: most hubs keep files
        from customhouse.blobs.s3 import S3Blobs
    except ModuleNotFoundError as error:
        raise Invalid(
            "blobs names a bucket, and the client of S3 is not installed", hint="Install customhouse[s3]."
        ) from error
    place = Place(
        wanted.blobs, wanted.s3_endpoint, wanted.s3_region, wanted.s3_access_key, wanted.s3_secret_key,
        wanted.s3_session_token, wanted.s3_path_style, wanted.s3_ca_file,
    )
    store = S3Blobs(place, redirect=wanted.blob_redirect)
    store.check()
    return store
