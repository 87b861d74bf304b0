import io
import time
import zipfile

import pytest

from customhouse.catalogue import java
from customhouse.catalogue.packages import Catalogue, catalogue
from customhouse.catalogue.zips import Allowance, BadZip, Zip
from tests.catalogue.images import image
from tests.catalogue.zips import zipped


def pom(group: str, artifact: str, version: str) -> dict[str, bytes]:
    said = f"#Generated\ngroupId={group}\nartifactId={artifact}\nversion={version}\n"
    return {f"META-INF/maven/{group}/{artifact}/pom.properties": said.encode()}


def manifest(**said: str) -> dict[str, bytes]:
    lines = [f"{key.replace('_', '-')}: {value}" for key, value in said.items()]
    return {"META-INF/MANIFEST.MF": "\r\n".join(["Manifest-Version: 1.0", *lines, "", ""]).encode()}


def found(*, path: str = "app/x.jar", **files: bytes) -> Catalogue:
    return catalogue(image({path: zipped(files)}))


def purls(catalogue: Catalogue) -> list[str]:
    assert catalogue.complete, catalogue.problems
    return [package.purl for package in catalogue.packages]


LOG4J = pom("org.apache.logging.log4j", "log4j-core", "2.14.1")


def test_a_pom_names_the_archive_with_its_group() -> None:
    [package] = found(path="app/log4j-core-2.14.1.jar", **LOG4J).packages
    assert (package.ecosystem, package.name) == ("Maven", "org.apache.logging.log4j:log4j-core")
    assert package.purl == "pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1"
    assert package.properties == {"group": "pom"}


def test_what_was_shaded_in_is_listed_with_its_parent() -> None:
    packages = found(path="app/tool-1.0.jar", **pom("org.acme", "tool", "1.0"), **LOG4J).packages
    by_name = {package.name: package for package in packages}
    assert set(by_name) == {"org.acme:tool", "org.apache.logging.log4j:log4j-core"}
    assert by_name["org.apache.logging.log4j:log4j-core"].properties == {
        "group": "pom",
        "parent": "pkg:maven/org.acme/tool@1.0",
        "shaded": "yes",
    }


def test_an_archive_of_another_name_with_one_pom_took_that_in() -> None:
    packages = found(path="app/tool-1.0.jar", **LOG4J).packages
    assert [(package.name, package.properties["group"]) for package in packages] == [
        ("org.apache.logging.log4j:log4j-core", "pom"),
        ("tool", "none"),
    ]


def test_archives_in_archives_are_read_and_say_where_they_lie() -> None:
    war = zipped({"WEB-INF/lib/log4j-core-2.14.1.jar": zipped(LOG4J)})
    ear = {"shop.war": war, **pom("org.acme", "shop-ear", "3.0")}
    packages = found(path="opt/shop-ear-3.0.ear", **ear).packages
    assert [(package.name, package.properties.get("inside")) for package in packages] == [
        ("org.acme:shop-ear", None),
        ("org.apache.logging.log4j:log4j-core", "shop.war!/WEB-INF/lib/log4j-core-2.14.1.jar"),
    ]
    assert packages[1].properties["parent"] == "pkg:maven/org.acme/shop-ear@3.0"


def test_a_jar_that_begins_with_a_script_and_stores_its_jars_is_read() -> None:
    inner = zipped(LOG4J)
    boot = b"#!/bin/bash\nexec java -jar $0\n" + zipped({"BOOT-INF/lib/x.jar": inner}, zipfile.ZIP_STORED)
    assert purls(catalogue(image({"app.jar": boot}))) == ["pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1"]


