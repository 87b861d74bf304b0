"""Input that is made to take long, of the largest size that a parser takes: judged in a moment all the same."""

import json
import time
from collections.abc import Callable

import pytest

from customhouse.errors import CustomhouseError
from customhouse.keyfiles import MAXIMUM_FILE_BYTES, read_key_file
from customhouse.keys import MAXIMUM_KEY_BYTES, PublicKey
from customhouse.trust.canonical import MAXIMUM_BYTES, parse
from customhouse.trust.metadata import parse_targets
from customhouse.trust.multipart import UploadParser
from customhouse.trust.names import TARGETS, Gun, RoleName

CPU_SECONDS = 10.0  # a slow machine needs two; what grows with the square of its input needs hours


def many_keys_and_the_last_twice() -> None:
    pairs = ",".join(f'"{number}":0' for number in range(1_000_000))
    parse(f'{{{pairs},"0":0}}'.encode())


def brackets() -> None:
    parse(b"[" * MAXIMUM_BYTES)


def escapes() -> None:
    parse_targets(b'{"signed":"' + b"\\u003c" * (MAXIMUM_BYTES // 7) + b'","signatures":[]}', TARGETS)


def digits() -> None:
    parse(b'{"version":' + b"9" * (MAXIMUM_BYTES // 2) + b"}")


def signatures() -> None:
    one = json.dumps({"keyid": "0" * 64, "method": "ecdsa", "sig": "AA=="})
    listed = ",".join([one] * (MAXIMUM_BYTES // (len(one) + 2)))
    parse_targets(f'{{"signed":{{}},"signatures":[{listed}]}}'.encode(), TARGETS)


def key_file(filling: bytes) -> Callable[[], None]:
    def read() -> None:
        start = b"-----BEGIN EC PRIVATE KEY-----"
        read_key_file(start + (filling * MAXIMUM_FILE_BYTES)[: MAXIMUM_FILE_BYTES - len(start)], b"secret")

    return read


def certificates(filling: bytes) -> Callable[[], None]:
    return lambda: PublicKey.of_pem((filling * MAXIMUM_KEY_BYTES)[:MAXIMUM_KEY_BYTES]) and None


def almost_boundaries() -> None:
    parser = UploadParser("multipart/form-data; boundary=" + "b" * 60)
    parser.feed(b"--" + b"b" * 60 + b'\r\nContent-Disposition: form-data; filename="root"\r\n\r\n')
    for _ in range(64):
        parser.feed((b"\r\n--" + b"b" * 59) * 1000)
    parser.files()


def one_byte_at_a_time() -> None:
    parser = UploadParser("multipart/form-data; boundary=b")
    for byte in b'--b\r\nContent-Disposition: form-data; filename="root"\r\n\r\n' + b"x" * 200_000:
        parser.feed(bytes([byte]))
    parser.files()


def endless_header() -> None:
    parser = UploadParser("multipart/form-data; boundary=b")
    parser.feed(b"--b\r\nContent-Disposition: form-data")
    for _ in range(10_000):
        parser.feed(b"; x=" + b"y" * 1000)


def long_names() -> None:
    for make in (RoleName.parse, Gun.parse):
        for text in ("targets" + "/a" * 100_000, "a." * 100_000, "h/" + "a_" * 100_000, "h/" + "-" * 100_000):
            with pytest.raises(CustomhouseError):
                make(text)
    Gun.parse("h/" + "a" * 250 + "_" * 3)


@pytest.mark.parametrize(
    "judge",
    [
        many_keys_and_the_last_twice, brackets, escapes, digits, signatures, key_file(b" "), key_file(b"-"),
        key_file(b"-----BEGIN EC PRIVATE KEY-----"), key_file(b"role: a\n"), certificates(b"a:\n"),
        certificates(b"-----BEGIN CERTIFICATE-----\n"),
        certificates(b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"),
        almost_boundaries, one_byte_at_a_time, endless_header, long_names,
    ],
)  # fmt: skip
def test_what_is_made_to_take_long_is_refused_in_a_moment(judge: Callable[[], None]) -> None:
    began = time.process_time()
    with pytest.raises(CustomhouseError):
        judge()
    assert time.process_time() - began < CPU_SECONDS
