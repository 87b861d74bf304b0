"""Make src/customhouse/catalogue/eol.json: `python scripts/build_eol.py PRODUCTS.json[.gz] DAY > eol.json`.

PRODUCTS is a JSON object {product: {"title", "releases": [{"releaseCycle", "releaseDate", "eol", "eoes"?}]}} as
endoflife.date's product pages have it; DAY is when it was taken from there, YYYY-MM-DD.
"""

import gzip
import json
import sys
from pathlib import Path

# os-release ID -> product. Only where updates are for everyone does a long-term phase count as support.
PRODUCTS = {
    "almalinux": "almalinux", "alpine": "alpine-linux", "amzn": "amazon-linux", "centos": "centos",
    "debian": "debian", "fedora": "fedora", "ol": "oracle-linux", "opensuse-leap": "opensuse", "rhel": "rhel",
    "rocky": "rocky-linux", "sles": "sles", "ubuntu": "ubuntu",
}  # fmt: skip
# A language's runtime -> product.
RUNTIMES = {
    "dotnet": "dotnet", "erlang": "erlang", "go": "go", "java": "eclipse-temurin", "node": "nodejs", "perl": "perl",
    "php": "php", "python": "python", "ruby": "ruby",
}  # fmt: skip
NO_END_YET = "9999-12-31"
LONG_TERM = {"debian"}
ROLLING = ["arch", "chainguard", "opensuse-tumbleweed", "wolfi"]


def main(products: Path, day: str) -> None:
    raw = products.read_bytes()
    known = json.loads(gzip.decompress(raw) if products.suffix == ".gz" else raw)
    distros = {}
    for name, product in PRODUCTS.items():
        releases = {}
        for release in known[product]["releases"]:
            entry = {"ends": release["eol"]}
            if name in LONG_TERM and release.get("eoes"):
                entry["long_term_ends"] = release["eoes"]
            if all(isinstance(value, str) for value in entry.values()):
                releases[str(release["releaseCycle"])] = entry
        distros[name] = releases
    for release in known["centos-stream"]["releases"]:  # the same ID in os-release; "8" stays CentOS Linux
        if isinstance(release["eol"], str):
            distros["centos"].setdefault(str(release["releaseCycle"]), {"ends": release["eol"]})
    runtimes = {name: _runtime(known[product]["releases"]) for name, product in RUNTIMES.items()}
    table = {"as_of": day, "rolling": ROLLING, "distros": distros, "runtimes": runtimes}
    json.dump(table, sys.stdout, indent=1, sort_keys=True)
    sys.stdout.write("\n")


def _runtime(releases: list[dict[str, object]]) -> dict[str, dict[str, object]]:
    """`eol` is false while nobody has set a day, true where nobody remembers it (which is then left out)."""
    ends = {str(each["releaseCycle"]): NO_END_YET if each["eol"] is False else each["eol"] for each in releases}
    return {cycle: {"ends": day} for cycle, day in ends.items() if isinstance(day, str)}


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
