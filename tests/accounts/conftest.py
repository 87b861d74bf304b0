"""A room of people: a service on each database, with passwords that cost next to nothing."""

import pytest
from argon2 import PasswordHasher
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from customhouse.accounts.passwords import Passwords
from customhouse.accounts.people import HUB
from customhouse.accounts.service import AccountsService
from customhouse.accounts.store import AccountsStore
from customhouse.accounts.tokens import TokenKey, TokenSigner
from customhouse.audit import Audit
from customhouse.db import Database
from tests.conftest import Clock

HOST = "localhost:5443"
URL = f"https://{HOST}"
PASSWORD = "right horse battery"


def new_key_pem() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def cheap_passwords() -> Passwords:
    return Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.fixture(scope="session")
def signer() -> TokenSigner:
    return TokenSigner(TokenKey.parse(new_key_pem()), URL)


@pytest.fixture
def service(database: Database, signer: TokenSigner, clock: Clock) -> AccountsService:
    return AccountsService(AccountsStore(database), Audit(database), signer, cheap_passwords(), clock)


@pytest.fixture
def people(service: AccountsService) -> AccountsService:
    """The service with admin, carl (certifier), paula (of acme), otto (of other) and cora (consumer)."""
    service.add_administrator_if_none(PASSWORD)
    for name, role in (("carl", "certifier"), ("paula", "publisher"), ("otto", "publisher"), ("cora", "consumer")):
        service.add_user(HUB, name, role, PASSWORD)
    service.add_publisher(HUB, "acme", ["paula"])
    service.add_publisher(HUB, "other", ["otto"])
    return service
