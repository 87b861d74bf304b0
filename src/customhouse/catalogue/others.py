"""Smaller ecosystems, a few lines each: Conda, R, Lua, Erlang and Elixir, Dart.

1. Conda: `conda-meta/NAME-VERSION-BUILD.json`, one a package.
2. R: DESCRIPTION of a package that was built (`Built:`); Bioconductor's name their views.
3. Lua: `rocks*/NAME/VERSION/NAME-VERSION.rockspec`. A rockspec is a program and is not run: the path names the rock.
4. Erlang and Elixir: `NAME/ebin/NAME.app`, whose terms are searched, not evaluated. What comes with Erlang or
   Elixir itself is of type otp, the rest of type hex.
5. Dart: `.pub-cache/hosted/HOST/NAME-VERSION/pubspec.yaml`; programs that were compiled carry no list.
6. Swift, Julia and Conan leave nothing in an image that says what was installed, and are not read.
"""

import re
from collections.abc import Iterator

import msgspec

from customhouse.catalogue.cataloguer import Cataloguer
from customhouse.catalogue.language import Fact, LanguageReader, Unreadable, packages, stated
from customhouse.catalogue.package import LARGEST_DATABASE

_ROCK = re.compile(r"(?:.*/)?rocks[^/]*/([^/]{1,200})/([^/]{1,100})/([^/]+)\.rockspec")
_ROCK_LICENSE = re.compile(rb"""^\s{0,40}license\s{0,10}=\s{0,10}["']([^"'\\\n]{1,160})["']""", re.MULTILINE)
_APP = re.compile(r"(?:.*/)?(?:[^/]+)/ebin/([^/]+)\.app")
_APPLICATION = re.compile(rb"\{\s{0,100}application\s{0,100},\s{0,100}'?([a-z][A-Za-z0-9_@]{0,150})'?\s{0,100},")
_VERSION = re.compile(rb"""\{\s{0,100}vsn\s{0,100},\s{0,100}"([^"\\]{1,100})"\s{0,100}\}""")
_PUB = re.compile(r"(?:.*/)?\.pub-cache/hosted/([^/]+)/([a-z_][a-z0-9_]{0,150})-(\d[^/]{0,100})/pubspec\.yaml")
_OTP = frozenset((
    "asn1", "common_test", "compiler", "crypto", "debugger", "dialyzer", "diameter", "edoc", "eldap",
    "erl_docgen", "erl_interface", "erts", "et", "eunit", "ftp", "inets", "jinterface", "kernel", "megaco",
    "mnesia", "observer", "odbc", "os_mon", "parsetools", "public_key", "reltool", "runtime_tools", "sasl",
    "snmp", "ssh", "ssl", "stdlib", "syntax_tools", "tftp", "tools", "wx", "xmerl",
    "eex", "elixir", "ex_unit", "iex", "logger", "mix",
))  # fmt: skip


class _Conda(msgspec.Struct):
    name: str
    version: str
    build: str = ""
    channel: str = ""
    subdir: str = ""
    license: str | None = None


_CONDA = msgspec.json.Decoder(_Conda)


def _is_conda(path: str) -> bool:
    return path.endswith(".json") and path.split("/")[-2:-1] == ["conda-meta"]


def parse_conda(path: str, raw: bytes) -> Iterator[Fact]:
    """The package of a file in conda-meta. Raises Unreadable."""
    try:
        said = _CONDA.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Unreadable("does not name a Conda package with a version") from error
    channel = said.channel.partition("://")[2].rpartition("@")[2] or said.channel
    yield stated(
        "conda", said.name, said.version,
        licenses=[said.license], build=said.build, channel=channel, subdir=said.subdir,
    )  # fmt: skip


def _is_r(path: str) -> bool:
    return path.endswith("/DESCRIPTION")


def parse_description(path: str, raw: bytes) -> Iterator[Fact]:
    """The R package of a DESCRIPTION; nothing where the file is of something else, or was not built."""
    said: dict[str, str] = {}
    for line in raw[: 1 << 18].decode("utf-8", "replace").split("\n"):
        key, parted, value = line.partition(":")
        if parted and key.isidentifier() and not line.startswith((" ", "\t")):
            said.setdefault(key, value.strip())
    if said.get("Package") and said.get("Version") and said.get("Built"):
        yield stated(
            "bioconductor" if "biocViews" in said else "cran", said["Package"], said["Version"],
            licenses=[said.get("License")], supplier=said.get("Maintainer"), priority=said.get("Priority"),
        )  # fmt: skip


def _is_rock(path: str) -> bool:
    return (
        path.endswith(".rockspec") and (rock := _ROCK.fullmatch(path)) is not None and rock[3] == f"{rock[1]}-{rock[2]}"
    )


def parse_rockspec(path: str, raw: bytes) -> Iterator[Fact]:
    """The rock that the path names, with the licence if it is written out."""
    rock = _ROCK.fullmatch(path)
    if rock is not None:
        said = _ROCK_LICENSE.search(raw[: 1 << 16])
        yield stated("luarocks", rock[1], rock[2], licenses=[said[1].decode("utf-8", "replace")] if said else [])


def _is_app(path: str) -> bool:
    return path.endswith(".app") and _APP.fullmatch(path) is not None


def parse_application(path: str, raw: bytes) -> Iterator[Fact]:
    """The application of an .app file. Raises Unreadable."""
    head = raw[: 1 << 18]
    name, version = _APPLICATION.search(head), _VERSION.search(head)
    if name is None or version is None:
        raise Unreadable("does not name an application with a version")
    called = name[1].decode()
    yield stated("otp" if called in _OTP else "hex", called, version[1].decode("utf-8", "replace"))


def _is_pub(path: str) -> bool:
    return path.endswith("/pubspec.yaml") and _PUB.fullmatch(path) is not None


def parse_pubspec(path: str, raw: bytes) -> Iterator[Fact]:
    """The Dart package that the path names."""
    named = _PUB.fullmatch(path)
    if named is not None:
        yield stated("pub", named[2], named[3])


# A reader is a constant, by whose name a process that reads layers finds it.
CONDA = LanguageReader("conda", 1, _is_conda, parse_conda, LARGEST_DATABASE)
R = LanguageReader("r", 1, _is_r, parse_description)
LUA = LanguageReader("lua", 1, _is_rock, parse_rockspec)
ERLANG = LanguageReader("erlang", 1, _is_app, parse_application)
DART = LanguageReader("dart", 1, _is_pub, parse_pubspec)
READERS = (CONDA, R, LUA, ERLANG, DART)
CATALOGUERS = tuple(Cataloguer(reader.name, packages(reader), readers=(reader,)) for reader in READERS)