@pytest.mark.parametrize(
    ("path", "said", "url", "group"),
    [
        ("a/thing-31.1-jre.jar", {}, "pkg:maven/thing@31.1-jre", "none"),
        ("a/spring-core-5.3.1.jar", {}, "pkg:maven/org.springframework/spring-core@5.3.1", "name"),
        ("a/dom4j-1.6.1.jar", {}, "pkg:maven/dom4j/dom4j@1.6.1", "name"),
        ("a/dom4j-2.1.3.jar", {}, "pkg:maven/org.dom4j/dom4j@2.1.3", "name"),
        ("a/bcprov-jdk16-1.46.jar", {}, "pkg:maven/bcprov-jdk16@1.46", "none"),
        ("a/bcprov-jdk15on-1.60.jar", {}, "pkg:maven/org.bouncycastle/bcprov-jdk15on@1.60", "name"),
        ("a/py4j0.10.9.7.jar", {}, "pkg:maven/py4j@0.10.9.7", "none"),
        (
            "usr/local/tomcat/lib/catalina.jar",
            {"Implementation_Title": "Apache Tomcat", "Implementation_Version": "9.0.65"},
            "pkg:maven/org.apache.tomcat/tomcat-catalina@9.0.65",
            "name",
        ),
        (
            "a/thing-3.12.0.jar",
            {"Bundle_SymbolicName": "org.acme.thing;singleton:=true", "Bundle_Version": "3.12.0"},
            "pkg:maven/org.acme/thing@3.12.0",
            "guess",
        ),
        ("a/x-1.0.jar", {"Bundle_SymbolicName": "org.x"}, "pkg:maven/org.x/x@1.0", "guess"),
        (
            "root/.m2/repository/com/google/guava/guava/31.1-jre/guava-31.1-jre.jar",
            {},
            "pkg:maven/com.google.guava/guava@31.1-jre",
            "path",
        ),
        (
            "g/caches/modules-2/files-2.1/com.google.guava/guava/31.1-jre/0a1b/guava-31.1-jre.jar",
            {},
            "pkg:maven/com.google.guava/guava@31.1-jre",
            "path",
        ),
        (
            "a/commons-lang3-3.12.0.jar",
            {"Bundle_SymbolicName": "org.apache.commons.lang3;singleton:=true", "Bundle_Version": "3.12.0"},
            "pkg:maven/org.apache.commons/commons-lang3@3.12.0",
            "name",
        ),
        (
            "a/spring-core.jar",
            {"Implementation_Vendor_Id": "org.springframework", "Implementation_Version": "5.3.1"},
            "pkg:maven/org.springframework/spring-core@5.3.1",
            "manifest",
        ),
        (
            "p/git.jpi",
            {"Short_Name": "git", "Plugin_Version": "4.11.0 (private)", "Group_Id": "org.jenkins-ci.plugins"},
            "pkg:maven/org.jenkins-ci.plugins/git@4.11.0",
            "manifest",
        ),
    ],
)
def test_without_a_pom_place_manifest_and_name_tell(path: str, said: dict[str, str], url: str, group: str) -> None:
    [package] = found(path=path, **manifest(**said)).packages
    assert package.purl == url
    assert package.properties["group"] == group


@pytest.mark.parametrize(
    ("name", "artifact", "version"),
    [
        ("log4j-1.2-api-2.17.1.jar", "log4j-1.2-api", "2.17.1"),
        ("foo-1.0-beta-2.jar", "foo", "1.0-beta-2"),
        (
            "netty-transport-native-epoll-4.1.100.Final-linux-x86_64.jar",
            "netty-transport-native-epoll",
            "4.1.100.Final",
        ),
        ("x-2.0-SNAPSHOT.jar", "x", "2.0-SNAPSHOT"),
        ("jakarta.servlet-api-5.0.0.jar", "jakarta.servlet-api", "5.0.0"),
        ("app.jar", "app", ""),
        ("-1.jar", "", "1"),
        (("a-1" * 5000) + ".jar", None, None),
    ],
)
def test_a_files_name_is_parted_where_its_version_begins(name: str, artifact: str | None, version: str | None) -> None:
    found = java.file_name(name, {})
    assert artifact is None or found == (artifact, version)


def test_a_version_that_the_manifest_confirms_is_the_one_in_the_name() -> None:
    said = {"implementation-version": "1-gamma-7"}
    assert java.file_name("x-1-gamma-7.jar", said) == ("x", "1-gamma-7")
    assert java.file_name("x-1-gamma-7.jar", {}) == ("x-1-gamma", "7")


def test_licences_are_the_poms_or_else_the_bundles() -> None:
    xml = b"""<project><!-- <licenses><license><name>No</name></license></licenses> --><version>${revision}</version>
      <licenses><license><name>Apache-2.0</name><url>u</url></license><license><name>MIT</name></license></licenses>
      <dependencies><dependency><version>9</version></dependency></dependencies></project>"""
    [package] = found(path="x-1.jar", **pom("g.h", "x", "1"), **{"META-INF/maven/g.h/x/pom.xml": xml}).packages
    assert package.licenses == ("Apache-2.0", "MIT")
    [package] = found(path="x-1.jar", **pom("g.h", "x", "1"), **manifest(Bundle_License="EPL-2.0;link=y")).packages
    assert package.licenses == ("EPL-2.0",)


def test_a_pom_xml_alone_names_group_artifact_and_the_parents_version() -> None:
    xml = b"<project><parent><groupId>g</groupId><version>4.2</version></parent><artifactId>x</artifactId></project>"
    assert purls(found(**{"META-INF/maven/g.h/x/pom.xml": xml})) == ["pkg:maven/g.h/x@4.2"]


def test_a_plain_archive_of_classes_is_no_package_and_no_problem() -> None:
    assert found(path="srv/classes.jar", **{"A.class": b"\xca\xfe"}) == catalogue(image({}))
    assert catalogue(image({"srv/text.jar": b"version https://git-lfs.example/spec/v1\n" * 9})) == catalogue(image({}))


def reasons(body: bytes) -> list[str]:
    found = catalogue(image({"a-1.jar": body}))
    return [problem.reason for problem in found.problems]


