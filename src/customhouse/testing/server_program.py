"""A static HTTP server of about a kilobyte, assembled here: a real program that needs no compiler and no network.

`server_program()` is a Linux ELF executable for x86-64. Started without arguments it answers every request on port
8080 with 200 and stops at once on SIGTERM and SIGINT, also as process 1. Started with any argument it is the health
probe: it asks 127.0.0.1:8080 and exits 0 for an answer of 200 within a second, else 1. A stopped server is therefore
unhealthy, a running one healthy.

(System V ABI for x86-64; System V gABI, ELF header and program headers; Linux syscall numbers.)
"""

import struct

PORT = 8080
BASE = 0x400000
_HEADERS = 64 + 2 * 56
_BODY = b"Certified by Customhouse.\n"
_ANSWER = b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
_RESPONSE = _ANSWER % len(_BODY) + _BODY
_REQUEST = b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n"
_STARTED = b"listening\n"

# Linux on x86-64.
_READ, _WRITE, _CLOSE, _SIGACTION, _SOCKET, _CONNECT, _ACCEPT, _SENDTO = 0, 1, 3, 13, 41, 42, 43, 44
_BIND, _LISTEN, _SETSOCKOPT, _EXIT_GROUP = 49, 50, 54, 231
_SOL_SOCKET, _SO_REUSEADDR, _SO_RCVTIMEO, _MSG_NOSIGNAL = 1, 2, 20, 0x4000
_SIGINT, _SIGTERM, _SA_RESTORER = 2, 15, 0x04000000

# mov r32, imm32 zero-extends to the whole register; then the same with a 64-bit source register.
_SET = {"eax": b"\xb8", "edi": b"\xbf", "esi": b"\xbe", "edx": b"\xba"}
_SET |= {"r10": b"\x41\xba", "r8": b"\x41\xb8", "r9": b"\x41\xb9"}
_LEA = {"esi": b"\x48\x8d\x35", "r10": b"\x4c\x8d\x15"}
_SOCKET_FD, _CLIENT_FD, _STACK = "r12", "r13", "rsp"
_COPY = {
    ("edi", _SOCKET_FD): b"\x4c\x89\xe7",
    ("edi", _CLIENT_FD): b"\x4c\x89\xef",
    ("esi", _STACK): b"\x48\x89\xe6",
}
_KEEP = {_SOCKET_FD: b"\x49\x89\xc4", _CLIENT_FD: b"\x49\x89\xc5"}
_JUMP = {"always": b"\xe9", "negative": b"\x0f\x88", "not above zero": b"\x0f\x8e", "not equal": b"\x0f\x85"}
_JUMP |= {"less": b"\x0f\x8c", "not less": b"\x0f\x8d"}


class _Assembler:
    """Code with labels; arguments of a call are numbers, labels (their address) or registers that hold a value."""

    def __init__(self) -> None:
        self.code = bytearray()
        self.labels: dict[str, int] = {}
        self.relative: list[tuple[int, str]] = []
        self.absolute: list[tuple[int, str]] = []

    def label(self, name: str) -> None:
        self.labels[name] = len(self.code)

    def raw(self, code: bytes) -> None:
        self.code += code

    def jump(self, condition: str, label: str) -> None:
        self._to(_JUMP[condition], label)

    def call(self, number: int, *arguments: int | str) -> None:
        """A system call; the result is in rax."""
        for register, value in zip(("edi", "esi", "edx", "r10", "r8", "r9"), arguments, strict=False):
            if isinstance(value, int):
                self.raw(_SET[register] + struct.pack("<I", value))
            elif (register, value) in _COPY:
                self.raw(_COPY[register, value])
            else:
                self._to(_LEA[register], value)
        self.raw(_SET["eax"] + struct.pack("<I", number) + b"\x0f\x05")

    def keep(self, register: str) -> None:
        """Keep the result of a call, or go to `fail` when it is negative."""
        self.raw(_KEEP[register])
        self.check("negative")

    def check(self, condition: str, label: str = "fail") -> None:
        self.raw(b"\x48\x85\xc0")  # test rax, rax
        self.jump(condition, label)

    def address(self, label: str) -> None:
        self.absolute.append((len(self.code), label))
        self.raw(bytes(8))

    def linked(self) -> bytes:
        """The bytes with every label resolved, to be loaded right after the headers."""
        for at, label in self.relative:
            struct.pack_into("<i", self.code, at, self.labels[label] - (at + 4))
        for at, label in self.absolute:
            struct.pack_into("<Q", self.code, at, BASE + _HEADERS + self.labels[label])
        return bytes(self.code)

    def _to(self, opcode: bytes, label: str) -> None:
        self.raw(opcode)
        self.relative.append((len(self.code), label))
        self.raw(bytes(4))


