"""Bytes between a connection and a file, without stopping the loop and without needless copies.

1. Receiving is pipelined: the loop takes batch n+1 while a thread hashes and writes batch n. The rest of a large body
   comes in the connection's own buffers where the server offers it (direct.py).
2. Sending: up to 64 KiB are read in the loop (a hop to a thread costs more), larger content goes by sendfile where the
   server offers it, else in chunks: what the page cache holds is read in the loop too, the rest by a thread.
3. `ZeroCopy` wraps the outermost application and offers sendfile on plain TCP under uvicorn's httptools protocol. It
   reaches that protocol through its `send`; where anything looks different (TLS, another server, a newer uvicorn) it
   offers nothing and the chunks go the usual way. A slow client holds no thread: a full socket is waited for in the
   loop.
"""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Any, BinaryIO

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from customhouse.blobs import BlobStore, Upload
from customhouse.direct import EXTENSION as DIRECT
from customhouse.direct import Body, Gone
from customhouse.errors import Invalid, TooLarge
from customhouse.oci.digest import Digest
from customhouse.registry.content import BlobDamaged, StoredBlob
from customhouse.registry.wire import Span

INLINE = 64 * 1024
CHUNK = 1024 * 1024
STALLED_SECONDS = 60.0
AtHand = Callable[[int, int], bytes | bytearray | None]
_EXTENSION = "http.response.zerocopysend"
_AT_ONCE = 16 * 1024 * 1024


class ClientGone(Exception):
    """The connection ended before the body did; nobody is left to answer."""


class WrongLength(Invalid):
    """A body whose length is not the one that was declared."""

    def __init__(self, declared: int, found: str) -> None:
        super().__init__(f"the body was declared with {declared} bytes and has {found}")


async def receive_whole(receive: Receive, most: int) -> bytes:
    """A small body. Raises TooLarge as soon as it is too large, ClientGone."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await _next(receive)
        part = message.get("body", b"")
        size += len(part)
        if size > most:
            raise TooLarge(f"the body is larger than {most} bytes")
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


async def receive_into(scope: Scope, receive: Receive, upload: Upload, threads: Executor, expected: int | None) -> None:
    """Append the body to an upload; what came before an error stays in it, whole batches at a time.

    Raises WrongLength unless it has `expected` bytes (None: any), StorageFull, ClientGone.
    """
    first = await _next(receive)
    take = (scope.get("extensions") or {}).get(DIRECT) if first.get("more_body") else None
    rest: Body | None = take() if take is not None else None
    if rest is not None:
        total = await _receive_direct(first["body"], rest, upload, threads)
    else:
        total = await _receive_parsed(first, receive, upload, threads, expected)
    if expected is not None and total != expected:
        raise WrongLength(expected, str(total))


async def _receive_parsed(
    message: Message, receive: Receive, upload: Upload, threads: Executor, expected: int | None
) -> int:
    """A body as the parser of HTTP gives it; returns its size."""
    loop = asyncio.get_running_loop()
    writing: asyncio.Future[None] | None = None
    batch: list[bytes] = []
    held = total = 0
    try:
        while True:
            part = message.get("body", b"")
            more = message.get("more_body", False)
            total += len(part)
            if expected is not None and total > expected:
                raise WrongLength(expected, "more")
            if part:
                batch.append(part)
                held += len(part)
            if batch and (held >= CHUNK or not more):
                if writing is not None:
                    await writing
                writing = loop.run_in_executor(threads, _write, upload, batch)
                batch, held = [], 0
            if not more:
                return total
            message = await _next(receive)
    finally:
        # Also on the way out of an error: nobody may close the file under the thread, and what arrived is kept.
        if writing is not None:
            await asyncio.shield(writing)
        if batch:
            await asyncio.shield(loop.run_in_executor(threads, _write, upload, batch))


async def _receive_direct(first: bytes, rest: Body, upload: Upload, threads: Executor) -> int:
    """A body out of the connection's own buffers, after what had come with the head; returns its size."""
    loop = asyncio.get_running_loop()
    size = len(first)
    held = memoryview(first)
    writing = loop.run_in_executor(threads, upload.write, held)
    try:
        while (piece := await rest.next()) is not None:
            await writing
            rest.give_back(held)
            size += len(piece)
            held, writing = piece, loop.run_in_executor(threads, upload.write, piece)
    except Gone:
        raise ClientGone from None
    finally:
        try:
            await asyncio.shield(writing)
        finally:
            rest.leave()
    return size


async def let_go(upload: Upload, here: bool, threads: Executor) -> None:
    """Close an upload; where that takes requests to a store elsewhere, not in the loop."""
    if here:
        upload.close()
    else:
        await asyncio.get_running_loop().run_in_executor(threads, upload.close)


def has_files(blobs: BlobStore) -> bool:
    """Are the blobs on this machine, so that looking at one takes no thread?"""
    return blobs.path(Digest.of(b"")) is not None


