"""Messages over a socket between driver and worker: a length, then that many bytes. No torch here.

The driver reads without ever blocking, so half a message from a worker that was killed while sending (and whose
children still hold the other end) cannot hang it.
"""

import socket
import struct
import threading

__all__ = ["Channel"]

LENGTH = struct.Struct("!Q")
CHUNK = 1 << 16


class Channel:
    """One end. Sending is safe from several threads; reading is for one."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._buffer = bytearray()
        self._sending = threading.Lock()

    @property
    def end(self) -> socket.socket:
        """For `multiprocessing.connection.wait` and its like."""
        return self._socket

    def send(self, message: bytes) -> None:
        """Send it whole. Raises OSError when the other end is gone."""
        with self._sending:
            self._socket.sendall(LENGTH.pack(len(message)) + message)

    def receive(self) -> bytes:
        """Wait for the next message. Raises EOFError or OSError when the other end is gone."""
        while (message := self._next()) is None:
            chunk = self._socket.recv(CHUNK)
            if not chunk:
                raise EOFError
            self._buffer += chunk
        return message

    def waiting(self) -> tuple[list[bytes], bool]:
        """Every message that has arrived whole, without waiting for more; and whether the other end is gone."""
        gone = False
        self._socket.setblocking(False)
        while not gone:
            try:
                chunk = self._socket.recv(CHUNK)
            except BlockingIOError:
                break
            except OSError:
                chunk = b""
            gone = not chunk
            self._buffer += chunk
        self._socket.setblocking(True)
        messages = []
        while (message := self._next()) is not None:
            messages.append(message)
        return messages, gone

    def close(self) -> None:
        """Close this end."""
        self._socket.close()

    def _next(self) -> bytes | None:
        if len(self._buffer) < LENGTH.size:
            return None
        end = LENGTH.size + LENGTH.unpack_from(self._buffer)[0]
        if len(self._buffer) < end:
            return None
        message = bytes(self._buffer[LENGTH.size : end])
        del self._buffer[:end]
        return message
