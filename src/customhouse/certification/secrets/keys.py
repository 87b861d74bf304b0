"""Private keys, key stores and files that exist to hold credentials.

1. A key without passphrase is worse than one with; keys that projects publish as test data (known-keys.txt, by digest)
   are no secret.
2. A file is judged by its content, with its name only as the reason to look: an empty kubeconfig, a trust store or
   an .npmrc that takes its token from the environment holds nothing.
3. Parsers are bounded by `limit` and by the counts here; what they cannot read is no fact but an unread file.
(RFC 7468 PEM, RFC 5208 PKCS#8, RFC 7292 PKCS#12, PROTOCOL.key of OpenSSH, the JKS of the JDK.)
"""

import base64
import binascii
import hashlib
import json
import re
import struct
from collections.abc import Callable, Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from customhouse.certification.findings import Severity
from customhouse.certification.secrets import places
from customhouse.certification.secrets.engine import is_placeholder
from customhouse.oci.entry import FileEntry
from customhouse.oci.reader import JSON

MIB = 1024 * 1024
MOST_ENTRIES = 1000
_LONGEST_LINE = 4096

_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/=]")
_LABEL = re.compile(rb"-----BEGIN([ A-Za-z0-9_-]{0,100})PRIVATE KEY")
_STORES = re.compile(
    r"\.(?:jks|keystore|ks|p12|pfx|kdbx?|psafe3|agilekeychain|keychain|ppk|tpm|bek|fve)$", re.IGNORECASE
)
_DER = re.compile(r"(?:\.(?:der|key|pk8|p8)|_key)$", re.IGNORECASE)


def about_key(block: bytes) -> tuple[str, Severity]:
    """What kind of key a PEM block from its BEGIN on is, and how much it weighs."""
    label = _LABEL.search(block)
    kind = (label[1] if label else b"").strip().decode("ascii", "replace").upper()
    body = block.replace(b"\\n", b"\n").split(b"-----", 2)[-1].split(b"-----", 1)[0]
    text = b"".join(_NOT_BASE64.sub(b"", line) for line in body.split(b"\n") if b":" not in line)
    if hashlib.sha256(text).hexdigest()[:32] in known_keys():
        return "a key that is published as test data", Severity.INFO
    if kind.startswith("ENCRYPTED") or b"ENCRYPTED" in body[:400] or (kind == "OPENSSH" and _sealed(text)):
        return f"an encrypted {kind.replace('ENCRYPTED', '').strip()} private key".replace("  ", " "), Severity.MEDIUM
    return f"{_article(kind)} private key".replace("  ", " "), Severity.BLOCK


@cache
def known_keys() -> frozenset[str]:
    """Digests of published test keys."""
    raw = files("customhouse.certification.secrets").joinpath("known-keys.txt").read_text(encoding="ascii")
    return frozenset(line for line in raw.splitlines() if line and not line.startswith("#"))


def _article(kind: str) -> str:
    return f"an {kind}" if kind[:1] in ("E", "O", "R") else f"a {kind}"


def _sealed(text: bytes) -> bool:
    """Does an OpenSSH key name a cipher?"""
    try:
        raw = base64.b64decode(text[:400] + b"=" * (-len(text[:400]) % 4))
        start = raw.index(b"openssh-key-v1\0") + 15
        (size,) = struct.unpack_from(">I", raw, start)
        return size > 64 or raw[start + 4 : start + 4 + size] != b"none"
    except (binascii.Error, ValueError, struct.error):
        return False


class CredentialReader:
    """Facts: `rule`, what the file holds (`kind`), `severity`, and `line` where there are lines."""

    name = "credentials"
    version = 1
    limit = 4 * MIB

    def wants(self, file: FileEntry) -> bool:
        path = file.path
        name = path.rpartition("/")[2].lower()
        if name not in _LAST and not name.endswith(_ENDS):  # asked for every file: nearly all go here
            return False
        if not file.size or file.size > self.limit and not _STORES.search(path) or places.aside(path):
            return False
        return bool(_STORES.search(path) or _DER.search(path) or _format(path) is not None)

    def read(self, path: str, body: bytes) -> Iterator[JSON]:
        known = _format(path)
        if known is not None:
            yield from known(body)
        elif _STORES.search(path):
            yield from _store(path, body)
        elif _der_key(body):
            yield _fact("private-key", "a private key in DER form", Severity.BLOCK)


def _fact(rule: str, kind: str, severity: Severity, line: int | None = None) -> JSON:
    found: dict[str, JSON] = {"rule": rule, "kind": kind, "severity": severity.value}
    return found if line is None else {**found, "line": line}


