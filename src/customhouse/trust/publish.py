"""The publisher's side of the trust wire: make a repository, sign tags, take them away.

1. A new repository: root and targets keys here, snapshot and timestamp keys at the server, as docker makes it.
2. Who signs: without delegations the targets key; with them every direct child of targets whose key is here and whose
   paths allow the tag, and never targets itself. A signer whose own role does not allow a tag does not release it.
3. Where a role needs several signers, the file is published when the last one signs; until then it is a proposal
   (cosigning.py).
4. Only the files that change are sent. When another publish came first (VERSION), everything is read again and the
   change is made anew, a few times.
5. Any digest can be signed that is in the registry, an index too: nothing has to be pulled or built here.
Notary v1 wire: publish request; docker's push and trust sign.
"""

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from customhouse.errors import Conflict, Invalid, NotFound
from customhouse.keys import PublicKey, Signer, certified
from customhouse.oci.digest import Digest
from customhouse.remote import RemoteError, RemoteInvalid
from customhouse.transport import Transport
from customhouse.trust import cosigning, documents
from customhouse.trust.certificates import fitting_name, root_certificate
from customhouse.trust.client import Anchor, NoTrustData, TrustClient
from customhouse.trust.key_directory import KeyDirectory, KeyMissing
from customhouse.trust.metadata import RoleKeys, Root, Targets, parse_root, parse_targets
from customhouse.trust.names import RELEASES, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Gun, RoleName
from customhouse.trust.verify import NotEnoughSignatures, TrustedRepository

ATTEMPTS = 4

Change = Callable[[Targets], Targets]


class NotSignedHere(NotFound):
    """The tag is in no role that the keys here may sign."""

    def __init__(self, gun: str, tag: str) -> None:
        super().__init__(f"{gun}:{tag} is not signed in any role of yours", hint="List what is: customhouse trust list")
        self.gun, self.tag = gun, tag


class OutOfPaths(Invalid):
    """The keys here may sign tags with other beginnings only."""

    def __init__(self, gun: str, tag: str, paths: Sequence[str]) -> None:
        beginnings = ", ".join(sorted(paths)) or "nothing"
        super().__init__(
            f"the keys here may sign tags of {gun} that begin with {beginnings}, not {tag}",
            hint="Sign such a tag, or have the paths changed: customhouse image signer add --path",
        )


class TooFewKeys(Invalid):
    """A role needs more signatures than there are keys of it here, and no role of one's own can hold a proposal."""

    def __init__(self, gun: str, role: str, here: int, needed: int) -> None:
        super().__init__(
            f"{role} of {gun} needs {needed} signatures, and {here} of its keys are here",
            hint="Sign where enough of its keys are, or be a signer with a role of your own: "
            "customhouse image signer add",
        )


@dataclass(frozen=True)
class Published:
    """What a publish did; `changed` is False when everything was as wanted already. Key ids are canonical.

    `missing`: how many signatures each proposed role still needs. `left`: roles that list a removed tag still;
    `resolves`: whether docker still finds it.
    """

    gun: Gun
    created: bool
    changed: bool
    roles: tuple[RoleName, ...]
    root_key_ids: tuple[str, ...]
    missing: Mapping[RoleName, int] = field(default_factory=dict)
    left: tuple[RoleName, ...] = ()
    resolves: bool = False


