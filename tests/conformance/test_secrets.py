"""Secrets beside Trivy 0.76, on the same files: what either finds of secrets that were planted, and what either reports
of code that holds none. Every secret is drawn by lot when the test runs."""

import base64
import json
import shutil
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from customhouse.certification.findings import Severity
from customhouse.certification.secrets.keys import CREDENTIALS
from customhouse.certification.secrets.reader import SECRETS
from customhouse.certification.secrets.rules import shipped
from customhouse.oci.entry import FileEntry
from tests.certification.secret_samples import private_key, sample, token
from tests.peers.scanners import scanner, trivy

HEX, LOWER = "0123456789abcdef", "abcdefghijklmnopqrstuvwxyz0123456789"
UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

# Planted, and not found by us, each for a reason.
NOT_OURS = {
    "aws-key-id-wrong-letters": "key ids of AWS are base32: 0, 1, 8 and 9 are in none",
    "stripe-publishable": "public by purpose: it stands in every page that takes payments",
    "gcp-account-without-key": "only the mark of the file's kind; with a key in it, the key is found",
    "twitter-40": "Twitter issues no token of 40 hex digits",
}
# Planted, and not found by Trivy.
NOT_TRIVY = {
    "linkedin", "docker-config", "env", "kubernetes", "url", "authorization", "npmrc", "git-credentials",
    "docker-token", "encrypted-key", "removed-quotes",
}  # fmt: skip


