import json

import pytest

from customhouse.catalogue import php
from customhouse.catalogue.language import Unreadable
from customhouse.catalogue.packages import catalogue
from tests.catalogue.images import image

MONOLOG = {"name": "Monolog/Monolog", "version": "v2.9.1", "license": ["MIT"]}


@pytest.mark.parametrize(
    "document",
    [[MONOLOG], {"packages": [MONOLOG], "dev": False, "dev-package-names": []}],
    ids=["composer 1", "composer 2"],
)
def test_both_forms_of_composers_list_are_read(document: object) -> None:
    [found] = catalogue(image({"app/vendor/composer/installed.json": json.dumps(document).encode()})).packages
    assert (found.ecosystem, found.name, found.version) == ("Packagist", "monolog/monolog", "2.9.1")
    assert found.purl == "pkg:composer/monolog/monolog@2.9.1" and found.licenses == ("MIT",)


def test_what_is_for_development_says_so() -> None:
    document = {"packages": [MONOLOG | {"name": "phpunit/phpunit"}], "dev-package-names": ["phpunit/phpunit", 3]}
    [found] = php.parse_installed(json.dumps(document).encode())
    assert found["properties"] == {"development": "yes"}


@pytest.mark.parametrize("raw", [b"", b"{", b"3", b'{"packages": 3}', b"[3]", b"[" * 100_000])
def test_a_list_that_is_none_is_a_problem(raw: bytes) -> None:
    found = catalogue(image({"vendor/composer/installed.json": raw}))
    assert [problem.path for problem in found.problems] == ["vendor/composer/installed.json"]


def test_a_package_without_a_name_in_the_list_is_a_problem_and_the_others_count() -> None:
    found = catalogue(image({"vendor/composer/installed.json": json.dumps([{"name": "x"}, MONOLOG]).encode()}))
    assert len(found.packages) == len(found.problems) == 1


def serialized(value: object) -> str:
    if isinstance(value, dict):
        inner = "".join(serialized(key) + serialized(item) for key, item in value.items())
        return f"a:{len(value)}:{{{inner}}}"
    if isinstance(value, int):
        return f"i:{value};"
    return f's:{len(str(value).encode())}:"{value}";'


def test_the_registry_of_pear_and_pecl_is_read() -> None:
    said = {
        "attribs": {"version": "2.0"}, "name": "redis", "channel": "pecl.php.net", "stability": {"release": "stable"},
        "version": {"release": "5.3.7", "api": "5.0"}, "license": {"attribs": {"uri": "u"}, "_content": "PHP"},
        "_lastmodified": 17,
    }  # fmt: skip
    path = "usr/local/lib/php/.registry/.channel.pecl.php.net/redis.reg"
    [found] = catalogue(image({path: serialized(said).encode()})).packages
    assert (found.purl, found.licenses) == ("pkg:pear/pecl.php.net/redis@5.3.7", ("PHP",))
    old = {"package": "PEAR", "version": "1.9", "license": "BSD"}
    [found] = catalogue(image({"usr/share/php/.registry/pear.reg": serialized(old).encode()})).packages
    assert found.purl == "pkg:pear/pear.php.net/PEAR@1.9"


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"N;", b'O:8:"stdClass":0:{}', b'C:1:"a":0:{}', b"a:999999999:{}", b'a:1:{s:4:"name";' * 2000,
        b'a:1:{s:9:"x";N;}',
        b"a:1:{" * 100_000, b"r:1;", b"a:0:{", b's:-1:"";', b"a:300000:{" + b"i:1;N;" * 300_000 + b"}",
    ],
)  # fmt: skip
def test_objects_loops_and_lies_about_length_are_unreadable(raw: bytes) -> None:
    with pytest.raises(Unreadable):
        php.parse_registry(raw)


def test_wordpress_and_its_plugins_tell_their_versions() -> None:
    plugin = b"<?php\n/**\n * Plugin Name: Akismet\n * Version: 5.0.1\n * License: GPLv2 or later\n */\n"
    layer = {
        "srv/wp-includes/version.php": b"<?php\n$wp_version = '6.1.1';\n",
        "srv/wp-content/plugins/akismet/akismet.php": plugin,
        "srv/wp-content/plugins/akismet/helper.php": b"<?php\n",
    }
    found = catalogue(image(layer))
    assert [package.purl for package in found.packages] == [
        "pkg:wordpress-plugin/akismet@5.0.1",
        "pkg:wordpress/wordpress@6.1.1",
    ]
    assert found.complete
