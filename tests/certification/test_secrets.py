"""Secrets in the files of layers: what is found, where it is told, and that it is never shown."""

import base64
import json
import struct
import time
from collections.abc import Mapping

import pytest

from customhouse.certification.checks import sec_file, sec_history, sec_key
from customhouse.certification.secrets.engine import MOST_PLACES, UNFINISHED, find
from customhouse.certification.secrets.keys import CREDENTIALS
from customhouse.certification.secrets.places import place
from customhouse.certification.secrets.rules import compiled, load, shipped
from customhouse.oci.entry import FileEntry
from customhouse.testing.images import Node, image, layer
from tests.certification.secret_samples import private_key, sample, token
from tests.certification.subjects import failed, findings, outcomes

GITHUB = token("gh" + "p_", 36)
NPM = token("np" + "m_", 36)
PASSWORD = token("", 14)
ENCODED = base64.b64encode(b"u:" + PASSWORD.encode()).decode()
TRUST_STORE = b"\xfe\xed\xfe\xed" + struct.pack(">IIIH", 2, 1, 2, 1) + b"a" + bytes(8)
TRUST_STORE += struct.pack(">H", 5) + b"X.509" + struct.pack(">I", 3) + b"abc"


def keys(check: object, files: Mapping[str, Node]) -> set[tuple[str, str]]:
    found = failed(findings(check.CHECK, image([layer(files)])))  # type: ignore[attr-defined]
    return {(str(item.evidence["path"]), str(item.evidence["key"])) for item in found}


# ---- the rules


@pytest.mark.parametrize("rule", shipped().rules, ids=lambda rule: rule.id)
def test_every_match_of_a_rule_holds_the_place_it_is_located_by(rule: object) -> None:
    places = compiled(rule.locate, fold=True)  # type: ignore[attr-defined]
    # A bare hash near the word "sourcegraph" is no token: the rule is located by its prefix alone.
    drawn = [sample(rule, seed) for seed in range(12)]  # type: ignore[arg-type]
    matching = [text for text in drawn if rule.pattern.search(text)]  # type: ignore[attr-defined]
    if rule.id == "sourcegraph-access-token":  # type: ignore[attr-defined]
        matching = [text for text in matching if b"sgp_" in text]
    assert matching
    assert [text for text in matching if not places.search(text)] == []


def test_rules_have_a_version_that_changes_with_their_documents() -> None:
    from importlib.resources import files

    ours = files("customhouse.certification.secrets").joinpath("rules.toml").read_bytes()
    assert load(ours).version == shipped().version != load(ours + b"\n").version
    assert len(shipped().rules) > 200 and len({rule.id for rule in shipped().rules}) == len(shipped().rules)


# ---- files


def test_secrets_in_files_are_found_with_their_line_and_never_shown() -> None:
    text = f"first\n  token: {GITHUB}\nurl = postgres://app:{PASSWORD}@db.internal/app\n"
    built = image([layer({"srv/app/notes.txt": text}, created_by="COPY . /srv")])
    (one, two) = failed(findings(sec_file.CHECK, built))
    assert (one.evidence["path"], one.evidence["key"]) == ("srv/app/notes.txt", "github-pat")
    assert one.evidence["lines"] == [2]
    assert one.evidence["name"] == "token" and one.evidence["history"] == "COPY . /srv"
    assert (two.evidence["key"], two.evidence["lines"]) == ("password-in-url", [3])
    told = json.dumps([one.as_json(), two.as_json()])
    assert GITHUB not in told and PASSWORD not in told and GITHUB[8:] not in told


def test_a_secret_that_a_later_layer_removes_is_found_and_said_to_be_removed() -> None:
    built = image([layer({"root/.netrc.txt": GITHUB}, created_by="ADD it"), layer({"root/.wh..netrc.txt": b""})])
    (found,) = failed(findings(sec_file.CHECK, built))
    assert found.evidence["removed"] is True and "later layer" in found.message
    assert found.evidence["history"] == "ADD it"
    again = image([layer({"a": GITHUB}), layer({"a": "no longer"})])
    assert failed(findings(sec_file.CHECK, again))[0].evidence["removed"] is True


