"""Speaking to a node without our own programs: the local API over ZMTP 3 (rfc.zeromq.org/spec/23), by hand."""
import json
import os
import socket
import struct


class Zmtp:
    """A DEALER on a stream socket with the NULL mechanism, as far as a test needs one."""

    def __init__(self, sock, greet=True):
        self.sock = sock
        self.sock.settimeout(10)
        self.buffer = b""
        if not greet:
            return
        self.sock.sendall(b"\xff" + b"\0" * 8 + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + b"\0" * 32)
        self.read(64)
        body = b"\x05READY" + self.prop(b"Socket-Type", b"DEALER") + self.prop(b"Identity", b"")
        self.frame(body, 4)
        self.read_frame()

    @staticmethod
    def prop(name, value):
        return bytes([len(name)]) + name + struct.pack(">I", len(value)) + value

    def read(self, size):
        while len(self.buffer) < size:
            got = self.sock.recv(65536)
            if not got:
                raise EOFError("the other side closed")
            self.buffer += got
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def frame(self, data, flags=0):
        if len(data) > 255:
            self.sock.sendall(bytes([flags | 2]) + struct.pack(">Q", len(data)) + data)
        else:
            self.sock.sendall(bytes([flags, len(data)]) + data)

    def read_frame(self):
        flags = self.read(1)[0]
        size = struct.unpack(">Q", self.read(8))[0] if flags & 2 else self.read(1)[0]
        return flags, self.read(size)

    def close(self):
        self.sock.close()


class Api(Zmtp):
    """The local API of a home's node."""

    def __init__(self, home):
        sock = socket.socket(socket.AF_UNIX)
        here = os.getcwd()
        try:
            os.chdir(os.path.join(home.dir, "run"))  # a path relative to here always fits
            sock.connect("node.sock")
        finally:
            os.chdir(here)
        super().__init__(sock)
        self.tag = 100

    def ask(self, **request):
        """Rows, and the last answer."""
        self.tag += 1
        self.frame(json.dumps(dict(request, v=1, tag=self.tag)).encode())
        rows = []
        while True:
            _, data = self.read_frame()
            reply = json.loads(data)
            if reply.get("tag") != self.tag:
                continue
            if "row" in reply:
                rows.append(reply["row"])
            if reply.get("done"):
                return rows, reply