async def open_blob(blobs: BlobStore, blob: StoredBlob, here: bool, threads: Executor) -> BinaryIO:
    """The content of a blob, at its start; `here` as `has_files` says.

    Raises BlobDamaged where its file has another size than its row says.
    """
    if not here:
        return await asyncio.get_running_loop().run_in_executor(threads, blobs.open, blob.digest)
    content = blobs.open(blob.digest)
    if os.fstat(content.fileno()).st_size != blob.size:
        content.close()
        raise BlobDamaged(blob.digest)
    return content


async def send_content(scope: Scope, send: Send, content: BinaryIO, span: Span, threads: Executor) -> None:
    """The body of a response that has been started, from a real file or from any stream at its start."""
    try:
        fd = content.fileno()
    except (OSError, AttributeError):
        fd = -1
    if span.count == 0:
        await send({"type": "http.response.body", "body": b""})
    elif fd < 0:
        await _send_read(send, span, partial(_read_at, content), threads)
    elif span.count <= INLINE:
        await send({"type": "http.response.body", "body": os.pread(fd, span.count, span.start)})
    elif _EXTENSION in (scope.get("extensions") or {}):
        await send({"type": _EXTENSION, "fd": fd, "offset": span.start, "count": span.count, "threads": threads})
    else:
        await _send_read(send, span, lambda size, offset: os.pread(fd, size, offset), threads, partial(_cached, fd))


class ZeroCopy:
    """An application that may answer with sendfile; see rule 3."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        cycle = getattr(send, "__self__", None)
        if scope["type"] != "http" or scope.get("scheme") != "http" or not _known_protocol(cycle):
            await self._app(scope, receive, send)
            return
        scope.setdefault("extensions", {})[_EXTENSION] = {}

        async def send_or_sendfile(message: Message) -> None:
            if message["type"] == _EXTENSION:
                await _sendfile(cycle, send, message)
            else:
                await send(message)

        await self._app(scope, receive, send_or_sendfile)


def _known_protocol(cycle: Any) -> bool:
    transport = getattr(cycle, "transport", None)
    return (
        transport is not None
        and hasattr(cycle, "disconnected")
        and isinstance(getattr(cycle, "expected_content_length", None), int)
        and hasattr(transport, "get_write_buffer_size")
        and transport.get_extra_info("sslcontext") is None
        and transport.get_extra_info("socket") is not None
    )


async def _sendfile(cycle: Any, send: Send, message: Message) -> None:
    transport, loop = cycle.transport, asyncio.get_running_loop()
    offset, end = message["offset"], message["offset"] + message["count"]
    while transport.get_write_buffer_size() and not transport.is_closing():
        await asyncio.sleep(0.001)
    if cycle.disconnected or transport.is_closing():
        return
    # A copy of the descriptor: the transport may close its own while a thread is in sendfile.
    out = os.dup(transport.get_extra_info("socket").fileno())
    try:
        while offset < end:
            offset = await loop.run_in_executor(message["threads"], _fill_socket, out, message["fd"], offset, end)
            if offset < end:
                await _writable(loop, out)
    except (OSError, TimeoutError):
        transport.abort()  # the header has promised a length that will not come
        return
    finally:
        os.close(out)
    cycle.expected_content_length -= message["count"]
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _fill_socket(out: int, fd: int, offset: int, end: int) -> int:
    """Send until the end or until the socket is full; returns the new offset."""
    while offset < end:
        try:
            sent = os.sendfile(out, fd, offset, min(end - offset, _AT_ONCE))
        except BlockingIOError:
            return offset
        if sent == 0:
            raise OSError("the file is shorter than its row says")
        offset += sent
    return offset


async def _writable(loop: asyncio.AbstractEventLoop, out: int) -> None:
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(out, _wake, ready)
    try:
        async with asyncio.timeout(STALLED_SECONDS):
            await ready
    finally:
        loop.remove_writer(out)


def _wake(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)


async def _send_read(
    send: Send, span: Span, read: Callable[[int, int], bytes], threads: Executor, at_hand: AtHand = lambda *_: None
) -> None:
    """In chunks of 1 MiB read by a thread, or as much as is `at_hand` without waiting."""
    loop = asyncio.get_running_loop()
    offset, end = span.start, span.start + span.count
    while offset < end:
        piece = at_hand(min(CHUNK // 2, end - offset), offset)
        if piece is None:
            piece = await loop.run_in_executor(threads, read, min(CHUNK, end - offset), offset)
        else:
            await asyncio.sleep(0)  # others' turn, also where the socket never fills
        if not piece:
            raise OSError("the content is shorter than its row says")
        offset += len(piece)
        await send({"type": "http.response.body", "body": piece, "more_body": offset < end})


def _cached(fd: int, size: int, offset: int) -> bytearray | None:
    """These bytes if memory holds them all: a thread would cost more than reading them does."""
    buffer = bytearray(size)
    try:
        return buffer if os.preadv(fd, [buffer], offset, os.RWF_NOWAIT) == size else None
    except OSError:  # not there (EAGAIN), or a file system that cannot tell
        return None


def _read_at(content: BinaryIO, size: int, offset: int) -> bytes:
    content.seek(offset)
    return content.read(size)


def _write(upload: Upload, parts: list[bytes]) -> None:
    for part in parts:
        upload.write(part)


async def _next(receive: Receive) -> Message:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message