def test_a_finding_keeps_its_fingerprint_when_lines_and_layers_move() -> None:
    before = failed(findings(sec_file.CHECK, image([layer({"a": GITHUB})])))
    after = failed(findings(sec_file.CHECK, image([layer({"b": b""}), layer({"a": f"\n\nx={GITHUB}"})])))
    assert [item.fingerprint for item in before] == [item.fingerprint for item in after]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("app/.env", f"DB_PASSWORD={PASSWORD}\n"),
        ("app/config/settings.yml", f"  secret_key: '{PASSWORD}9z'\n"),
        ("app/deploy.sh", f'curl -H "Authorization: Bearer {token("", 40)}" https://x.example\n'),
        ("home/u/aws.txt", f"aws_secret_access_key = {token('', 40)}\n"),
        ("app/k8s.yaml", f"kind: Secret\nmetadata:\n  name: x\ndata:\n  p: {ENCODED}\n"),
        ("app/windows.txt", ("\ufeff" + f"token {GITHUB}").encode("utf-16-le")),
        ("var/www/.htpasswd", "bob:$apr1$" + token("", 8) + "$" + token("", 22) + "\n"),
    ],
)
def test_secrets_in_many_forms_of_files_are_found(path: str, text: str | bytes) -> None:
    assert {found for found, _ in keys(sec_file, {path: text})} == {path}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("app/.env", "DB_PASSWORD=${DB_PASSWORD}\nAPI_KEY=changeme\nSECRET_KEY=your-secret-key\nTOKEN=\n"),
        ("app/x.env", "PASSWORD=password1\n"),
        ("app/a.py", "password = get_password()\nurl = 'http://user:password@example.com/'\n"),
        ("app/b.js", "const apiKey = process.env.API_KEY; let s = 'eyJhbGciOiJIUzI1NiJ9'\n"),
        ("app/c.md", "AKIA" + "IOSFODNN7EXAMPLE\n"),
        ("app/d.bin", b"\0\0" + GITHUB.encode()),
        ("usr/share/doc/x/readme", GITHUB),
        ("app/package-lock.json", '{"integrity": "sha512-' + token("", 86) + '=="}'),
    ],
)
def test_what_is_no_secret_passes(path: str, text: str | bytes) -> None:
    assert outcomes(findings(sec_file.CHECK, image([layer({path: text})]))) == {"pass"}


def test_in_what_others_publish_forms_count_a_little_and_names_do_not() -> None:
    module = "app/node_modules/x/"
    files = {f"{module}index.js": f"t='{GITHUB}'", f"{module}config.json": f'"password": "{PASSWORD}"',
             f"{module}test/key.js": GITHUB}  # fmt: skip
    (found,) = failed(findings(sec_file.CHECK, image([layer(files)])))
    assert found.evidence["path"] == f"{module}index.js" and found.severity == "low"
    assert place("usr/lib/python3/dist-packages/x/tests/a.py") == "skipped"


def test_what_could_not_be_searched_is_not_a_pass() -> None:
    from customhouse.oci.wants import Budget

    assert outcomes(findings(sec_file.CHECK, image([layer({"a": "x" * 9000})]), budget=Budget(unpacked=4096))) == {
        "not_evaluable"
    }