class TrustPublisher:
    """Signs in one trust server's repositories with the keys of one directory."""

    def __init__(self, transport: Transport, keys: KeyDirectory, clock: Callable[[], datetime]) -> None:
        self.transport, self.keys, self.clock = transport, keys, clock
        self._client = TrustClient(transport, actions="push,pull")

    def sign_tag(self, gun: Gun, tag: str, digest: Digest, length: int) -> Published:
        """Sign that `tag` is the manifest of this digest and length (bytes); makes the repository if need be."""
        return self.sign_tags(gun, {tag: (digest, length)})

    def sign_tags(self, gun: Gun, tags: Mapping[str, tuple[Digest, int]]) -> Published:
        """Sign several tags in one publish. Raises KeyMissing, OutOfPaths, TooFewKeys."""
        def act() -> Published:
            try:
                repository = self.read(gun)
            except NoTrustData:
                return self._create(gun, _adding(tags))
            roles: dict[RoleName, dict[str, tuple[Digest, int]]] = {}
            for tag, meant in tags.items():
                for role in self._roles(repository, tag):
                    roles.setdefault(role, {})[tag] = meant
            return self.change(repository, {role: _adding(listed) for role, listed in roles.items()})

        return self.persist(gun, act)

    def roles(self, gun: Gun, tags: Sequence[str]) -> dict[str, list[RoleName]]:
        """The roles in which the keys here would sign each tag; none where nothing is signed yet. Nothing is changed.

        Raises KeyMissing, OutOfPaths.
        """
        anchor = Anchor(known_root=self.keys.known_root(gun))
        try:
            repository = TrustClient(self.transport).fetch_for_update(gun, anchor, self.clock())
        except NoTrustData:
            return {tag: [] for tag in tags}
        return {tag: self._roles(repository, tag) for tag in tags}

    def remove_tag(self, gun: Gun, tag: str) -> Published:
        """Sign that the tag is gone, in every role that the keys here sign. Raises NotSignedHere."""
        def act() -> Published:
            repository = self.read(gun)
            listed = [role for role, signed in repository.targets.items() if tag in signed.body.targets]
            roles = [role for role in listed if self.may_sign(repository, role)]
            if not roles:
                raise NotSignedHere(gun, tag)
            done = self.change(repository, {role: lambda body: documents.without_tag(body, tag) for role in roles})
            left = tuple(role for role in listed if role not in roles or role in done.missing)
            after = {
                role: signed if role in left or role not in listed
                else replace(signed, body=documents.without_tag(signed.body, tag))
                for role, signed in repository.targets.items()
            }
            resolves = replace(repository, targets=after).tag(tag) is not None
            return replace(done, left=left, resolves=resolves)

        return self.persist(gun, act)

    def persist(self, gun: Gun, act: Callable[[], Published]) -> Published:
        """Act, and again when another publish came first."""
        for _ in range(ATTEMPTS):
            try:
                return act()
            except RemoteInvalid as error:
                if error.code != "VERSION":
                    raise
                cause = error
        raise Conflict(
            f"others keep publishing to {gun} at the same time", hint="Run the same command again."
        ) from cause

    # -- reading ----------------------------------------------------------------------------------------------------

    def read(self, gun: Gun) -> TrustedRepository:
        """The repository, from the root that was trusted last; expired files too, to be signed anew."""
        anchor = Anchor(known_root=self.keys.known_root(gun))
        repository = self._client.fetch_for_update(gun, anchor, self.clock())
        self.keys.remember_root(gun, repository.root.raw)
        self.keys.remember_targets(gun, repository.targets[TARGETS].raw)
        return repository

    def earlier_roots(self, repository: TrustedRepository) -> list[Root]:
        """The roots before the present one."""
        return self._client.earlier_roots(repository.gun, repository.root.version)

    def may_sign(self, repository: TrustedRepository, role: RoleName) -> bool:
        """Is one of the role's keys here?"""
        return any(self.keys.has(key_id) for key_id in key_ids(repository, role))

    def signers(self, keys: Mapping[str, PublicKey]) -> list[Signer]:
        """Those of these keys that are here."""
        return [self.keys.signer(key) for key in keys.values() if self.keys.has(key.canonical_id)]

    def require_key(self, repository: TrustedRepository, role: RoleName, what: str) -> None:
        """Raises KeyMissing when none of the role's keys is here; `what` it signs stands in the sentence."""
        if not self.may_sign(repository, role):
            raise KeyMissing(self.keys.directory, what, key_ids(repository, role), top=role in (ROOT, TARGETS))

    def _roles(self, repository: TrustedRepository, tag: str) -> list[RoleName]:
        delegations = repository.targets[TARGETS].body.delegations
        if not delegations:
            self.require_key(repository, TARGETS, f"tags of {repository.gun}")
            return [TARGETS]
        mine = [entry for entry in delegations if self.may_sign(repository, entry.name)]
        allowed = [entry.name for entry in mine if any(tag.startswith(path) for path in entry.paths)]
        if not mine:
            wanted = {key_id for entry in delegations for key_id in key_ids(repository, entry.name)}
            raise KeyMissing(self.keys.directory, f"{repository.gun}:{tag}", wanted)
        own = {entry.name for entry in mine if entry.name != RELEASES}
        if not allowed or (own and not own & set(allowed)):
            paths = [path for entry in mine if entry.name in (own or {RELEASES}) for path in entry.paths]
            raise OutOfPaths(repository.gun, tag, paths)
        return allowed

    # -- writing ----------------------------------------------------------------------------------------------------

    def change(self, repository: TrustedRepository, changes: Mapping[RoleName, Change]) -> Published:
        """Change the files of roles and publish what differs, or proposals of it."""
        now, drafts = self.clock(), dict[RoleName, cosigning.Draft]()
        for role, change in changes.items():
            drafted = self._draft(repository, role, change, now)
            if drafted:
                drafts[role] = drafted
        waiting = [each for each in drafts.values() if each.missing]
        for proposal in waiting:
            self._propose(repository, proposal, changes, drafts, now)
        files = {role: each.file.raw for role, each in drafts.items() if not each.missing}
        missing = {each.role: each.missing for each in waiting}
        done = tuple(role for role in changes if role not in missing)
        if not files:
            return Published(repository.gun, False, False, done, tuple(sorted(repository.root_keys)), missing)
        return replace(self.send(repository, files, now), roles=done, missing=missing)

    def _draft(
        self, repository: TrustedRepository, role: RoleName, change: Change, now: datetime
    ) -> cosigning.Draft | None:
        """The next file of a role; None when it is as wanted."""
        signed, role_keys = repository.targets.get(role), keys_of(repository, role)
        old = signed.body if signed else documents.empty_targets(now, version=_stored_version(repository, role))
        versions = {each: file.version for each, file in repository.targets.items()}
        new = cosigning.without_stale(change(old), versions)
        if signed and new.targets == old.targets and signed.expires > now:
            return None
        body = documents.next_targets(new, now)
        others = [file.body for name, file in repository.targets.items() if name != role]
        proposed = cosigning.proposals(others, role, body.version)
        keys, counted = role_keys
        return cosigning.draft(role, body, keys, counted, self.signers(keys), proposed, now)

    def _propose(
        self, repository: TrustedRepository, proposal: cosigning.Draft, changes: Mapping[RoleName, Change],
        drafts: dict[RoleName, cosigning.Draft], now: datetime,
    ) -> None:
        """Put a proposal into a role that the keys here sign alone, beside what changes there anyhow."""
        alone = [
            entry.name for entry in repository.targets[TARGETS].body.delegations
            if entry.name != proposal.role and entry.keys.threshold == 1 and self.may_sign(repository, entry.name)
        ]
        if not alone:
            here = len(proposal.signatures)
            raise TooFewKeys(repository.gun, proposal.role, here, here + proposal.missing)
        role = next((name for name in alone if name in changes), alone[0])

        def both(body: Targets) -> Targets:
            changed = changes[role](body) if role in changes else body
            return cosigning.with_proposal(changed, proposal)

        drafted = self._draft(repository, role, both, now)
        if drafted:
            drafts[role] = drafted

    def send(self, repository: TrustedRepository, files: Mapping[RoleName, bytes], now: datetime) -> Published:
        """Publish signed files, with the snapshot where its key is here."""
        sent = dict(files)
        root = parse_root(files[ROOT]).body if ROOT in files else repository.root.body
        signers = self.signers({key_id: root.keys[key_id] for key_id in root.roles[SNAPSHOT].key_ids})
        if signers:
            sent[SNAPSHOT] = self._snapshot(repository, files, signers, now)
        self.post(repository.gun, sent)
        return Published(repository.gun, False, True, tuple(files), tuple(sorted(repository.root_keys)))

    def _snapshot(
        self, repository: TrustedRepository, files: Mapping[RoleName, bytes], signers: Sequence[Signer], now: datetime
    ) -> bytes:
        """Where the snapshot key is the publisher's, the snapshot is too (`notary init` without a rotation)."""
        kept = {role: signed.raw for role, signed in repository.targets.items()}
        current = {ROOT: repository.root.raw, **kept, **files}
        listed = {entry.name for entry in parse_targets(current[TARGETS], TARGETS).body.delegations}
        current = {role: raw for role, raw in current.items() if role.depth < 2 or _first(role) in listed}
        return documents.new_snapshot(current, repository.snapshot.version + 1, signers, now).raw

    def _create(self, gun: Gun, change: Change) -> Published:
        now = self.clock()
        root_key = self.keys.root_key()
        root = certified(root_key, root_certificate(root_key, fitting_name(gun), now))
        mine = [entry.key_id for entry in self.keys.entries() if (entry.role, entry.gun) == (TARGETS, gun)]
        targets_key = self.keys.open(mine[0]) if mine else self.keys.create(TARGETS, gun)
        server = {role: self.server_key(gun, role) for role in (SNAPSHOT, TIMESTAMP)}
        signed_root = documents.new_root(documents.top_keys(root.public, targets_key.public, server), [root], now)
        body = change(documents.empty_targets(now))
        signed_targets = documents.sign_targets(TARGETS, body, [targets_key])
        self.post(gun, {ROOT: signed_root.raw, TARGETS: signed_targets.raw})
        self.keys.remember_root(gun, signed_root.raw)
        return Published(gun, True, True, (TARGETS,), (root.public.canonical_id,))

    def server_key(self, gun: Gun, role: RoleName, *, new: bool = False) -> PublicKey:
        """As the function of this name."""
        return server_key(self.transport, gun, role, new=new)

    def post(self, gun: Gun, files: Mapping[RoleName, bytes]) -> None:
        """As the function of this name."""
        post(self.transport, gun, files)


