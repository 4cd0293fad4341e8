"""A client of few lines: signs in with SCRAM, sends a query, counts what comes back.

For what pgbench cannot do: large results at the speed of the socket, readers that stall, and
thousands of idle clients.
"""

import base64
import hashlib
import hmac
import os
import socket
import struct

from .servers import DATABASE, PASSWORD, USER

# Deriving the key takes a millisecond; a server keeps one salt for a user.
_derived = {}


def _key(salt, iterations):
    if (salt, iterations) not in _derived:
        _derived[salt, iterations] = hashlib.pbkdf2_hmac(
            "sha256", PASSWORD.encode(), salt, iterations)
    return _derived[salt, iterations]


def _message(tag, body):
    return tag + struct.pack(">i", len(body) + 4) + body


READY = b"Z\0\0\0\x05I"


class Client:
    """One connection; an idle one holds a socket and nothing else."""

    def __init__(self, port, receive_buffer=None):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(60)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sign_in()

    def _sign_in(self):
        startup = f"user\0{USER}\0database\0{DATABASE}\0\0".encode()
        body = struct.pack(">i", 196608) + startup
        self.socket.sendall(struct.pack(">i", len(body) + 4) + body)
        nonce = base64.b64encode(os.urandom(18)).decode()
        bare = f"n=,r={nonce}"
        while True:
            tag, body = self._receive()
            if tag == b"Z":
                return
            if tag == b"E":
                raise RuntimeError(f"not let in: {body}")
            if tag != b"R":
                continue
            code, data = struct.unpack(">i", body[:4])[0], body[4:]
            if code == 10:
                first = f"n,,{bare}".encode()
                self.socket.sendall(_message(
                    b"p", b"SCRAM-SHA-256\0" + struct.pack(">i", len(first)) + first))
            elif code == 11:
                self.socket.sendall(_message(b"p", _proof(bare, data.decode())))

    def _receive(self):
        header = self._exactly(5)
        return header[:1], self._exactly(struct.unpack(">i", header[1:])[0] - 4)

    def _exactly(self, count):
        parts = b""
        while len(parts) < count:
            part = self.socket.recv(count - len(parts))
            if not part:
                raise RuntimeError("closed")
            parts += part
        return parts

    def ask(self, sql):
        self.socket.sendall(_message(b"Q", sql.encode() + b"\0"))

    def count_reply(self, buffer):
        """Bytes of the reply, up to ReadyForQuery. The last message tells that it is the end."""
        total, tail = 0, b""
        while True:
            count = self.socket.recv_into(buffer)
            if not count:
                raise RuntimeError("closed amid a reply")
            total += count
            tail = (tail + bytes(buffer[max(0, count - 6):count]))[-6:]
            if tail == READY:
                return total

    def close(self):
        self.socket.close()


def _proof(bare, server_first):
    fields = dict(part.split("=", 1) for part in server_first.split(","))
    without = f"c=biws,r={fields['r']}"
    text = f"{bare},{server_first},{without}".encode()
    salted = _key(base64.b64decode(fields["s"]), int(fields["i"]))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    signature = hmac.digest(hashlib.sha256(client_key).digest(), text, "sha256")
    proof = bytes(a ^ b for a, b in zip(client_key, signature))
    return f"{without},p={base64.b64encode(proof).decode()}".encode()
