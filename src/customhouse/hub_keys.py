"""The hub's own signing keys at rest: made at first start, rotated by an operator, sealed in the hub's vault.

1. `keys/ROLE.sealed` is the first key of a role, `keys/ROLE.N.sealed` the N-th; the highest number is the present one.
   A root has its certificate beside it (`root.crt`, `root.N.crt`); its subject is `HOST/*` for good.
2. To rotate is to write the next file, whole or not at all, certificate first: from the next start on it is the
   present key, and every official repository is put on it (publication.align_all), whatever was cut in between.
3. Former roots are kept: each repository's old root must sign the one that names the new key. Others are not needed.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from customhouse import faults
from customhouse.errors import Conflict, Invalid
from customhouse.keys import PrivateKey, PublicKey
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
    signer: SealedSigner
    present: bool


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

    def rotate(self, role: str, now: datetime, announce: Callable[[int, PublicKey], None]) -> HubKey:
        """Make the next key of a role; it is the present one from the next start on.

        `announce(number, key)` records it before it is written: no key is in use that was not recorded.
        """
        if role not in ROLES:
            raise Invalid(f"{role[:40]!r} is no key of the hub", hint=f"Its keys: {', '.join(ROLES)}.")
        key, number = PrivateKey.generate(), self._numbers(role)[-1] + 1
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

    # ---- inside

    def _numbers(self, role: str) -> list[int]:
        pattern = re.compile(rf"{role}(?:\.([0-9]{{1,6}}))?\.sealed")
        found = (pattern.fullmatch(path.name) for path in self._folder.iterdir())
        return sorted(int(match[1] or 1) for match in found if match)

    def _path(self, role: str, number: int, kind: str) -> Path:
        return self._folder / (f"{role}.{kind}" if number == 1 else f"{role}.{number}.{kind}")

    def _write(self, role: str, number: int, key: PrivateKey, now: datetime) -> None:
        if role == "root":
            write_whole(self._path(role, number, "crt"), root_certificate(key, f"{self._host}/*", now))
        write_whole(
            self._path(role, number, "sealed"), SealedSigner.create(self._vault, key, _context(role, number)).sealed
        )

    def _open(self, role: str, number: int) -> SealedSigner:
        context = _context(role, number)
        sealed = self._path(role, number, "sealed").read_bytes()
        public = PrivateKey.of_der(self._vault.unseal(sealed, context)).public
        if role == "root":
            path = self._path(role, number, "crt")
            certified = PublicKey.of_certificate(path.read_bytes())
            if certified.canonical_id != public.canonical_id:
                raise Invalid(f"{path} is not the certificate of the root key beside it", hint="Restore both files.")
            public = certified
        return SealedSigner(self._vault, public, sealed, context)


def _context(role: str, number: int) -> str:
    return f"hub-key:{role}" if number == 1 else f"hub-key:{role}:{number}"