def test_an_encrypted_jar_is_a_problem() -> None:
    raw = bytearray(zipped({"inner-1.jar": zipped(LOG4J)}))
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    raw[6] |= 1
    assert reasons(bytes(raw)) == ["is encrypted (inner-1.jar)"]


def test_damage_anywhere_is_a_problem_or_no_archive_and_never_raised() -> None:
    whole = zipped({"l/log4j-core-2.14.1.jar": zipped(LOG4J), **manifest(Implementation_Version="1")})
    reader = java.READER
    for at in range(0, len(whole)):
        spoilt = bytearray(whole)
        spoilt[at] ^= 0xFF
        assert all(isinstance(fact, dict) for fact in reader.read("a-1.jar", bytes(spoilt)))
    for at in range(0, len(whole), 3):
        list(reader.read("a-1.jar", whole[:at]))


def test_entries_that_overlap_are_a_problem() -> None:
    raw = bytearray(zipped({"a.jar": b"a" * 200, "b.jar": b"b" * 200}, zipfile.ZIP_STORED))
    second = raw.index(b"PK\x01\x02", raw.index(b"PK\x01\x02") + 1)
    raw[second + 42 : second + 46] = (30 + 5 + 20).to_bytes(4, "little")  # into the content of the first
    raw[30 + 5 + 20 : 30 + 5 + 20 + 34] = raw[235 : 235 + 34]
    assert reasons(bytes(raw)) == ["overlaps with another entry (b.jar)"]


def test_a_bomb_is_not_unpacked() -> None:
    zeros = zipped({"big.jar": bytes(65 << 20)})
    started = time.process_time()
    assert reasons(zeros) == [f"is larger than {java.LARGEST_INNER} bytes (big.jar)"]
    assert time.process_time() - started < 2
    lying = bytearray(zipped({"big.jar": bytes(1 << 20)}))
    at = lying.index(b"PK\x01\x02")
    lying[at + 24 : at + 28] = (100).to_bytes(4, "little")
    assert reasons(bytes(lying)) == ["is damaged, or has a false length (big.jar)"]


def test_archives_too_deep_within_archives_are_a_problem() -> None:
    inner = zipped(LOG4J)
    for _ in range(8):
        inner = zipped({"x.jar": inner})
    assert [reason.partition(" (")[0] for reason in reasons(inner)] == ["holds archives too deep within archives"]


def test_archives_that_unpack_to_much_in_all_are_a_problem() -> None:
    archive = Zip.open(zipped({f"{number}.jar": bytes(1 << 20) for number in range(4)}), Allowance(inflated=3 << 20))
    members = list(archive.members(lambda _: True))
    for member in members[:3]:
        assert len(archive.read(member, 1 << 20)) == 1 << 20
    with pytest.raises(BadZip, match="more than may be unpacked"):
        archive.read(members[3], 1 << 20)


def test_zip64_archives_are_read() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in LOG4J.items():
            with archive.open(name, "w", force_zip64=True) as file:
                file.write(content)
    raw = out.getvalue()
    end = raw.rindex(b"PK\x05\x06")
    count, size, offset = (
        1,
        int.from_bytes(raw[end + 12 : end + 16], "little"),
        int.from_bytes(raw[end + 16 : end + 20], "little"),
    )
    record = b"PK\x06\x06" + (44).to_bytes(8, "little") + bytes(12) + count.to_bytes(8, "little") * 2
    record += size.to_bytes(8, "little") + offset.to_bytes(8, "little")
    locator = b"PK\x06\x07" + bytes(4) + end.to_bytes(8, "little") + (1).to_bytes(4, "little")
    last = b"PK\x05\x06" + bytes(4) + b"\xff" * 12 + bytes(2)
    large = raw[:end] + record + locator + last
    assert zipfile.ZipFile(io.BytesIO(large)).namelist() == list(LOG4J)
    assert purls(catalogue(image({"x.jar": large}))) == ["pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1"]


def test_many_entries_cost_little() -> None:
    body = zipped({f"org/acme/{number}.class": b"" for number in range(8_000)} | LOG4J, zipfile.ZIP_STORED)
    started = time.process_time()
    [fact] = java.READER.read("a.jar", body)
    assert time.process_time() - started < 0.3
    assert fact["name"] == "log4j-core"


def test_hosts_of_archives_in_an_archive_end_in_time_as_a_problem() -> None:
    body = zipped({f"{number}.jar": b"no archive" for number in range(12_000)}, zipfile.ZIP_STORED)
    started = time.process_time()
    found = reasons(body)
    assert len(found) == 50 and {reason.partition(" (")[0] for reason in found} == {"holds more archives than are read"}
    assert time.process_time() - started < 3


def test_many_large_poms_end_in_time_as_a_problem() -> None:
    xml = b"<project>" + b"<license><name>" * 60_000
    body = zipped({f"META-INF/maven/g/a{number}/pom.xml": xml for number in range(90)})
    started = time.process_time()
    assert reasons(body) == ["holds more texts than are read"]
    assert time.process_time() - started < 3