def server_key(transport: Transport, gun: Gun, role: RoleName, *, new: bool = False) -> PublicKey:
    """The server's key of a role, or its next one, for which some servers want the right to do anything."""
    method, rights = ("POST", "push,pull,*") if new else ("GET", "push,pull")
    path = f"/v2/{gun}/_trust/tuf/{role}.key"
    answer = transport.request(method, path, scopes=(f"repository:{gun}:{rights}",), budget=256 * 1024)
    try:
        document = json.loads(answer.body)
        return PublicKey.parse(document["keytype"], document["keyval"]["public"])
    except (ValueError, KeyError, TypeError) as error:
        raise RemoteError(f"{transport.host} sent no usable {role} key") from error


def post(transport: Transport, gun: Gun, files: Mapping[RoleName, bytes]) -> None:
    """Publish files, all or none."""
    boundary = secrets.token_hex(24)
    body = b"".join(
        f"--{boundary}\r\n"
        f'Content-Disposition: form-data; name="files"; filename="{role}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n".encode() + raw + b"\r\n"
        for role, raw in files.items()
    )
    transport.request(
        "POST", f"/v2/{gun}/_trust/tuf/", scopes=(f"repository:{gun}:push,pull",),
        body=body + f"--{boundary}--\r\n".encode(),
        headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
    )


