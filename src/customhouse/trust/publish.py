"""The publisher's side of the trust wire: make a repository, sign a tag, take one away.

1. A new repository: root and targets keys here, snapshot and timestamp keys at the server, as docker makes it.
2. Who signs: without delegations the targets key; with them every direct child of targets whose key is here and whose
   paths allow the tag, and never targets itself.
3. Only the files that change are sent. When another publish came first (VERSION), everything is read again and the
   change is made anew, a few times.
4. Any digest can be signed that is in the registry, an index too: nothing has to be pulled or built here.
Notary v1 wire: publish request; docker's push and trust sign.
"""

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from customhouse.errors import Conflict, NotFound
from customhouse.keys import PrivateKey, PublicKey
from customhouse.oci.digest import Digest
from customhouse.remote import RemoteError, RemoteInvalid
from customhouse.transport import Transport
from customhouse.trust import documents
from customhouse.trust.certificates import fitting_name, root_certificate
from customhouse.trust.client import Anchor, NoTrustData, TrustClient
from customhouse.trust.key_directory import KeyDirectory, KeyMissing
from customhouse.trust.metadata import Targets
from customhouse.trust.names import RELEASES, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Gun, RoleName
from customhouse.trust.verify import TrustedRepository

ATTEMPTS = 4

Change = Callable[[Targets], Targets]


class NotSignedHere(NotFound):
    """The tag is in no role that the keys here may sign."""

    def __init__(self, gun: str, tag: str) -> None:
        super().__init__(f"{gun}:{tag} is not signed in any role of yours", hint="List what is: customhouse trust list")
        self.gun, self.tag = gun, tag


class NoSuchSigner(NotFound):
    """The repository has no signer of this name."""

    def __init__(self, gun: str, name: str) -> None:
        super().__init__(f"{gun} has no signer {name}", hint=f"See them: docker trust inspect --pretty {gun}")
        self.gun, self.name = gun, name


@dataclass(frozen=True)
class Published:
    """What a publish did; `changed` is False when everything was as wanted already. Key ids are canonical."""

    gun: Gun
    created: bool
    changed: bool
    roles: tuple[RoleName, ...]
    root_key_ids: tuple[str, ...]