def ours(root: Path) -> dict[str, set[tuple[str, str]]]:
    """(rule, severity) by path."""
    found: dict[str, set[tuple[str, str]]] = {}
    for path in sorted(root.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        name, body = str(path.relative_to(root)), path.read_bytes()
        for reader in (SECRETS, CREDENTIALS):
            if reader.wants(FileEntry(name, "file", len(body), head=body[:256])):
                for fact in reader.read(name, body):
                    assert isinstance(fact, dict)
                    found.setdefault(name, set()).add((str(fact["rule"]), str(fact["severity"])))
    return found


def theirs(root: Path, home: Path) -> dict[str, set[str]]:
    home.mkdir(exist_ok=True)
    report = trivy(scanner("trivy"), home, "rootfs", str(root), "--scanners", "secret")
    found: dict[str, set[str]] = {}
    for result in report.get("Results") or []:
        for secret in result.get("Secrets") or []:
            found.setdefault(result["Target"].lstrip("/"), set()).add(secret["RuleID"])
    return found


def uuid(seed: int = 0) -> str:
    return "-".join(token("", size, seed, HEX) for size in (8, 4, 4, 4, 12))


def planted() -> dict[str, tuple[str, str]]:
    """Name: (path, text). The forms are those that the services document."""
    texts = {
        "aws-key-id": token("AK" + "IA", 16, 0, UPPER),
        "aws-key-id-wrong-letters": token("AS" + "IA", 15, 1, UPPER) + "8",
        "aws-secret": f'aws_secret_access_key = "{token("", 40)}"',
        "aws-key": f'AWS_KEY="{token("", 40, 2)}"',
        "github": token("gh" + "p_", 36),
        "github-fine": f"{token('github' + '_pat_', 22)}_{token('', 59)}",
        "gitlab": token("gl" + "pat-", 20),
        "huggingface": token("hf" + "_", 34),
        "shopify": token("shp" + "at_", 32, 0, HEX),
        "slack": f"{token('xo' + 'xb-', 12, 0, '0123456789')}-{token('', 12, 1, '0123456789')}-{token('', 24)}",
        "slack-user": token("xo" + "xp-", 30),
        "slack-hook": "https://hooks.slack.com/" + token("services/", 44),
        "stripe": token("sk" + "_live_", 24),
        "stripe-publishable": token("pk" + "_live_", 24),
        "pypi": token("pypi-" + "AgEIcHlwaS5vcmc", 60),
        "gcp-account-without-key": '{"type": "service_account", "project_id": "x"}',
        "heroku": f' heroku_api_key = "{uuid().upper()}"',
        "twilio": token("S" + "K", 32, 0, HEX),
        "twitter-40": f'twitter_token = "{token("", 40, 0, HEX)}"',
        "facebook": f'facebook_token = "{token("", 32, 0, HEX)}"',
        "atlassian": f'atlassian_token = "{token("", 24, 0, LOWER)}"',
        "discord": f'discord_token = "{token("", 64, 0, HEX)}"',
        "intercom": f'intercom_secret = "{uuid(1)}"',
        "jwt": f"ey{token('J', 20)}.ey{token('J', 40)}.{token('', 40)}",
        "linkedin": f'linkedin_secret="{token("", 16, 0, LOWER)}"',
        "lob": f'lob_key = "{token("live_", 35, 0, HEX)}"',
        "mailchimp": f'mailchimp_key="{token("", 32, 0, HEX)}-us20"',
        "newrelic": f'"{token("NR" + "AK-", 27, 0, UPPER)}"',
        "npm": f'"{token("np" + "m_", 36, 0, LOWER)}"',
        "packagist": token("packagist" + "_uut_", 68, 0, HEX),
        "sendgrid": token("S" + "G.", 66),
        "docker-token": token("dckr" + "_pat_", 27),
        "azure": f"AccountKey={token('', 86)}==",
        "private-key": private_key(),
        "private-key-json": json.dumps({"private_key": private_key("")}),
        "encrypted-key": private_key(headers="Proc-Type: 4,ENCRYPTED"),
        "removed-quotes": f"dropbox_key = {token('', 15, 0, LOWER)}",
        "url": f"postgres://app:{token('', 12)}@db.internal/app",
        "authorization": f"Authorization: Bearer {token('', 40)}",
    }
    login = base64.b64encode(f"bob:{token('', 16)}".encode()).decode()
    return {
        **{name: (f"srv/app/{name}.conf", f"# a line\n{text}\n") for name, text in texts.items()},
        "docker-config": ("root/.docker/config.json", f'{{"auths": {{"r.example": {{"auth": "{login}"}}}}}}'),
        "env": ("srv/app/.env", f"DB_PASSWORD={token('', 14)}\n"),
        "kubernetes": ("srv/app/k8s.yaml", f"kind: Secret\ndata:\n  login: {login}\n"),
        "npmrc": ("root/.npmrc", f"//registry.example/:_authToken={uuid(2)}\n"),
        "git-credentials": ("root/.git-credentials", f"https://bob:{token('', 20)}@git.example\n"),
    }


def test_planted_secrets_are_found_as_by_trivy_and_each_difference_has_its_reason(tmp_path: Path) -> None:
    root, names = tmp_path / "root", planted()
    for path, text in names.values():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    mine, other = ours(root), theirs(root, tmp_path / "home")
    assert {name for name, (path, _) in names.items() if path not in mine} == set(NOT_OURS)
    assert {name for name, (path, _) in names.items() if path not in other} == NOT_TRIVY


def test_whatever_the_rules_describe_is_found(tmp_path: Path) -> None:
    for rule in shipped().rules:
        if not rule.paths:
            (tmp_path / f"{rule.id}.conf").write_bytes(b"# a line\n " + sample(rule) + b" \n")
    found = ours(tmp_path)
    assert [path.name for path in sorted(tmp_path.iterdir()) if path.name not in found] == []
    assert len(found) > 200


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Code that holds no secrets: Python's library and the packages that are installed for these tests."""
    root = tmp_path_factory.mktemp("ordinary")
    paths = sysconfig.get_paths()
    skip = shutil.ignore_patterns("__pycache__", "*.so", "site-packages")
    shutil.copytree(paths["stdlib"], root / "usr/lib/python3", ignore=skip, ignore_dangling_symlinks=True)
    # Moved out of the folders that a scanner knows: as code of the image's own.
    shutil.copytree(Path(paths["purelib"]) / "sqlalchemy", root / "srv/sqlalchemy", ignore=skip)
    shutil.copytree(Path(paths["purelib"]) / "urllib3", root / "srv/urllib3", ignore=skip)
    yield root


def test_ordinary_code_is_not_reported(ordinary: Path, tmp_path: Path) -> None:
    weighty = {Severity.BLOCK.value}
    mine = {path: rules for path, rules in ours(ordinary).items() if any(severity in weighty for _, severity in rules)}
    assert mine == {}
    documented = {path for path, rules in ours(ordinary).items() if any(severity == "high" for _, severity in rules)}
    # SQLAlchemy shows URLs with the password "tiger" in its docstrings; as the image's own code they are worth a look.
    assert all(path.startswith("srv/sqlalchemy/") for path in documented)
    assert set(theirs(ordinary, tmp_path / "home")) <= set(ours(ordinary))