def keys_of(repository: TrustedRepository, role: RoleName) -> tuple[dict[str, PublicKey], RoleKeys]:
    """The keys that sign a role, by TUF id, and how many must."""
    if role.is_delegation:
        parent = repository.targets[role.parent].body
        entry = parent.delegation(role)
        found = entry.keys if entry else RoleKeys((), 1)
        return {key_id: parent.keys[key_id] for key_id in found.key_ids}, found
    root = repository.root.body
    return {key_id: root.keys[key_id] for key_id in root.roles[role].key_ids}, root.roles[role]


def key_ids(repository: TrustedRepository, role: RoleName) -> set[str]:
    """Canonical ids of the keys that sign a role."""
    return {key.canonical_id for key in keys_of(repository, role)[0].values()}


def _adding(tags: Mapping[str, tuple[Digest, int]]) -> Change:
    def add(body: Targets) -> Targets:
        for tag, (digest, length) in tags.items():
            body = documents.with_tag(body, tag, digest, length)
        return body

    return add


def _first(role: RoleName) -> RoleName:
    """The child of targets above a delegation, or itself."""
    return RoleName("/".join(role.split("/")[:2]))


def _stored_version(repository: TrustedRepository, role: RoleName) -> int:
    """Of a file that clients leave out, because its signers were changed since: the next one comes after it."""
    why = repository.skipped.get(role)
    return why.version if isinstance(why, NotEnoughSignatures) else 0