def test_hostile_text_takes_the_time_of_its_length() -> None:
    size = 400_000
    texts = [
        b"npm_" + b"a" * 8, b"adobe = " + b"x" * 12 + b"\n", b"ey" + b"a" * 30 + b".", b"a.", b"://a:a",
        b"-----begin private key", b"kind: secret\n", b"password: aaaaaaaa", b"aws_secret_access_key=" + b"a" * 30,
        b" " * 40 + b"=", b"sk" + b"0" * 31,
    ]  # fmt: skip
    for text in texts:
        start = time.process_time()
        list(find(text * (size // len(text)), "x/.env"))
        assert time.process_time() - start < 3, text[:20]


def test_a_file_of_decoys_is_not_searched_for_ever_and_does_not_pass() -> None:
    decoys = (b"npm_" + b"a" * 36 + b"\n") * (MOST_PLACES + 10)
    assert [seen.rule for seen in find(decoys)] == [UNFINISHED]
    assert keys(sec_file, {"a": decoys}) == {("a", UNFINISHED)}


def test_a_rule_can_be_accepted_by_the_policy() -> None:
    built = image([layer({"a": GITHUB})])
    assert outcomes(findings(sec_file.CHECK, built, params={"accepted_rules": ["github-pat"]})) == {"pass"}


# ---- keys and credentials


def test_private_keys_are_told_by_kind_and_weighed_by_their_passphrase() -> None:
    sealed = b"openssh-key-v1\0" + struct.pack(">I", 10) + b"aes256-ctr" + bytes(100)
    open_key = b"openssh-key-v1\0" + struct.pack(">I", 4) + b"none" + bytes(100)

    def openssh(raw: bytes) -> str:
        lines = base64.encodebytes(raw).decode()
        return private_key("OPENSSH ").split("\n")[0] + "\n" + lines + private_key("OPENSSH ").split("\n")[-2] + "\n"

    for text, severity, word in (
        (private_key(), "block", "RSA"),
        (private_key(""), "block", "private key"),
        (private_key("ENCRYPTED "), "medium", "encrypted"),
        (private_key(headers="Proc-Type: 4,ENCRYPTED"), "medium", "encrypted"),
        (openssh(sealed), "medium", "encrypted"),
        (openssh(open_key), "block", "OPENSSH"),
    ):
        (found,) = failed(findings(sec_key.CHECK, image([layer({"etc/ssh/k": text})])))
        assert (found.severity, word in found.message) == (severity, True), found.message
        assert outcomes(findings(sec_file.CHECK, image([layer({"etc/ssh/k": text})]))) == {"pass"}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("root/.docker/config.json", json.dumps({"auths": {"r.example": {"auth": ENCODED}}})),
        ("root/.npmrc", f"//registry.example/:_authToken={PASSWORD}\n"),
        ("root/.pypirc", f"[pypi]\nusername = a\npassword = {PASSWORD}\n"),
        ("root/.kube/config", f"users:\n- name: a\n  user:\n    token: {PASSWORD}\n"),
        ("root/.pgpass", f"db:5432:app:app:{PASSWORD}\n"),
        ("root/.git-credentials", f"https://bob:{PASSWORD}@git.example\n"),
        ("app/store.jks", b"\xfe\xed\xfe\xed" + struct.pack(">IIIH", 2, 1, 1, 1) + b"a"),
        ("app/key.der", b"\x30\x82\x04\xbd\x02\x01\x00\x30\x0d\x06\x09" + bytes(60)),
        ("app/c.p12", bytes.fromhex("30820a0002010330820a0006092a864886f70d010701") + bytes(60)),
        ("app/p.ppk", b"PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n"),
    ],
)  # fmt: skip
def test_files_of_credentials_are_found(path: str, text: str | bytes) -> None:
    found = failed(findings(sec_key.CHECK, image([layer({path: text})])))
    assert [item.evidence["path"] for item in found] == [path]
    assert PASSWORD not in json.dumps([item.as_json() for item in found])


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("root/.docker/config.json", '{"auths": {"r.example": {}}, "credsStore": "pass"}'),
        ("root/.npmrc", "//registry.example/:_authToken=${NPM_TOKEN}\nregistry=https://registry.example\n"),
        ("root/.kube/config", "apiVersion: v1\nusers: []\n"),
        ("app/trust.jks", TRUST_STORE),
        ("app/public.key", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"),
        ("usr/share/doc/x/key.pem", private_key()),
    ],
)  # fmt: skip
def test_files_that_hold_no_credentials_pass(path: str, text: str | bytes) -> None:
    assert outcomes(findings(sec_key.CHECK, image([layer({path: text})]))) == {"pass"}


def test_a_broken_file_of_credentials_is_not_a_pass() -> None:
    for path, text in (("root/.docker/config.json", "[" * 100_000), ("a.jks", b"\xfe\xed\xfe\xed\0\0\0\2\0\0\0\1")):
        assert outcomes(findings(sec_key.CHECK, image([layer({path: text})]))) == {"not_evaluable"}
    assert not CREDENTIALS.wants(FileEntry("usr/bin/ls", "file", 100))


def test_every_name_of_a_file_of_credentials_is_wanted() -> None:
    text = """
        root/.docker/config.json .dockercfg run/containers/auth.json .npmrc etc/npmrc .yarnrc.yml .pypirc
        .kube/config x.kubeconfig etc/kubernetes/admin.conf .aws/credentials
        a/gcloud/application_default_credentials.json .azure/accessTokens.json .azure/msal_token_cache.json
        .boto .s3cfg rclone.conf .pgpass .my.cnf etc/mysql/debian.cnf .git-credentials .config/gh/hosts.yml
        .config/hub .composer/auth.json .m2/settings.xml .m2/settings-security.xml .vault-token .vault_pass
        terraform.tfstate terraform.tfstate.backup config/initializers/secret_token.rb config/master.key
        a.jks A.P12 a.pfx a.kdbx a.ppk a.der a.key etc/ssh/ssh_host_rsa_key a.keystore
    """
    names = text.split()
    assert [name for name in names if not CREDENTIALS.wants(FileEntry(name, "file", 100))] == []


# ---- history


def test_history_tells_what_the_environment_does_not() -> None:
    def built(line: str, env: list[str]) -> object:
        return image([layer({"a": b""}, created_by=line)], config={"Env": env})

    secret = f"DB_PASSWORD={PASSWORD}"
    assert outcomes(findings(sec_history.CHECK, built(f"ENV {secret}", [secret]))) == {"pass"}  # type: ignore[arg-type]
    (found,) = failed(findings(sec_history.CHECK, built(f"ENV {secret}", [])))  # type: ignore[arg-type]
    assert found.evidence["key"] == "history:DB_PASSWORD" and PASSWORD not in json.dumps(found.as_json())
    assert outcomes(findings(sec_history.CHECK, built("", []))) == {"not_applicable"}  # type: ignore[arg-type]
