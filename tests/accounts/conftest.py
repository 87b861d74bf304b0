"""A room of people: a service on each database, with passwords that cost next to nothing."""

import base64
from collections.abc import Callable

import pytest
from argon2 import PasswordHasher
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from customhouse.accounts.passwords import Passwords
from customhouse.accounts.people import HUB, Principal
from customhouse.accounts.service import AccountsService
from customhouse.accounts.store import AccountsStore
from customhouse.accounts.tokens import Scope, TokenKey, TokenSigner
from customhouse.audit import Audit, Entry
from customhouse.db import Database
from tests.conftest import Clock

HOST = "localhost:5443"
URL = f"https://{HOST}"
PASSWORD = "right horse battery"
STAGING = "staging/acme/web"


def new_key_pem() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def basic(name: str, password: str) -> str:
    """The header of RFC 7617."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def signed_in(people: AccountsService, name: str) -> Principal:
    with people.store.read() as tx:
        return people._principal_of_login(tx, name)


def log(people: AccountsService) -> list[Entry]:
    with people.store.read() as tx:
        people.audit.verify(tx)
        return list(people.audit.entries(tx))


def rights(people: AccountsService, principal: Principal, repository: str = STAGING) -> frozenset[str]:
    issued = people.issue_registry_token(principal, [Scope("repository", repository, frozenset({"*"}))])
    return people.signer.verify(issued.token, people.clock()).access.get(repository, frozenset())


def cheap_passwords() -> Passwords:
    return Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.fixture(scope="session")
def signer() -> TokenSigner:
    return TokenSigner(TokenKey.parse(new_key_pem()), URL)


@pytest.fixture
def service(database: Database, signer: TokenSigner, clock: Clock) -> AccountsService:
    return AccountsService(AccountsStore(database), Audit(database), signer, cheap_passwords(), clock)


@pytest.fixture
def make_service(database: Database, signer: TokenSigner, clock: Clock) -> Callable[[], AccountsService]:
    """The same people, as another process sees them."""
    return lambda: AccountsService(AccountsStore(database), Audit(database), signer, cheap_passwords(), clock)


@pytest.fixture
def people(service: AccountsService) -> AccountsService:
    """The service with admin, carl (certifier), paula (of acme), otto (of other) and cora (consumer)."""
    service.add_administrator_if_none(PASSWORD)
    for name, role in (("carl", "certifier"), ("paula", "publisher"), ("otto", "publisher"), ("cora", "consumer")):
        service.add_user(HUB, name, role, PASSWORD)
    service.add_publisher(HUB, "acme", ["paula"])
    service.add_publisher(HUB, "other", ["otto"])
    return service