class TrustPublisher:
    """Signs in one trust server's repositories with the keys of one directory."""

    def __init__(self, transport: Transport, keys: KeyDirectory, clock: Callable[[], datetime]) -> None:
        self.transport, self.keys, self._clock = transport, keys, clock
        self._client = TrustClient(transport, "push,pull")

    def sign_tag(self, gun: Gun, tag: str, digest: Digest, length: int) -> Published:
        """Sign that `tag` is the manifest of this digest and length (bytes); makes the repository if need be."""
        def add(body: Targets) -> Targets:
            return documents.with_tag(body, tag, digest, length)

        for attempt in range(1, ATTEMPTS + 1):
            try:
                try:
                    repository = self._read(gun)
                except NoTrustData:
                    return self._create(gun, add)
                return self._change(repository, self._roles(repository, tag), add)
            except RemoteInvalid as error:
                if error.code != "VERSION":
                    raise
                if attempt == ATTEMPTS:
                    raise _busy(gun) from error
        raise AssertionError("the last attempt returns or raises")

    def remove_tag(self, gun: Gun, tag: str) -> Published:
        """Sign that the tag is gone. Raises NotSignedHere."""
        for attempt in range(1, ATTEMPTS + 1):
            repository = self._read(gun)
            listed = [role for role, signed in repository.targets.items() if tag in signed.body.targets]
            roles = [role for role in listed if self._signable(repository, role)]
            if not roles:
                raise NotSignedHere(gun, tag)
            try:
                return self._change(repository, roles, lambda body: documents.without_tag(body, tag))
            except RemoteInvalid as error:
                if error.code != "VERSION":
                    raise
                if attempt == ATTEMPTS:
                    raise _busy(gun) from error
        raise AssertionError("the last attempt returns or raises")

    def add_signer(self, gun: Gun, name: str, key: PublicKey) -> Published:
        """Let a key sign tags, in its own role and in targets/releases, as docker does. Raises KeyMissing."""
        own = RoleName.parse(f"{TARGETS}/{name}")

        def add(body: Targets) -> Targets:
            released = [*_delegated(body, RELEASES).values(), key]
            return documents.with_delegation(documents.with_delegation(body, own, [key]), RELEASES, released)

        return self._delegate(gun, add)

    def remove_signer(self, gun: Gun, name: str) -> Published:
        """Let a signer sign no more; what is in targets/releases is signed anew where another key of it is here.

        Raises NoSuchSigner, KeyMissing.
        """
        own = RoleName.parse(f"{TARGETS}/{name}")

        def remove(body: Targets) -> Targets:
            gone = _delegated(body, own)
            if not gone:
                raise NoSuchSigner(gun, name)
            left = [key for key_id, key in _delegated(body, RELEASES).items() if key_id not in gone]
            body = documents.without_delegation(body, own)
            if left:
                return documents.with_delegation(body, RELEASES, left)
            return documents.without_delegation(body, RELEASES)

        return self._delegate(gun, remove)

    def _delegate(self, gun: Gun, change: Change) -> Published:
        """Change who may sign. The new targets, and the releases that its keys now are to have signed."""
        repository, now = self._read(gun), self._clock()
        if not self._signable(repository, TARGETS):
            raise KeyMissing(self.keys.directory, f"the signers of {gun}", _key_ids(repository, TARGETS))
        body = documents.next_targets(change(repository.targets[TARGETS].body), now)
        files = {TARGETS: documents.sign_targets(TARGETS, body, self._signers(repository, TARGETS)).raw}
        here = [key for key in _delegated(body, RELEASES).values() if self.keys.has(key.canonical_id)]
        if RELEASES in repository.targets and here:
            listed = documents.next_targets(repository.targets[RELEASES].body, now)
            signers = [self.keys.signer(key) for key in here]
            files[RELEASES] = documents.sign_targets(RELEASES, listed, signers).raw
        return self._send(repository, files, now)

    # -- reading ----------------------------------------------------------------------------------------------------

    def _read(self, gun: Gun) -> TrustedRepository:
        anchor = Anchor(known_root=self.keys.known_root(gun))
        repository = self._client.fetch_for_update(gun, anchor, self._clock())
        self.keys.remember_root(gun, repository.root.raw)
        return repository

    def _roles(self, repository: TrustedRepository, tag: str) -> list[RoleName]:
        targets = repository.targets[TARGETS].body
        if not targets.delegations:
            if not self._signable(repository, TARGETS):
                raise KeyMissing(self.keys.directory, f"tags of {repository.gun}", _key_ids(repository, TARGETS))
            return [TARGETS]
        allowed = [entry for entry in targets.delegations if any(tag.startswith(path) for path in entry.paths)]
        roles = [entry.name for entry in allowed if self._signable(repository, entry.name)]
        if not roles:
            wanted = {key_id for entry in allowed for key_id in _key_ids(repository, entry.name)}
            raise KeyMissing(self.keys.directory, f"{repository.gun}:{tag}", wanted)
        return roles

    def _signable(self, repository: TrustedRepository, role: RoleName) -> bool:
        return any(self.keys.has(key_id) for key_id in _key_ids(repository, role))

    def _signers(self, repository: TrustedRepository, role: RoleName) -> list[PrivateKey]:
        return [
            self.keys.signer(key) for key in _keys(repository, role).values() if self.keys.has(key.canonical_id)
        ]

    # -- writing ----------------------------------------------------------------------------------------------------

    def _change(self, repository: TrustedRepository, roles: list[RoleName], change: Change) -> Published:
        now, files = self._clock(), dict[RoleName, bytes]()
        for role in roles:
            signed = repository.targets.get(role)
            old = signed.body if signed else documents.empty_targets(now, version=0)
            new = change(old)
            if signed is None or new.targets != old.targets or signed.expires <= now:
                body = documents.next_targets(new, now)
                files[role] = documents.sign_targets(role, body, self._signers(repository, role)).raw
        if not files:
            return Published(repository.gun, False, False, tuple(roles), tuple(sorted(repository.root_keys)))
        return self._send(repository, files, now, tuple(roles))

    def _send(
        self, repository: TrustedRepository, files: dict[RoleName, bytes], now: datetime,
        roles: tuple[RoleName, ...] = (),
    ) -> Published:
        signed = roles or tuple(files)
        if self._signable(repository, SNAPSHOT):
            files[SNAPSHOT] = self._snapshot(repository, files, now)
        self._post(repository.gun, files)
        return Published(repository.gun, False, True, signed, tuple(sorted(repository.root_keys)))

    def _snapshot(self, repository: TrustedRepository, files: Mapping[RoleName, bytes], now: datetime) -> bytes:
        """Where the snapshot key is the publisher's, the snapshot is too (`notary init` without a rotation)."""
        kept = {role: signed.raw for role, signed in repository.targets.items()}
        current = {ROOT: repository.root.raw, **kept, **files}
        version = repository.snapshot.version + 1
        return documents.new_snapshot(current, version, self._signers(repository, SNAPSHOT), now).raw

    def _create(self, gun: Gun, change: Change) -> Published:
        now = self._clock()
        root_key = self.keys.root_key()
        root = root_key.with_certificate(root_certificate(root_key, fitting_name(gun), now))
        mine = [entry.key_id for entry in self.keys.entries() if (entry.role, entry.gun) == (TARGETS, gun)]
        targets_key = self.keys.open(mine[0]) if mine else self.keys.create(TARGETS, gun)
        server = {role: self._server_key(gun, role) for role in (SNAPSHOT, TIMESTAMP)}
        signed_root = documents.new_root(documents.top_keys(root.public, targets_key.public, server), [root], now)
        body = change(documents.empty_targets(now))
        signed_targets = documents.sign_targets(TARGETS, body, [targets_key])
        self._post(gun, {ROOT: signed_root.raw, TARGETS: signed_targets.raw})
        self.keys.remember_root(gun, signed_root.raw)
        return Published(gun, True, True, (TARGETS,), (root.public.canonical_id,))

    def _server_key(self, gun: Gun, role: RoleName) -> PublicKey:
        path = f"/v2/{gun}/_trust/tuf/{role}.key"
        answer = self.transport.request("GET", path, scopes=_scopes(gun), budget=256 * 1024)
        try:
            document = json.loads(answer.body)
            return PublicKey.parse(document["keytype"], document["keyval"]["public"])
        except (ValueError, KeyError, TypeError) as error:
            raise RemoteError(f"{self.transport.host} sent no usable {role} key") from error

    def _post(self, gun: Gun, files: Mapping[RoleName, bytes]) -> None:
        boundary = secrets.token_hex(24)
        body = b"".join(
            f"--{boundary}\r\n"
            f'Content-Disposition: form-data; name="files"; filename="{role}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n".encode() + raw + b"\r\n"
            for role, raw in files.items()
        )
        self.transport.request(
            "POST", f"/v2/{gun}/_trust/tuf/", scopes=_scopes(gun), body=body + f"--{boundary}--\r\n".encode(),
            headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
        )


def _keys(repository: TrustedRepository, role: RoleName) -> dict[str, PublicKey]:
    """The keys that sign a role, by TUF id."""
    if role.is_delegation:
        parent = repository.targets[role.parent].body
        entry = parent.delegation(role)
        return {key_id: parent.keys[key_id] for key_id in entry.keys.key_ids} if entry else {}
    root = repository.root.body
    return {key_id: root.keys[key_id] for key_id in root.roles[role].key_ids}


def _delegated(body: Targets, role: RoleName) -> dict[str, PublicKey]:
    """The keys of a child role, by TUF id; {} where there is no such role."""
    entry = body.delegation(role)
    return {key_id: body.keys[key_id] for key_id in entry.keys.key_ids} if entry else {}


def _key_ids(repository: TrustedRepository, role: RoleName) -> set[str]:
    return {key.canonical_id for key in _keys(repository, role).values()}


def _scopes(gun: Gun) -> tuple[str, ...]:
    return (f"repository:{gun}:push,pull",)


def _busy(gun: Gun) -> Conflict:
    return Conflict(f"others keep publishing to {gun} at the same time", hint="Run the same command again.")
