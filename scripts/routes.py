"""What each route of the application is for, who may ask, what it takes and what it answers.

1. One list for the page and for the OpenAPI document. A route of the application without an entry is an error, and so
   is an entry without a route (`compare`).
2. Bodies are the classes that the doors decode; the rest, which the code cannot say of itself, is written here.
3. Fields of an answer are written as `name:type`, without a type a text; `/null` where it may be null, `?` where it
   may be absent. An answer may have more than what is named.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from customhouse import app
from customhouse.accounts.http import NewMember, NewPublisher, NewTokenRequest, NewUser, TokenNamed, UserChange
from customhouse.enrolment.http import NewRoot, NewSigner, Reset
from customhouse.oci.manifest import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from customhouse.publication.http import Withdrawal
from customhouse.registry.wire import Target
from customhouse.replication.http import NewMirror, Rotation
from customhouse.repositories.http import NewQuota, NewRetention, NewRule
from customhouse.review.http import Decision, NewSubmission, NewWaiver, OtherPolicy
from customhouse.sources.http import NewSource
from customhouse.trust import http as trust_http

Schema = Mapping[str, Any]
Content = Mapping[str, Schema]

ANYBODY, SIGNED_IN, ADMIN, JUDGES = "anybody", "signed in", "administrators", "certifiers"
PEOPLE = "its publisher's members, certifiers"
READERS, WRITERS = "who may pull", "who may push"
BYTES, JSON, PROBLEM, TEXT = "application/octet-stream", "application/json", "application/problem+json", "text/plain"
MANIFESTS = (OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST)
TYPES = {"text": "string", "int": "integer", "number": "number", "flag": "boolean", "list": "array", "map": "object"}


def fields(text: str) -> Schema:
    """The schema of an object, of one line (rule 3)."""
    properties, required = {}, []
    for word in text.split():
        name, _, kind = word.partition(":")
        kind, _, null = kind.partition("/")
        one = {"type": [TYPES[kind or "text"], "null"] if null else TYPES[kind or "text"]}
        properties[name.removesuffix("?")] = one
        if not name.endswith("?"):
            required.append(name)
    return {"type": "object", "properties": properties, "required": required}


def given(text: str) -> Content:
    """JSON with these fields."""
    return {JSON: fields(text)}


def listed(name: str, item: Schema, *, pages: bool = True) -> Content:
    """A list under its name; with pages, `next` is the `after` of the next one, or null."""
    whole = fields(f"{name}:list next:text/null" if pages else f"{name}:list")
    return {JSON: {**whole, "properties": {**whole["properties"], name: {"type": "array", "items": item}}}}


NOTHING: Content = {}
USER = fields("name role disabled:flag publishers:list created")
PUBLISHER = fields("name members:list created")
TOKEN = fields("username name publisher/null owner scope:list created expires/null".replace("/null", ":text/null"))
SIGNERS = listed("signers", fields("name key_id"), pages=False)
ROOTS = given("publisher keys:list")
SOURCE = fields("publisher host url ca:text/null username:text/null added_by added")
_MIRROR = "name url host trust_url ca username repositories:list tags:list target added_by running:flag error"
MIRROR, STATES = fields(_MIRROR), fields(f"{_MIRROR} root_certificate states:list")
_SUBMISSION = (
    "id reference digest state verdict:text/null grade:text/null official_reference:text/null reason publisher author "
    "source:text/null trust_server:text/null quarantine created updated approvals:list required_approvals:int"
)
SUBMISSION = {JSON: fields(f"{_SUBMISSION} findings:list inputs:map")}
WAIVER = fields("id repository reason expires approvals:list")
BUNDLE = given("version:int host url hub_name made roots:list ca:text/null signer:text/null repositories:list")
QUOTA = given("publisher used:int quota:int/null")
RULE = fields("repositories tags locked:flag added_by added")
KEPT = fields("repositories newest:int/null days:int/null never:list untagged_days:int/null added_by added")
GONE = given("gone:list more:flag")
REPOSITORY = given("repository kind tags:int manifests:int blobs:int bytes:int")
VERIFIED = given("breaks:list items:int bytes:int next:text/null orphans:int orphan_examples:list total?:map")
ISSUED = given("token access_token expires_in:int issued_at scope refresh_token?")
_SWEPT = "links:int manifests:int blobs:int orphans:int uploads:int bytes:int"
CHANGES = given("count:int records:list")
PUBLIC_KEY = given("keytype keyval:map")
FILE = {JSON: fields("signed:map signatures:list")}

# What may stand in a query, by name.
QUERY: Mapping[str, tuple[str, str]] = {
    "limit": ("int", "at most so many, from 1 to 1,000"),
    "ecosystem": ("text", "only of this one, as OSV names it"),
    "package": ("text", "only about this one of the ecosystem"),
    "after": ("text", "the `next` of the page before"),
    "n": ("int", "at most so many"),
    "last": ("text", "begin after this one"),
    "name": ("text", "the name of the file"),
    "key": ("text", "the id of one key"),
    "username": ("text", "the user name of the token"),
    "repository": ("text", "only of this one"),
    "state": ("text", "only in this state"),
    "publisher": ("text", "only of this one"),
    "reference": ("text", "HOST/NAME:TAG, or NAME:TAG"),
    "wait": ("int", "seconds to wait for something new"),
    "metadata": ("text", "`true`: with all files"),
    "checkpoint": ("text", "`NUMBER:HASH` of an earlier answer"),
    "part": ("int", "which part of the store, from 0 to 15"),
    "fast": ("text", "`true`: without pauses"),
    "prefix": ("text", "the beginning of a name"),
    "rehash": ("text", "`true`: read every byte again"),
    "service": ("text", "the hub, as its challenge names it"),
    "scope": ("text", "`repository:NAME:ACTION,…`; may be repeated"),
    "offline_token": ("text", "`true`: with a refresh token"),
    "account": ("text", "the user name, which is not looked at"),
    "client_id": ("text", "the program, which is not looked at"),
    "digest": ("text", "of the whole content"),
    "mount": ("text", "digest of a blob that is held already"),
    "from": ("text", "the repository that holds it"),
    "repositories": ("text", "the rule's pattern of repositories"),
    "tags": ("text", "the rule's pattern of tags"),
    "tag": ("text", "a tag for the manifest that is pushed by digest; may be repeated"),
    "artifactType": ("text", "only of this type"),
    "records": ("int", "how many changes, the newest if negative"),
    "change_id": ("int", "after, or with negative `records` before, this change"),
}


@dataclass(frozen=True)
class Operation:
    """One method of one path: `answers` are those of success, by status; `errors` those that are not usual there."""

    meaning: str
    who: str
    answers: Mapping[int, Content]
    query: str = ""
    body: type | Content | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    errors: tuple[int, ...] = ()


def _ok(content: Content, status: int = 200) -> Mapping[int, Content]:
    return {status: content}


_PAGED = "limit after"
DONE = {204: NOTHING}
RAW_MANIFEST: Content = {kind: {"type": "object"} for kind in MANIFESTS}
RAW: Content = {BYTES: {}}
_FORM = {"application/x-www-form-urlencoded": fields(
    "grant_type service? scope? username? password? refresh_token? access_type? client_id?"
)}  # fmt: skip
_METADATA = {"multipart/form-data": {"type": "object"}}

REGISTRY = {
    "GET /v2/": Operation("is this a registry, and is the token good", ANYBODY, _ok({JSON: {"type": "object"}})),
    "HEAD /v2/": Operation("the same", ANYBODY, _ok({JSON: {}})),
    "GET /v2/_catalog": Operation("all repositories, by name", ADMIN, _ok(given("repositories:list")), "n last"),
    "GET /v2/{name}/tags/list": Operation(
        "tags, by name; `Link` leads to the next page", READERS, _ok(given("name tags:list")), "n last"
    ),
    "GET /v2/{name}/manifests/{reference}": Operation(
        "a manifest by tag or digest, byte for byte as it was pushed", READERS,
        {200: RAW_MANIFEST, 304: NOTHING}, headers={"Accept": "types of manifests", "If-None-Match": "ETag"},
    ),
    "HEAD /v2/{name}/manifests/{reference}": Operation(
        "its digest, type and size", READERS, {200: {kind: {} for kind in MANIFESTS}, 304: NOTHING},
        headers={"Accept": "types of manifests", "If-None-Match": "ETag"},
    ),
    "PUT /v2/{name}/manifests/{reference}": Operation(
        "store one, by tag or by digest, of at most 4 MiB", WRITERS, _ok(NOTHING, 201), "tag", RAW_MANIFEST,
    ),
    "DELETE /v2/{name}/manifests/{reference}": Operation(
        "remove a tag, or a manifest with its tags", "who may delete", _ok(NOTHING, 202), errors=(405, 409)
    ),
    "GET /v2/{name}/blobs/{digest}": Operation(
        "a blob, or with `Range` a part of it", READERS, {200: RAW, 206: RAW, 304: NOTHING},
        headers={"Range": "one run of bytes", "If-None-Match": "ETag", "If-Range": "ETag"}, errors=(416,),
    ),
    "HEAD /v2/{name}/blobs/{digest}": Operation(
        "its size", READERS, {200: RAW, 304: NOTHING}, headers={"If-None-Match": "ETag"}
    ),
    "DELETE /v2/{name}/blobs/{digest}": Operation(
        "remove one that no manifest needs", "who may delete", _ok(NOTHING, 202), errors=(405, 409)
    ),
    "POST /v2/{name}/blobs/uploads/": Operation(
        "begin an upload; with `digest` the body is all of it, with `mount` nothing is sent", WRITERS,
        {201: NOTHING, 202: NOTHING}, "digest mount from", RAW, errors=(416,),
    ),
    "GET /v2/{name}/blobs/uploads/{upload}": Operation("how far it is: `Range`", WRITERS, DONE),
    "PATCH /v2/{name}/blobs/uploads/{upload}": Operation(
        "the next bytes", WRITERS, _ok(NOTHING, 202), "", RAW,
        headers={"Content-Range": "START-END"}, errors=(409, 416),
    ),
    "PUT /v2/{name}/blobs/uploads/{upload}": Operation(
        "the last bytes, if any, and the digest of all", WRITERS, _ok(NOTHING, 201), "digest", RAW,
        headers={"Content-Range": "START-END"}, errors=(409, 416),
    ),
    "DELETE /v2/{name}/blobs/uploads/{upload}": Operation("give an upload up", WRITERS, DONE, errors=(409,)),
    "GET /v2/{name}/referrers/{digest}": Operation(
        "what names this manifest as its subject", READERS,
        _ok({OCI_INDEX: fields("schemaVersion:int mediaType manifests:list")}), "artifactType last",
    ),
}  # fmt: skip

TRUST = {
    "GET /v2/{gun}/_trust/tuf/{role}.json": Operation("the current file of a role", READERS, _ok(FILE)),
    "GET /v2/{gun}/_trust/tuf/{role}.{hash}.json": Operation(
        "the file with this SHA-256, SHA-384 or SHA-512", READERS, _ok(FILE)
    ),
    "GET /v2/{gun}/_trust/tuf/{version}.{role}.json": Operation("the file of this version", READERS, _ok(FILE)),
    "POST /v2/{gun}/_trust/tuf/": Operation(
        "publish: one part for each role", WRITERS, _ok(NOTHING), body=_METADATA
    ),
    "DELETE /v2/{gun}/_trust/tuf/": Operation("remove all trust data of a GUN", WRITERS, _ok(NOTHING)),
    "GET /v2/{gun}/_trust/tuf/{role}.key": Operation(
        "the public key that the hub holds for snapshot or timestamp", WRITERS, _ok(PUBLIC_KEY)
    ),
    "POST /v2/{gun}/_trust/tuf/{role}.key": Operation("make a new one", WRITERS, _ok(PUBLIC_KEY)),
    "GET /v2/{gun}/_trust/changefeed": Operation("what changed", READERS, _ok(CHANGES), "records change_id"),
    "GET /v2/_trust/changefeed": Operation("what changed anywhere", ADMIN, _ok(CHANGES), "records change_id"),
    "GET /_notary_server/health": Operation(
        "is the trust server's database there", ANYBODY, _ok({JSON: {"type": "object"}})
    ),
}

API = {
    "GET /token": Operation(
        "docker's token service: a short-lived token for the scopes asked for", ANYBODY, _ok(ISSUED),
        "service scope offline_token account client_id",
    ),
    "POST /token": Operation(
        "the same by form, with a password or a refresh token", ANYBODY, _ok(ISSUED), body=_FORM
    ),
    "POST /api/v1/login": Operation(
        "open a session (HTTP Basic); its secret is the Bearer token of the others", ANYBODY,
        _ok(given("token username role expires")),
    ),
    "POST /api/v1/logout": Operation("end the session that is used", SIGNED_IN, DONE),
    "GET /api/v1/whoami": Operation(
        "name, role, publishers, scope", SIGNED_IN,
        _ok({JSON: {**fields("username kind role:text/null publishers:list owner"), "required": ["username", "kind"]}}),
    ),
    "GET /api/v1/users": Operation("users, in pages", ADMIN, _ok(listed("users", USER)), _PAGED),
    "POST /api/v1/users": Operation(
        "add a user: `name`, `role`, `password`", ADMIN, _ok({JSON: USER}, 201), body=NewUser
    ),
    "GET /api/v1/users/{name}": Operation("one user", "administrators, and himself", _ok({JSON: USER})),
    "PATCH /api/v1/users/{name}": Operation(
        "change one of `role`, `disabled`, `password`", "administrators; his own password", _ok({JSON: USER}),
        body=UserChange,
    ),
    "DELETE /api/v1/users/{name}": Operation("remove a user, his sessions and tokens", ADMIN, DONE),
    "DELETE /api/v1/users/{name}/sessions": Operation(
        "sign a user out everywhere", "administrators, and himself", _ok(given("sessions_ended:int"))
    ),
    "GET /api/v1/publishers": Operation(
        "publishers, in pages", SIGNED_IN, _ok(listed("publishers", PUBLISHER)), _PAGED
    ),
    "POST /api/v1/publishers": Operation(
        "add a publisher: `name`, `members`", ADMIN, _ok({JSON: PUBLISHER}, 201), body=NewPublisher
    ),
    "GET /api/v1/publishers/{name}": Operation("one publisher with its members", PEOPLE, _ok({JSON: PUBLISHER})),
    "GET /api/v1/publishers/{name}/quota": Operation(
        "bytes that its staging holds, and its quota", PEOPLE, _ok(QUOTA)
    ),
    "PUT /api/v1/publishers/{name}/quota": Operation(
        "set the quota: `bytes`, null for none", ADMIN, _ok(QUOTA), body=NewQuota
    ),
    "POST /api/v1/publishers/{name}/members": Operation(
        "add a member: `user`", ADMIN, _ok({JSON: PUBLISHER}), body=NewMember
    ),
    "DELETE /api/v1/publishers/{name}/members/{user}": Operation("remove a member", ADMIN, _ok({JSON: PUBLISHER})),
    "GET /api/v1/tokens": Operation(
        "access tokens, without secrets", "one's own; administrators all", _ok(listed("tokens", TOKEN)), _PAGED
    ),
    "POST /api/v1/tokens": Operation(
        "make one: `name`, `publisher`, `scope`, `expires_seconds`", "users, for what they may do",
        _ok({JSON: {**TOKEN, "required": [*TOKEN["required"], "secret"]}}, 201), body=NewTokenRequest,
    ),
    "DELETE /api/v1/tokens": Operation(
        "end one: `username`", "its owner, administrators", DONE, "username", TokenNamed, errors=(404,)
    ),
    "DELETE /api/v1/tokens/{username}": Operation("end one", "its owner, administrators", DONE),
    "POST /api/v1/advisories": Operation(
        "import an OSV dump or KEV list: the file is the body, `?name=` its name", JUDGES,
        _ok(given("id name snapshot records:int new:int changed:int unchanged:int")), "name", RAW,
    ),
    "GET /api/v1/advisories": Operation(
        "records, the latest change first: `?ecosystem=`, `?package=`, `?limit=`", SIGNED_IN,
        _ok(given("records:list")), "ecosystem package limit",
    ),
    "GET /api/v1/advisories/records/{id}": Operation(
        "one record, also by an alias, with KEV, EPSS and VEX", SIGNED_IN,
        _ok(given("id severity summary names:list affected:list kev:list epss:map vex:list")), errors=(404,),
    ),
    "POST /api/v1/advisories/update": Operation(
        "follow the mirror that is set, now", JUDGES, _ok(given("updates:list")), errors=(400, 409)
    ),
    "GET /api/v1/advisories/status": Operation(
        "what is held, and how fresh it is", SIGNED_IN,
        _ok(given("snapshot:text/null records:int max_age_days:number ecosystems:list kev:map imports:list")),
    ),
    "GET /api/v1/publishers/{name}/roots": Operation("the enrolled root keys", PEOPLE, _ok(ROOTS)),
    "POST /api/v1/publishers/{name}/roots": Operation(
        "enrol: `certificate`, or `repository` or `key_ids` or both", JUDGES, _ok(ROOTS), body=NewRoot
    ),
    "DELETE /api/v1/publishers/{name}/roots/{key}": Operation("end an enrolment", JUDGES, DONE),
    "GET /api/v1/publishers/{name}/signers": Operation("the enrolled signers", PEOPLE, _ok(SIGNERS)),
    "POST /api/v1/publishers/{name}/signers": Operation(
        "enrol a signer: `name` and `key` (PEM)", JUDGES, _ok(SIGNERS), body=NewSigner
    ),
    "DELETE /api/v1/publishers/{name}/signers/{signer}": Operation(
        "end it; `?key=` only this key of his", JUDGES, _ok(SIGNERS), "key"
    ),
    "POST /api/v1/trust/reset": Operation(
        "let `repository` (staging/…) begin anew; `reason`", JUDGES, DONE, body=Reset, errors=(404,),
    ),
    "GET /api/v1/sources": Operation(
        "servers that images may come from, without secrets", "people; those of their publishers",
        _ok(listed("sources", SOURCE, pages=False)),
    ),
    "POST /api/v1/sources": Operation(
        "register one: `publisher`, `url`, `ca`, `username`, `secret`", ADMIN, _ok({JSON: SOURCE}, 201), body=NewSource,
        errors=(404,),
    ),
    "DELETE /api/v1/sources/{publisher}/{host}": Operation("end a registration", ADMIN, DONE),
    "GET /api/v1/mirrors": Operation(
        "mirrors of official repositories, without secrets", ADMIN, _ok(listed("mirrors", MIRROR, pages=False))
    ),
    "POST /api/v1/mirrors": Operation(
        "register or change one: `name`, `url`, `trust_url`, `ca`, `username`, `secret`, `repositories`, `tags`, "
        "`target`", ADMIN, _ok({JSON: STATES}, 201), body=NewMirror,
    ),
    "GET /api/v1/mirrors/{name}": Operation(
        "how it stands: each repository and tag, and what went wrong", ADMIN, _ok({JSON: STATES})
    ),
    "DELETE /api/v1/mirrors/{name}": Operation("forget it; what was sent stays there", ADMIN, DONE),
    "POST /api/v1/mirrors/{name}/run": Operation(
        "run it now, and look at everything there", ADMIN, _ok({JSON: STATES}, 202)
    ),
    "POST /api/v1/mirrors/{name}/rotate": Operation(
        "a new `role`, root or targets, for its host; runs it", ADMIN, _ok({JSON: STATES}, 202), body=Rotation
    ),
    "GET /api/v1/mirrors/{name}/bundle": Operation("what its consumers pin: a trust bundle", ADMIN, _ok(BUNDLE)),
    "POST /api/v1/submissions": Operation(
        "offer what is signed elsewhere: `source`, `trust_server`, `repository`, `tag`", "its publisher's members",
        _ok(SUBMISSION, 201), body=NewSubmission,
    ),
    "GET /api/v1/submissions": Operation(
        "newest first; `repository`, `state`, `publisher`, `limit`, `after`", PEOPLE,
        _ok(listed("submissions", fields(_SUBMISSION))), f"repository state publisher {_PAGED}",
    ),
    "GET /api/v1/submissions/latest": Operation(
        "the newest of `reference`", PEOPLE, _ok(SUBMISSION), "reference", errors=(404,)
    ),
    "GET /api/v1/submissions/{id}": Operation(
        "one, with its findings and the inputs of its verdict", PEOPLE, _ok(SUBMISSION)
    ),
    "GET /api/v1/submissions/{id}/events": Operation(
        "progress after `after`; waits up to `wait` seconds", PEOPLE, _ok(given("state events:list")), "after wait"
    ),
    "POST /api/v1/submissions/{id}/approve": Operation(
        "one approval: `reason`", "certifiers, never the author", _ok(SUBMISSION), body=Decision
    ),
    "POST /api/v1/submissions/{id}/reject": Operation("refuse: `reason`", JUDGES, _ok(SUBMISSION), body=Decision),
    "POST /api/v1/submissions/{id}/retry": Operation("examine again", PEOPLE, _ok(SUBMISSION)),
    "POST /api/v1/submissions/{id}/withdraw": Operation(
        "take an official image back: `reason`", PEOPLE, _ok(SUBMISSION), body=Withdrawal
    ),
    "GET /api/v1/policy": Operation("the policy of this hub", SIGNED_IN, _ok(given("name digest document"))),
    "POST /api/v1/policy/test": Operation(
        "what another policy would say of what is certified; nothing is changed", JUDGES,
        _ok({JSON: fields("certifications:list other_parameters:list next:text/null")}), body=OtherPolicy,
    ),
    "GET /api/v1/waivers": Operation(
        "the waivers in force", "members of publishers, certifiers", _ok(listed("waivers", WAIVER, pages=False))
    ),
    "POST /api/v1/waivers": Operation(
        "accept a finding: `repository`, `check` or `fingerprint`, `reason`, `days`", JUDGES,
        _ok(given("id expires required_approvals:int"), 201), body=NewWaiver,
    ),
    "POST /api/v1/waivers/{id}/approve": Operation(
        "a yes of another person than its author", JUDGES, _ok(given("id approvals:list required_approvals:int"))
    ),
    "DELETE /api/v1/waivers/{id}": Operation("end one", JUDGES, DONE),
    "GET /api/v1/trust/bundle": Operation(
        "what consumers pin: root certificates, host, CA, the signer's key", ANYBODY, _ok(BUNDLE)
    ),
    "GET /api/v1/trust/repositories": Operation(
        "official repositories (or `repository`) with their root, and with `metadata=true` all files", READERS,
        _ok(listed("repositories", fields("gun root"))), f"repository metadata {_PAGED}",
        errors=(404,),
    ),
    "GET /api/v1/audit": Operation(
        "entries after `after`, at most `limit`", JUDGES,
        _ok(listed("entries", fields("seq:int actor action subject detail:map hash"))), _PAGED,
    ),
    "GET /api/v1/audit/verify": Operation(
        "prove the chain, from `checkpoint` if given", JUDGES, _ok(given("entries:int checkpoint")), "checkpoint",
    ),
    "GET /api/v1/storage/verify": Operation(
        "hash again the next part of what is stored, after `after`", JUDGES, _ok(VERIFIED), "after"
    ),
    "POST /api/v1/storage/verify": Operation("the same; altered bytes are thrown away", ADMIN, _ok(VERIFIED), "after"),
    "GET /api/v1/storage/collect": Operation("what nothing needs any more", ADMIN, _ok(given(_SWEPT))),
    "POST /api/v1/storage/collect": Operation(
        "collect it for some seconds; `part` of the store to look through, `fast`", ADMIN,
        _ok(given(f"{_SWEPT} more:flag parts:int")), "part fast",
    ),
    "GET /api/v1/retention": Operation(
        "what staging keeps, by rule; of those that match, the last counts", JUDGES,
        _ok(listed("rules", KEPT, pages=False)),
    ),
    "PUT /api/v1/retention": Operation(
        "set a rule: `repositories` (a pattern in staging), `newest`, `days`, `never` (tags), `untagged_days`", ADMIN,
        _ok({JSON: KEPT}), body=NewRetention,
    ),
    "DELETE /api/v1/retention": Operation("end the rule of `repositories`", ADMIN, DONE, "repositories", errors=(404,)),
    "GET /api/v1/retention/run": Operation("what would go now", ADMIN, _ok(GONE)),
    "POST /api/v1/retention/run": Operation(
        "let go of it for some seconds; `more` tells whether to go on", ADMIN, _ok(GONE)
    ),
    "GET /api/v1/rules": Operation(
        "the rules for tags, shipped and added; of those that match, the last counts", JUDGES,
        _ok(listed("rules", RULE, pages=False)),
    ),
    "POST /api/v1/rules": Operation(
        "lock tags or let them move: `repositories`, `tags` (patterns), `locked`", ADMIN, _ok({JSON: RULE}, 201),
        body=NewRule,
    ),
    "DELETE /api/v1/rules": Operation(
        "end the rule of `repositories` and `tags`", ADMIN, DONE, "repositories tags", errors=(404,)
    ),
    "GET /api/v1/repositories": Operation(
        "names that begin with `prefix`, in pages", "people; what they may read",
        _ok(listed("repositories", {"type": "string"})), f"prefix {_PAGED}",
    ),
    "GET /api/v1/repositories/{name:path}": Operation(
        "what a repository holds", "people; what they may read", _ok(REPOSITORY)
    ),
    "DELETE /api/v1/repositories/{name:path}": Operation(
        "delete a repository of staging", "its publisher's people", _ok(REPOSITORY)
    ),
    "GET /api/v1/doctor": Operation(
        "every broken invariant; `rehash=true` reads every byte again", JUDGES, _ok(given("sound:flag breaks:list")),
        "rehash",
    ),
    "GET /healthz": Operation("the process is alive", ANYBODY, _ok({TEXT: {"type": "string"}})),
    "GET /readyz": Operation("the database answers too", ANYBODY, _ok({TEXT: {"type": "string"}})),
    "GET /metrics": Operation(
        "numbers in Prometheus' text form: answers, clients, submissions, the first expiry", ANYBODY,
        _ok({TEXT: {"type": "string"}}),
    ),
}  # fmt: skip


class _Anything:
    """Stands for the hub while its routes are listed: what doors ask of it before a request comes has no meaning."""

    def __getattr__(self, _name: str) -> "_Anything":
        return self

    def __call__(self, *_given: object) -> "_Anything":
        return self

    def __truediv__(self, _name: str) -> "_Anything":
        return self


def compare() -> tuple[list[str], list[str]]:
    """Routes of the application without an entry, and entries without a route."""
    hub: Any = _Anything()
    found = {
        f"{method} {route.path.replace(':str}', '}')}"
        for route in app.api_routes(hub)
        for method in sorted(route.methods or ())
        if method != "HEAD"
    }
    door = app.door_of_registry(hub)
    known = {(entry.split()[0], Target.parse(entry.split()[1])) for entry in REGISTRY}
    asked = {(method, target.kind) for method, target in known if target}
    found |= {f"{method} /v2/… ({kind})" for kind, methods in door.methods().items() for method in methods}
    told = set(API) | {f"{method} /v2/… ({kind})" for method, kind in asked}
    unread = {entry for entry in REGISTRY if Target.parse(entry.split()[1]) is None}
    unread |= {entry for entry in TRUST if not trust_http.owns(entry.split()[1])}
    return sorted(found - told), sorted((told - found) | unread)
