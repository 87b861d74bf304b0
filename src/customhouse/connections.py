"""Connections that a server cannot hold by dripping: TLS's hand-shake and the head of an answer have a time as a whole.

A socket's timeout begins anew with every byte that comes. Here a watch ends the connection when the hand-shake takes
longer than connecting may, or the head of an answer longer than a pause between two pieces of it. The body is its
reader's to watch, who looks at the clock after each piece.
"""

import os
import socket
import threading
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


class _Watch:
    """Ends a connection after so many seconds, unless `done` comes first."""

    def __init__(self, watched: socket.socket, seconds: object) -> None:
        # Of its own: while TLS is negotiated the socket has another owner.
        self._held = socket.socket(fileno=os.dup(watched.fileno()))
        self._timer = threading.Timer(float(seconds) if isinstance(seconds, int | float) else 3600.0, self._end)
        self._timer.daemon = True
        self._over = False
        self._timer.start()

    def _end(self) -> None:
        self._over = True
        try:
            self._held.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it is over already

    def done(self) -> None:
        """Raises TimeoutError if it was too late: what was read until then may look whole, and is not."""
        self._timer.cancel()
        self._held.close()
        if self._over:
            raise TimeoutError("timed out")


class _Http(HTTPConnection):
    def getresponse(self) -> Any:
        watch = _Watch(self.sock, self.timeout) if self.sock else None
        try:
            return super().getresponse()
        finally:
            if watch is not None:
                watch.done()


class _Https(_Http, HTTPSConnection):
    _handshake: _Watch | None = None

    def _new_conn(self) -> socket.socket:
        made = super()._new_conn()
        self._handshake = _Watch(made, self.timeout)
        return made

    def connect(self) -> None:
        self._handshake = None
        try:
            super().connect()
        finally:
            if self._handshake is not None:
                self._handshake.done()


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _Https


class ConnectionPools(urllib3.PoolManager):
    """urllib3's, with watched connections."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