def server_program(port: int = PORT) -> bytes:
    """The executable. Always the same bytes for a port."""
    code = _program(port)
    size = _HEADERS + len(code)
    identity = b"\x7fELF" + bytes([2, 1, 1, 0]) + bytes(8)
    header = identity + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, BASE + _HEADERS, 64, 0, 0, 64, 56, 2, 64, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, BASE, BASE, size, size, 0x1000)  # PT_LOAD, readable and executable
    stack = struct.pack("<IIQQQQQQ", 0x6474E551, 6, 0, 0, 0, 0, 0, 16)  # PT_GNU_STACK, not executable
    return header + load + stack + code


def _program(port: int) -> bytes:
    asm = _Assembler()
    asm.raw(b"\x83\x3c\x24\x02")  # cmp dword [rsp], 2: the number of arguments
    asm.raw(b"\x48\x8d\xa4\x24" + struct.pack("<i", -4096))  # lea rsp, [rsp-4096]: a buffer; flags stay
    asm.jump("not less", "probe")
    _serve(asm)
    _probe(asm)
    asm.label("fail")
    asm.call(_EXIT_GROUP, 1)
    asm.label("stop")
    asm.call(_EXIT_GROUP, 0)
    _constants(asm, port)
    return asm.linked()


def _serve(asm: _Assembler) -> None:
    # Process 1 of a container ignores signals it has no handler for.
    asm.call(_SIGACTION, _SIGTERM, "action", 0, 8)
    asm.call(_SIGACTION, _SIGINT, "action", 0, 8)
    asm.call(_SOCKET, 2, 1, 0)
    asm.keep(_SOCKET_FD)
    asm.call(_SETSOCKOPT, _SOCKET_FD, _SOL_SOCKET, _SO_REUSEADDR, "one", 4)
    asm.call(_BIND, _SOCKET_FD, "anywhere", 16)
    asm.check("negative")
    asm.call(_LISTEN, _SOCKET_FD, 64)
    asm.check("negative")
    asm.call(_WRITE, 1, "started", len(_STARTED))
    asm.label("next")
    asm.call(_ACCEPT, _SOCKET_FD, 0, 0)
    asm.raw(_KEEP[_CLIENT_FD])
    asm.check("negative", "next")
    asm.call(_SETSOCKOPT, _CLIENT_FD, _SOL_SOCKET, _SO_RCVTIMEO, "patience", 16)
    asm.call(_READ, _CLIENT_FD, _STACK, 4096)
    asm.check("not above zero", "close")
    asm.call(_SENDTO, _CLIENT_FD, "response", len(_RESPONSE), _MSG_NOSIGNAL, 0, 0)
    asm.label("close")
    asm.call(_CLOSE, _CLIENT_FD)
    asm.jump("always", "next")


def _probe(asm: _Assembler) -> None:
    asm.label("probe")
    asm.call(_SOCKET, 2, 1, 0)
    asm.keep(_SOCKET_FD)
    asm.call(_SETSOCKOPT, _SOCKET_FD, _SOL_SOCKET, _SO_RCVTIMEO, "patience", 16)
    asm.call(_CONNECT, _SOCKET_FD, "here", 16)
    asm.check("negative")
    asm.call(_SENDTO, _SOCKET_FD, "request", len(_REQUEST), _MSG_NOSIGNAL, 0, 0)
    asm.check("not above zero")
    asm.call(_READ, _SOCKET_FD, _STACK, 4096)
    asm.raw(b"\x48\x83\xf8\x0d")  # cmp rax, 13: as long as a status line up to the code
    asm.jump("less", "fail")
    asm.raw(b"\x81\x7c\x24\x09" + b"200 ")  # cmp dword [rsp+9], "200 "
    asm.jump("not equal", "fail")
    asm.jump("always", "stop")


def _constants(asm: _Assembler, port: int) -> None:
    asm.raw(bytes(-len(asm.code) % 8))
    asm.label("action")  # struct sigaction of the kernel: handler, flags, restorer, mask
    asm.address("stop")
    asm.raw(struct.pack("<Q", _SA_RESTORER))
    asm.address("stop")
    asm.raw(bytes(8))
    asm.label("patience")  # one second
    asm.raw(struct.pack("<QQ", 1, 0))
    asm.label("anywhere")
    asm.raw(struct.pack("<H", 2) + struct.pack(">H4s8x", port, bytes(4)))
    asm.label("here")
    asm.raw(struct.pack("<H", 2) + struct.pack(">H4s8x", port, bytes([127, 0, 0, 1])))
    asm.label("one")
    asm.raw(struct.pack("<I", 1))
    for name, text in (("response", _RESPONSE), ("request", _REQUEST), ("started", _STARTED)):
        asm.label(name)
        asm.raw(text)