def _store(path: str, body: bytes) -> Iterator[JSON]:
    if body.startswith((b"\xfe\xed\xfe\xed", b"\xce\xce\xce\xce")):
        if _jks_keys(body):
            yield _fact("keystore", "a Java key store with private keys", Severity.BLOCK)
        return
    suffix = path.rpartition(".")[2].lower()
    if suffix == "ppk":
        if body.startswith(b"PuTTY-User-Key-File-"):
            sealed = b"Encryption: none" not in body[:400]
            yield _fact("private-key", "a PuTTY private key", Severity.MEDIUM if sealed else Severity.BLOCK)
    elif suffix in ("p12", "pfx", "jks", "keystore", "ks"):
        # PKCS#12: SEQUENCE, INTEGER 3, then the content type "data" or "signedData" of PKCS#7.
        if body[:1] == b"\x30" and b"\x02\x01\x03" in body[:16] and b"\x2a\x86\x48\x86\xf7\x0d\x01\x07" in body[:64]:
            sealed_keys = b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x0a\x01\x02" in body
            severity = Severity.BLOCK if sealed_keys else Severity.HIGH
            yield _fact("keystore", "a PKCS#12 key store", severity)
    elif body[:4] == b"\x03\xd9\xa2\x9a" or suffix not in ("kdb", "tpm", "ks"):
        yield _fact("keystore", "a store of passwords or keys", Severity.HIGH)


def _jks_keys(body: bytes) -> bool:
    """Does a JKS or JCEKS hold a private or secret key? Raises struct.error where it is cut off."""
    _, version, count = struct.unpack_from(">III", body)
    at = 12
    for _ in range(min(count, MOST_ENTRIES)):
        tag, length = struct.unpack_from(">IH", body, at)
        if tag != 2:
            return True
        at += 6 + length + 8
        if version == 2:
            (length,) = struct.unpack_from(">H", body, at)
            at += 2 + length
        (length,) = struct.unpack_from(">I", body, at)
        at += 4 + length
    return bool(count > MOST_ENTRIES)


def _der_key(body: bytes) -> bool:
    """PKCS#8, PKCS#1 or SEC 1: SEQUENCE, a small INTEGER, then what follows in each of them."""
    if body[:1] != b"\x30" or len(body) < 40:
        return False
    skip = 2 + (body[1] & 0x7F if body[1] & 0x80 else 0)
    inner = body[skip : skip + 24]
    if inner[:3] == b"\x02\x01\x00":
        return (inner[3:4] == b"\x30" and b"\x06" in inner[4:8]) or inner[3:5] == b"\x02\x82"
    return inner[:3] == b"\x02\x01\x01" and inner[3:5] in (b"\x04\x20", b"\x04\x30", b"\x04\x42")


def _lines(rule: str, kind: str, pattern: str, severity: Severity = Severity.BLOCK) -> "_Format":
    """A format in which one line holds the secret; the first group is its value."""
    compiled = re.compile(pattern.encode(), re.IGNORECASE)

    def read(body: bytes) -> Iterator[JSON]:
        told = 0
        for number, line in enumerate(body.splitlines(), 1):
            found = compiled.match(line[:_LONGEST_LINE])
            if found and not is_placeholder(found[1].strip(b"\"' ,")):
                yield _fact(rule, kind, severity, number)
                told += 1
                if told == 10:
                    return

    return read


def _docker_config(body: bytes) -> Iterator[JSON]:
    document = json.loads(body)
    listed = document.get("auths", document) if isinstance(document, dict) else {}
    for entry in list(listed.values())[:MOST_ENTRIES] if isinstance(listed, dict) else ():
        if isinstance(entry, dict) and (_login(entry.get("auth")) or any(
            isinstance(entry.get(key), str) and entry[key] for key in ("password", "identitytoken", "registrytoken")
        )):  # fmt: skip
            yield _fact("docker-config", "a login to a registry", Severity.BLOCK)
            return


