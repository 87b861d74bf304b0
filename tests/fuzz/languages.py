"""Fuzzed besides: what files of languages' packages say, and the archives that they come in."""

import json
from collections.abc import Iterator

from customhouse.catalogue import java, npm, others, php, python, ruby, sboms
from customhouse.catalogue.language import LanguageReader, package
from customhouse.catalogue.package import LONGEST_NAME, LONGEST_VERSION, acceptable
from tests.catalogue.images import metadata
from tests.catalogue.zips import zipped

_BUILT = b"Package: x\nVersion: 1.8\nBuilt: R 4\n"
_LIST = b'{"spdxVersion":"SPDX-2.3","packages":[{"externalRefs":[{"referenceType":"purl","referenceLocator":"%s"}]}]}'
_PLUGIN = b"<?php\n/*\n * Plugin Name: A\n * Version: 5.0\n */"

FILES: tuple[tuple[LanguageReader, str, bytes], ...] = (
    (npm.READER, "node_modules/x/package.json", b'{"name":"x","version":"1.0.0","licenses":[{"type":"MIT"}]}'),
    (python.READER, "s/x.dist-info/METADATA", metadata("x", "1.0")),
    (python.READER, "s/x.dist-info/direct_url.json", b'{"url":"https://a@b/c","vcs_info":{"vcs":"git"}}'),
    (python.READER, "lib/py/s/x.dist-info/RECORD", b"x.py,sha256=a,1\n../../../bin/x,,\n"),
    (ruby.READER, "g/specifications/x-1.gemspec", b'# stub: x 1 ruby lib\n s.name = "x".freeze\n s.version = "1"\n'),
    (ruby.READER, "bundler/gems/x-0123456/x.gemspec", b'  s.name = "x"\n  s.version = "1"\n'),
    (php.READER, "vendor/composer/installed.json", b'{"packages":[{"name":"a/b","version":"v1","license":["MIT"]}]}'),
    (php.READER, "x/.registry/a.reg", b'a:2:{s:4:"name";s:1:"x";s:7:"version";a:1:{s:7:"release";s:1:"1";}}'),
    (php.READER, "wp-content/plugins/a/a.php", _PLUGIN),
    (php.READER, "wp-includes/version.php", b"<?php\n$wp_version = '6.1';\n"),
    (others.READERS[0], "conda-meta/x.json", b'{"name":"x","version":"1","build":"0","channel":"a","license":null}'),
    (others.READERS[1], "l/x/DESCRIPTION", _BUILT),
    (others.READERS[2], "rocks/x/1-1/x-1-1.rockspec", b'license = "MIT"\n'),
    (others.READERS[3], "x/ebin/x.app", b'{application, x, [{vsn, "1"}]}.'),
    (sboms.READER, "a.spdx.json", _LIST % b"pkg:npm/%40a/b@1"),
    (sboms.READER, "a.cdx.json", b'{"components":[{"purl":"pkg:npm/b@1","components":[{"purl":"pkg:pypi/a@2"}]}]}'),
)

_POM = {"META-INF/maven/g.h/x/pom.properties": b"groupId=g.h\nartifactId=x\nversion=1\n"}
_SAID = {"META-INF/MANIFEST.MF": b"Bundle-SymbolicName: a.b.c\nImplementation-Version: 1.0\n"}
_PROJECT = b"<project><version>1</version><licenses><license><name>M</name></license></licenses></project>"
_XML = {"META-INF/maven/g.h/x/pom.xml": _PROJECT}
_CACHED = {"node_modules/x/package.json": b'{"name":"x","version":"1.0.0"}'}

ARCHIVES: tuple[tuple[LanguageReader, str, bytes], ...] = (
    (java.READER, "a/x-1.jar", zipped(_POM)),
    (java.READER, "a/y-1.war", zipped({"WEB-INF/lib/x.jar": zipped(_POM)})),
    (java.READER, "a/x.jar", zipped(_SAID | _XML, 0)),
    (python.READER, "s/x.egg", zipped({"EGG-INFO/PKG-INFO": metadata("x", "1.0")})),
    (npm.CACHE_READER, "a/.yarn/cache/x.zip", zipped(_CACHED)),
)


_ALL = (*FILES, *ARCHIVES)


def language_file(data: bytes) -> bool:
    """The first byte says which file the rest is."""
    if not data:
        return False
    reader, path, _ = _ALL[data[0] % len(_ALL)]
    accepted = False
    for fact in reader.read(path, data[1:]):
        json.dumps(fact, allow_nan=False).encode()
        assert "problem" in fact or "type" in fact or "url" in fact or "programs" in fact, fact
        if "type" in fact:
            found = package(fact, path, 0)
            assert acceptable(found.version, LONGEST_VERSION) and len(found.name) <= 2 * LONGEST_NAME + 1
            assert all(text.isprintable() for text in (found.name, found.supplier, *found.licenses))
        accepted = accepted or "problem" not in fact
    return accepted


def language_seeds() -> Iterator[bytes]:
    return (bytes([number]) + raw for number, (_, _, raw) in enumerate(_ALL))
