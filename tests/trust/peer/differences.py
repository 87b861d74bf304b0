"""Where our trust server answers otherwise than Debian's notary-server 0.7.0, and why: the table of
docs/notary-compatibility.md. `cases` are patterns of names; what each case shows is in `recorded.json`.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """One deliberate difference, in the words of the page."""

    what: str
    theirs: str
    ours: str
    why: str
    cases: tuple[str, ...]


DIFFERENCES = (
    # ---- what can be published
    Difference(
        "a file in another JSON than docker and notary write: white space, order, escapes, forms of dates, fields left "
        "out, null",
        "stored",
        "400, the role's name",
        "a Go client or server hashes what it would write itself: after its next signature nobody can read it",
        (
            r"targets that is pretty-printed", r"targets with a line feed at its end", r"targets whose fields are .*",
            r"targets without delegations", r"targets with delegations null", r"targets with targets null",
            r"targets that expires at .*", r"targets whose tag has custom .*",
            r"targets whose tag is named <&> without .*",
            r"targets whose tag is named \\u00e4", r"targets with the method in capitals",
            r"a root without consistent_snapshot", r"targets that declare .* with (empty paths|paths null)",
        ),
    ),
    Difference(
        "a field, a role or a kind of hash that nobody knows, a field twice, two spellings of one field",
        "stored",
        "400, the role's name",
        "readers differ in which of two they take, and lose what they do not know when they sign again",
        (
            r"(targets|a root|targets that declare a delegation) with a field that nobody knows",
            r"targets with the fields? version .*", r"a root with a role that nobody knows",
            r"targets whose tag has .*hash of an unknown kind.*", r"targets that declare a delegation listed twice",
            r"a publisher's snapshot with a name that is no role",
        ),
    ),
    Difference(
        "a tag that docker could not pull: without sha256, with a hash or length that cannot be, without a name",
        "stored",
        "400 ErrBadTargets",
        "the publisher learns it at once, not the consumer later",
        (r"targets whose tag has (no sha256|no hash|a sha256 of 31 bytes|the length -1)",
         r"targets whose tag has an empty name"),
    ),
    Difference(
        "a key under an id that is not its own, named twice, of a kind that nobody knows, with its private part",
        "stored, until the key is used",
        "400, the role's name",
        "clients refuse such a key when it is used; a private key that was published has to be replaced",
        (r"a root that names a key twice", r"a root with a (key under another id|private key in it)",
         r"a root with a key of an unknown type .*", r"targets that declare a delegation whose key stands .*",
         r"targets with a signature under an id that is no hash"),
    ),
    Difference(
        "a root or targets that names an RSA key of less than 2048 bits or a curve that docker cannot read",
        "400, of the file that the key signed",
        "400, of the file that names the key",
        "the key is at fault, not the signature",
        (r"(a certificate of )?(ECDSA secp256k1|RSA 1024) signs targets, .*",),
    ),
    Difference(
        "a threshold of 2 that one key meets, bare and as a certificate",
        "stored",
        "400 ErrBadTargets",
        "a threshold counts keys, not names of keys",
        (r"a delegation of threshold 2 that one key signs twice, bare and as a certificate",),
    ),
    Difference(
        "more than 64 signatures on a file, more than 256 parts in an upload",
        "no bound",
        "400",
        "every parser has its budget",
        (r"targets with 65 signatures", r"257 parts"),
    ),
    Difference(
        "a version more than 1000 above the stored one, or above 2147483647",
        "stored; beyond the database's integers 400 VERSION",
        "400, the role's name",
        "nobody can run a role's versions up to their end",
        (r"a first targets of version (1001|2000000000|2147483648)",
         r"(targets|targets/releases) that leaves versions out"),
    ),
    Difference(
        "a root with another targets key, without targets that this key signed",
        "stored, and the repository is unreadable",
        "400 ErrBadRoot, which says that both belong into one publish",
        "what is stored must verify as a new client would verify it",
        (r"a root with a new targets key, alone",),
    ),
    Difference(
        "a publish into a repository whose targets or root have expired",
        "stored",
        "400, the role that has to be signed first",
        "no client could read the result",
        (r"what is published after targets, a delegation or the root has expired",),
    ),
    Difference(
        "a publisher's snapshot that leaves out a delegation or names another length",
        "stored",
        "400 ErrBadSnapshot",
        "clients would lose the delegation, or stop at the length",
        (r"a publisher's snapshot that leaves out .*", r"a publisher's snapshot with another length for targets"),
    ),
    Difference(
        "a delegation that was removed, or given to keys that did not sign its file",
        "stays in the snapshot; its next signer begins at version 1 and is refused for ever (400 VERSION)",
        "leaves the snapshot; versions begin at 1 again",
        "a signer can be replaced; who cached the old file goes along at once or at the second attempt",
        (r"a delegation that is removed, and declared again .*",
         r"a delegation of version 2 is given to (another key|two signatures), .*"),
    ),
    Difference(
        "a delegation below one that cannot be used",
        "400 without a word",
        "400 ErrBadTargets",
        "the message names the role",
        (r"a delegation whose parent was given to another key", r"a delegation of a delegation that nobody declared"),
    ),
    Difference(
        "the same upload again, or a file that is stored already beside new ones",
        "400 VERSION",
        "200; a file that is there byte for byte changes nothing",
        "a publish whose answer was lost can be sent again",
        (r".* of the stored version, the same bytes", r"everything that a repository has, once more .*"),
    ),
    Difference(
        "a publish without parts",
        "new versions of snapshot and timestamp",
        "200, and nothing changes",
        "there is nothing to sign",
        (r"a publish of no parts",),
    ),
    # ---- the upload
    Difference(
        "a part that is no JSON, or whose version or expiry is of another type",
        "400 MALFORMED_JSON, or the connection breaks; clients print `trust server rejected operation`",
        "400 INVALID_UPDATE of the role, with the place and the reason",
        "the only text that a docker user sees is that of INVALID_UPDATE",
        (
            r"a (root|targets|targets/releases|snapshot) that is not JSON, or no metadata", r"targets of version .*",
            r"targets with a byte order mark", r"targets that expires tomorrow",
            r"targets whose tag is named with a raw control character", r"a part of the role 'targets/a(/b/c|aa).*",
        ),
    ),
    Difference(
        "a timestamp among the parts that is no JSON",
        "400 MALFORMED_JSON",
        "ignored, as every timestamp of a client",
        "the server makes the timestamp; what a client sends is not looked at",
        (r"a timestamp (that is not JSON, or no metadata|of the client's own that is not JSON)",),
    ),
    Difference(
        "a role twice in one upload",
        "the last one counts",
        "400 MALFORMED_UPLOAD",
        "which of the two was meant is not for the server to guess",
        (r"the same role twice in one upload",),
    ),
    Difference(
        "a body that stops before its end, that has another boundary, or is not a form",
        "the connection breaks, or what was there is stored",
        "400 MALFORMED_UPLOAD",
        "half a publish is none",
        (r"a body that stops: .*", r"a publish of type 'multipart/(mixed|form-data); boundary=(B|C|B{71})'"),
    ),
    Difference(
        "`filename*=` in place of `filename=`",
        "read",
        "400 NO_FILENAME",
        "RFC 7578 forbids it, and no client writes it",
        (r"a part named by form-data; name=\"files\"; filename\*=.*",),
    ),
    # ---- reading
    Difference(
        "a file asked for by a hash that belongs to another role or another repository",
        "200",
        "404",
        "who may read one repository has not the right to another one's files",
        (r"GET of one (role|repository) by the sha256 of another one.*",),
    ),
    Difference(
        "a version in a file's name that is not written plainly or beyond 2147483647, a delegation that is not there",
        "200, or 500",
        "404",
        "each file has one name; nothing is broken",
        (r"GET 01\.root\.json", r"GET \d{10}\.root\.json", r"GET .* by its version",
         r"GET targets/(nobody|Releases)\.json is no file"),
    ),
    Difference(
        "a path with `//` or `..`",
        "301",
        "404",
        "clients do not follow it",
        (r"a path that is not clean: .*",),
    ),
    Difference(
        "keys, deletion or a publish in a repository outside `staging/` or of another host",
        "400 INVALID_GUN for a publish, 404 for the rest",
        "400 with a sentence that says where to push",
        "404 reads as `not initialised`; official repositories are written by publications only",
        (r"a repository that is not served: .*",),
    ),
    Difference(
        "headers of files",
        "`text/plain`, zone `UTC`; current ones may be cached for 5 minutes by anybody",
        "`application/json`, zone `GMT`; current ones are not cached, those named by hash privately",
        "a cached timestamp delays a withdrawal; staging is private",
        (r"headers of .*",),
    ),
    # ---- keys and feeds
    Difference(
        "a snapshot or timestamp key asked for before a root lists it",
        "a new one each time, Ed25519 (the `local` service)",
        "one pending key for each repository and role, ECDSA P-256",
        "a publisher who asks twice, or two at once, get a key that stays",
        (r"the timestamp key asked for twice before it is used", r"the kind of the keys that the server makes"),
    ),
    Difference(
        "the last records of a changefeed (`records` below 0 without `change_id`), a page with no records",
        "with its memory storage the connection breaks, or null",
        "the records, or []",
        "as notary-server answers over a database",
        (r"changefeed of a repository: .*",),
    ),
)