def _login(text: Any) -> bool:
    if not isinstance(text, str) or not text:
        return False
    try:
        name, _, password = base64.b64decode(text[:_LONGEST_LINE], validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return True
    return bool(name and password.strip(b"\0"))


_Format = Callable[[bytes], Iterator[JSON]]
_VALUE = r"""\s{0,8}[=:]\s{0,8}["']?([^\s"'$%{][^\s"']{3,})"""
_NPM, _GIT, _CLOUD = "a login to an npm registry", "a login to a git server", "credentials of a cloud"
_RAILS = (
    r"""(?:[^#]{0,200}(?:secret_token|secret_key_base|_secret_key|app_secret)["']?\s{0,8}(?:=>?|,|:)\s{0,8}["']|"""
    r"""(?=[0-9a-f]{32}\s{0,4}$))([^\s"'$%{#]{16,})"""
)
_TERRAFORM = (
    r"""[^#]{0,200}"(?:password|secret|token|private_key|access_key|secret_key|connection_string)\"""" + _VALUE
)
# Names of files (expressions, matched at the end of the path), and how their secrets are told.
_NAMED: tuple[tuple[str, _Format], ...] = (
    (r"\.docker/config\.json|\.dockercfg|\.dockerconfigjson|containers/auth\.json", _docker_config),
    (r"\.?npmrc", _lines("npm-login", _NPM, r"[^#;]{0,300}\b_(?:authToken|auth|password)" + _VALUE)),
    (r"\.yarnrc\.yml", _lines("npm-login", _NPM, r"[^#]{0,80}npmAuth(?:Token|Ident)" + _VALUE)),
    (r"\.pypirc", _lines("pypi-login", "a login to a Python index", r"\s{0,8}password" + _VALUE)),
    (
        r"\.kube/config|kubeconfig|[\w.-]+\.kubeconfig|kubernetes/admin\.conf",
        _lines(
            "kubeconfig",
            "a login to a Kubernetes cluster",
            r"[\s-]{0,40}(?:client-key-data|token|id-token|refresh-token|password)" + _VALUE,
        ),
    ),
    (r"\.aws/credentials", _lines("aws-credentials", _CLOUD, r"\s{0,8}aws_secret_access_key" + _VALUE)),
    (
        r"application_default_credentials\.json|gcloud/legacy_credentials/[^/]+/adc\.json|"
        r"\.azure/(?:accessTokens|msal_token_cache)\.json",
        _lines(
            "cloud-credentials",
            _CLOUD,
            r"""[^#]{0,2000}"(?:refresh_?token|client_secret|private_key|access_?token|secret)\"""" + _VALUE,
        ),
    ),
    (
        r"\.boto|\.s3cfg",
        _lines(
            "cloud-credentials",
            _CLOUD,
            r"\s{0,8}(?:gs_secret_access_key|aws_secret_access_key|secret_key|gs_oauth2_refresh_token)" + _VALUE,
        ),
    ),
    (
        r"rclone\.conf",
        _lines("cloud-credentials", _CLOUD, r"\s{0,8}(?:pass|secret_access_key|token|client_secret)" + _VALUE),
    ),
    (
        r"\.pgpass",
        _lines("database-login", "a login to a database", r"[^#:]{1,300}:[^:]{1,10}:[^:]{1,100}:[^:]{1,100}:(\S{3,})"),
    ),
    (r"\.my\.cnf|debian\.cnf", _lines("database-login", "a login to a database", r"\s{0,8}password" + _VALUE)),
    (r"\.git-credentials", _lines("git-login", _GIT, r"https?://[^\s/:@]{1,200}:([^\s/@]{3,500})@")),
    (r"gh/hosts\.yml|\.config/hub", _lines("git-login", _GIT, r"[\s-]{0,40}oauth_token" + _VALUE)),
    (
        r"\.?composer/auth\.json",
        _lines("composer-login", "a login of Composer", r"""[^#]{0,300}"(?:password|github\.com|token)\"""" + _VALUE),
    ),
    (
        r"\.m2/settings(?:-security)?\.xml",
        _lines("maven-login", "a login of Maven", r"\s{0,40}<(?:password|passphrase|master)>([^<${][^<]{3,})"),
    ),
    (r"\.vault-token|\.vault_pass(?:\.txt)?", _lines("vault-token", "a token of Vault", r"\s{0,8}(\S{8,})")),
    (
        r"terraform\.tfstate(?:\.backup)?",
        _lines("terraform-state", "a state of Terraform with secrets", _TERRAFORM, Severity.HIGH),
    ),
    (
        r"(?:secret_token|carrierwave|omniauth)\.rb|config/master\.key|credentials\.yml\.key",
        _lines("rails-secret", "a secret of a Rails application", _RAILS),
    ),
)
# The last components and ends of all names above, of _STORES and of _DER, in lower case.
_LAST_NAMES = """
    config.json .dockercfg .dockerconfigjson auth.json .npmrc npmrc .yarnrc.yml .pypirc config kubeconfig
    admin.conf credentials application_default_credentials.json adc.json accesstokens.json msal_token_cache.json
    .boto .s3cfg rclone.conf .pgpass .my.cnf debian.cnf .git-credentials hosts.yml hub settings.xml
    settings-security.xml .vault-token .vault_pass .vault_pass.txt terraform.tfstate terraform.tfstate.backup
    secret_token.rb carrierwave.rb omniauth.rb master.key credentials.yml.key
"""
_LAST = frozenset(_LAST_NAMES.split())
_ENDS = (
    ".kubeconfig", ".jks", ".keystore", ".ks", ".p12", ".pfx", ".kdb", ".kdbx", ".psafe3", ".agilekeychain",
    ".keychain", ".ppk", ".tpm", ".bek", ".fve", ".der", ".key", ".pk8", ".p8", "_key",
)  # fmt: skip
_FORMATS = tuple((re.compile(rf"(?:^|/)(?:{names})$", re.IGNORECASE), read) for names, read in _NAMED)


def _format(path: str) -> _Format | None:
    return next((read for names, read in _FORMATS if names.search(path)), None)


CREDENTIALS = CredentialReader()
