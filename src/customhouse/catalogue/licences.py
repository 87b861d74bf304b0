"""Licences as declared, in the words of SPDX.

1. A declaration is read as an SPDX expression; where it is none, its parts are translated from the names that Debian,
   Fedora, Alpine, PyPI and people use. What is still unknown stays unknown: a guess would be worse.
2. `and`, `or` and `with` are operators in any case; a comma or a slash is none, as it means either in practice.
3. Deprecated names (GPL-2.0, GPL-2.0+) become those that stand for them now.
(SPDX 2.3 Annex D, the SPDX licence list of the library license-expression, Debian copyright-format 1.0 §7.1.)
"""

import re
from collections.abc import Iterable
from functools import cache, lru_cache

from license_expression import ExpressionError, Licensing, get_spdx_licensing

LONGEST = 500
MOST_CHOICES = 256
_OPERATOR = re.compile(r"(\(|\)|\s+(?:and|or|with)\s+)", re.IGNORECASE)
_GNU = re.compile(
    r"(?:GNU )?(AGPL|LGPL|GPL|GFDL|FDL)(?: ?-?v?| version )?(\d(?:\.\d){0,2})"
    r"( ?\+| or later|-or-later| or greater|-only| only)?(?: license)?",
    re.IGNORECASE,
)  # fmt: skip
_NAMES = {
    "expat": "MIT", "mit license": "MIT", "the mit license": "MIT", "mit/expat": "MIT", "mit/x11": "MIT", "x11": "X11",
    "apache": "Apache-2.0", "apache 2": "Apache-2.0", "apache 2.0": "Apache-2.0", "apache-2": "Apache-2.0",
    "apache license 2.0": "Apache-2.0", "apache license, version 2.0": "Apache-2.0", "asl 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0", "apache license version 2.0": "Apache-2.0",
    "the apache software license, version 2.0": "Apache-2.0", "the apache license, version 2.0": "Apache-2.0",
    "bsd-2": "BSD-2-Clause", "bsd-3": "BSD-3-Clause", "bsd 2-clause": "BSD-2-Clause", "bsd 3-clause": "BSD-3-Clause",
    "new bsd": "BSD-3-Clause", "modified bsd": "BSD-3-Clause", "bsd-4-clause-uc": "BSD-4-Clause-UC",
    "bsd 3-clause license": "BSD-3-Clause", "3-clause bsd license": "BSD-3-Clause", "new bsd license": "BSD-3-Clause",
    "isc license": "ISC", "isc license (iscl)": "ISC", "psf": "PSF-2.0", "psf license": "PSF-2.0",
    "python software foundation license": "PSF-2.0", "mplv2.0": "MPL-2.0", "mplv1.1": "MPL-1.1", "mpl 2.0": "MPL-2.0",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0", "mpl": "MPL-2.0", "openssl license": "OpenSSL",
    "zlib license": "Zlib", "boost": "BSL-1.0", "bsl": "BSL-1.0", "unlicense": "Unlicense", "cc0": "CC0-1.0",
    "the unlicense (unlicense)": "Unlicense", "artistic 2.0": "Artistic-2.0", "artistic-2": "Artistic-2.0",
    "epl 1.0": "EPL-1.0", "epl 2.0": "EPL-2.0", "eclipse public license 2.0": "EPL-2.0", "cddl 1.0": "CDDL-1.0",
    "eclipse public license v2.0": "EPL-2.0", "eclipse distribution license - v 1.0": "BSD-3-Clause",
    "ofl": "OFL-1.1", "sil": "OFL-1.1", "wtfpl": "WTFPL", "ruby": "Ruby", "curl": "curl", "vim": "Vim",
    "bouncy castle licence": "MIT", "postgresql license": "PostgreSQL", "hpnd": "HPND", "ijg": "IJG", "ftl": "FTL",
}  # fmt: skip


@lru_cache(maxsize=16384)
def expression(declared: str) -> str | None:
    """The SPDX expression that a declaration means, or None where that is not known."""
    text = " ".join(declared.split())
    if not text or len(text) > LONGEST:
        return None
    direct = _name(text)
    if direct is not None:
        return direct
    parts = []
    for piece in _OPERATOR.split(text):
        word = piece.strip()
        if word.lower() in ("and", "or", "with"):
            parts.append(f" {word.upper()} ")
        elif word in ("(", ")"):
            parts.append(word)
        elif word:
            name = _name(word)
            if name is None:
                return None
            parts.append(name)
    return _parsed("".join(parts))


def together(declared: Iterable[str]) -> tuple[str | None, tuple[str, ...]]:
    """(one expression of all that is known, or None; the declarations that are not known)."""
    known, unknown = dict[str, None](), dict[str, None]()
    for each in declared:
        found = expression(each)
        if found is None:
            unknown[each] = None
        else:
            known[found] = None
    if not known:
        return None, tuple(unknown)
    several = len(known) > 1
    parts = [f"({each})" if several and " OR " in each else each for each in known]
    return " AND ".join(parts), tuple(unknown)


@lru_cache(maxsize=16384)
def alternatives(found: str) -> tuple[frozenset[str], ...]:
    """The choices that an SPDX expression leaves: in each, the licences that all apply. At most `MOST_CHOICES`; an
    expression with more is one choice of everything in it, which is the strict reading."""
    licensing = _licensing()
    tree = licensing.parse(found)
    choices = _choices(tree, licensing)
    if choices is None:
        return (frozenset(str(key) for key in licensing.license_keys(tree)),)
    return tuple(sorted(choices, key=sorted))


def _choices(node: object, licensing: Licensing) -> set[frozenset[str]] | None:
    """None where there are more than MOST_CHOICES."""
    if isinstance(node, licensing.OR | licensing.AND):
        found: set[frozenset[str]] = set() if isinstance(node, licensing.OR) else {frozenset()}
        for each in node.args:
            more = _choices(each, licensing)
            if more is None:
                return None
            found = found | more if isinstance(node, licensing.OR) else {one | other for one in found for other in more}
            if len(found) > MOST_CHOICES:
                return None
        return found
    return {frozenset({str(node)})}


def _name(word: str) -> str | None:
    known = _NAMES.get(word.lower())
    if known is not None:
        return known
    found = _GNU.fullmatch(word)
    if found:
        family = {"FDL": "GFDL"}.get(found[1].upper(), found[1].upper())
        number = found[2] if "." in found[2] else f"{found[2]}.0"
        later = (found[3] or "").strip().lower() in ("+", "or later", "-or-later", "or greater")
        return _parsed(f"{family}-{number}-{'or-later' if later else 'only'}")
    return _parsed(word)


def _parsed(text: str) -> str | None:
    try:
        return str(_licensing().parse(text, validate=True).render("{symbol.key}"))
    except (ExpressionError, ValueError, RecursionError, AttributeError, IndexError, TypeError):
        # The library raises what its tokenizer meets on hostile text; nothing of it is a licence.
        return None


@cache
def _licensing() -> Licensing:
    return get_spdx_licensing()
