"""The hub's own signing keys: made at first start, rotated by an operator, sealed in the hub's vault or on a device.

1. `keys/ROLE.sealed` is the first key of a role, `keys/ROLE.N.sealed` or `ROLE.N.device` the N-th; the highest number
   is the present one. A root has its certificate beside it (`root.crt`, `root.N.crt`), for `HOST/*` for good.
2. To rotate is to write the next file, whole or not at all, certificate first: from the next start on it is the
   present key, and every official repository is put on it (publication.align_all), whatever was cut in between.
3. Former roots are kept: each repository's old root must sign the one that names the new key. Others are not needed.
4. A `.device` file is a URI (RFC 7512) with its public key; the token, whose PIN is in the URI's pin-source, is needed
   when it signs and not before.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from customhouse import faults
from customhouse.errors import Conflict, Invalid
from customhouse.keys import CertifiedSigner, InvalidKey, PrivateKey, PublicKey, Signer, certified
from customhouse.pkcs11 import DeviceSigner, NoSuchKey, Uri, find, generate
from customhouse.publication.plan import HubKeys
from customhouse.signing import SealedSigner, Vault
from customhouse.trust.certificates import common_name, root_certificate
from customhouse.wholefile import write_whole

ROLES = ("root", "targets", "release")


@dataclass(frozen=True)
class HubKey:
    """One key of a role: its number, and whether it is the present one."""

    role: str
    number: int
    signer: Signer
    present: bool

    @property
    def place(self) -> str:
        """Where the private key is."""
        signer = self.signer.signer if isinstance(self.signer, CertifiedSigner) else self.signer
        return str(signer.uri) if isinstance(signer, DeviceSigner) else "sealed"


class KeyFolder:
    """The folder `keys` of a hub whose public name is `host`."""

    def __init__(self, folder: Path, vault: Vault, host: str) -> None:
        folder.mkdir(exist_ok=True, mode=0o700)
        self._folder, self._vault, self._host = folder, vault, host

    def load(self, name: str, now: datetime) -> HubKeys:
        """The hub's signers under its name as a signer; made where there are none."""
        for role in ROLES:
            if not self._numbers(role):
                self._write(role, 1, PrivateKey.generate(), now)
        roots = self.keys("root")
        certificate = roots[-1].signer.public.certificates[0]
        if (named := common_name(certificate)) != f"{self._host}/*":
            raise Conflict(
                f"this hub signs as {named.removesuffix('/*')}, and its public URL is set to https://{self._host}",
                hint=f"Its name is in every signature: start it with --url https://{named.removesuffix('/*')}. "
                f"If nothing was signed yet, remove {self._path('root', 1, 'crt')} and {self._folder.parent / 'tls'} "
                "to take another name.",
            )
        return HubKeys(
            root=roots[-1].signer,
            targets=self.keys("targets")[-1].signer,
            release=self.keys("release")[-1].signer,
            name=name,
            former_roots=tuple(key.signer for key in roots[:-1]),
        )

    def keys(self, role: str) -> list[HubKey]:
        """Every key of a role, oldest first."""
        numbers = self._numbers(role)
        return [HubKey(role, number, self._open(role, number), number == numbers[-1]) for number in numbers]

    def rotate(
        self, role: str, now: datetime, announce: Callable[[int, PublicKey], None], device: Uri | None = None
    ) -> HubKey:
        """Make the next key of a role; it is the present one from the next start on. On a `device`: the key that the
        URI names, made there if there is none.

        `announce(number, key)` records it before it is written: no key is in use that was not recorded. Raises Invalid,
        and what pkcs11.py raises.
        """
        if role not in ROLES:
            raise Invalid(f"{role[:40]!r} is no key of the hub", hint=f"Its keys: {', '.join(ROLES)}.")
        key, number = _on(device) if device else PrivateKey.generate(), self._numbers(role)[-1] + 1
        if any(key.public.canonical_id == each.signer.public.canonical_id for each in self.keys(role)):
            raise Conflict(f"this is a {role} key of the hub already", hint="Name another object= of the token.")
        announce(number, key.public)
        faults.point("hub-key.announced")
        self._write(role, number, key, now)
        return self.keys(role)[-1]

    def other(self, name: str) -> SealedSigner:
        """A sealed key that signs no metadata, such as that of the tokens; made at first use."""
        path, context = self._folder / f"{name}.sealed", f"hub-key:{name}"
        if not path.exists():
            write_whole(path, SealedSigner.create(self._vault, PrivateKey.generate(), context).sealed)
        sealed = path.read_bytes()
        return SealedSigner(self._vault, PrivateKey.of_der(self._vault.unseal(sealed, context)).public, sealed, context)

    def other_pem(self, name: str) -> bytes:
        """The same key in the open, for a library that signs by itself: PKCS #8, PEM."""
        signer = self.other(name)
        key = PrivateKey.of_der(self._vault.unseal(signer.sealed, signer.context)).crypto
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    # ---- inside

    def _numbers(self, role: str) -> list[int]:
        pattern = re.compile(rf"{role}(?:\.([0-9]{{1,6}}))?\.(?:sealed|device)")
        found = (pattern.fullmatch(path.name) for path in self._folder.iterdir())
        return sorted(int(match[1] or 1) for match in found if match)

    def _path(self, role: str, number: int, kind: str) -> Path:
        return self._folder / (f"{role}.{kind}" if number == 1 else f"{role}.{number}.{kind}")

    def _write(self, role: str, number: int, key: PrivateKey | DeviceSigner, now: datetime) -> None:
        if role == "root":
            write_whole(self._path(role, number, "crt"), root_certificate(key, f"{self._host}/*", now))
        if isinstance(key, DeviceSigner):
            write_whole(self._path(role, number, "device"), f"{key.uri}\n".encode() + key.public.pem)
            return
        sealed = SealedSigner.create(self._vault, key, _context(role, number)).sealed
        write_whole(self._path(role, number, "sealed"), sealed)

    def _open(self, role: str, number: int) -> Signer:
        signer = self._signer(role, number)
        if role != "root":
            return signer
        path = self._path(role, number, "crt")
        try:
            return certified(signer, path.read_bytes())
        except InvalidKey as error:
            raise Invalid(
                f"{path} is not the certificate of the root key beside it", hint="Restore both files."
            ) from error

    def _signer(self, role: str, number: int) -> Signer:
        device = self._path(role, number, "device")
        if device.exists():
            uri, _, pem = device.read_text().partition("\n")
            return DeviceSigner(Uri.parse(uri), PublicKey.of_pem(pem.encode()), _no_pin)
        context, sealed = _context(role, number), self._path(role, number, "sealed").read_bytes()
        return SealedSigner(self._vault, PrivateKey.of_der(self._vault.unseal(sealed, context)).public, sealed, context)


def _on(device: Uri) -> DeviceSigner:
    """The key that a URI names, or a new one under its label."""
    if not device.pin_source:
        raise Invalid("the hub has nobody to ask for a PIN", hint="Add pin-source=file:/PATH to the URI.")
    try:
        return find(device, _no_pin)
    except NoSuchKey:
        return generate(device, "ecdsa-p256", _no_pin)


def _no_pin(_token: str) -> str:
    """The URI says where the PIN is."""
    return ""


def _context(role: str, number: int) -> str:
    return f"hub-key:{role}" if number == 1 else f"hub-key:{role}:{number}"
