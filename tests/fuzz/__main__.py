"""`python -m tests.fuzz [--seconds N] [TARGET …]`: each target in turn, in a process of its own, led by coverage.

Ends with 1 when one broke; the input that did it is shown, and the folder where it lies.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

NAMES = (
    "metadata", "json", "upload", "key-file", "public-key", "manifest", "names", "osv", "kev", "epss", "openvex",
    "csaf", "modified", "run-profile", "structure-tests", "versions", "databases", "programs", "languages", "checks",
    "secrets", "malware", "tar", "layer", "kept-scan",
)  # fmt: skip
CASES = Path(__file__).parent / "cases"


def fuzz(name: str, corpus: Path, seconds: int) -> None:
    """Fuzz one target in this process, which libFuzzer ends."""
    import atheris

    with atheris.instrument_imports(include=["customhouse", "python_multipart"]):
        from tests.fuzz.targets import TARGETS_BY_NAME
    target = TARGETS_BY_NAME[name]
    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    folders = [str(folder) for folder in (corpus, CASES / name) if folder.is_dir()]
    options = [
        f"-max_total_time={seconds}", "-max_len=16384", "-timeout=20", "-rss_limit_mb=1024", "-verbosity=0",
        f"-artifact_prefix={corpus}/broke-", "-print_final_stats=1",
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *folders, *options], lambda data: target.run(data) and None)
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(NAMES))
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    unknown = set(given.targets) - set(NAMES)
    if unknown:
        parser.error(f"no target is called {', '.join(sorted(unknown))}")
    if given.here:
        fuzz(given.targets[0], given.here, given.seconds)
    broken = []
    for name in given.targets or NAMES:
        folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
        command = [sys.executable, "-m", "tests.fuzz", name, "--seconds", str(given.seconds), "--here", str(folder)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        executed = [line.split()[-1] for line in done.stderr.splitlines() if "number_of_executed_units" in line]
        print(f"{name}: {executed[0] if executed else 'no'} inputs", flush=True)
        if done.returncode:
            print(done.stdout[-4000:], done.stderr[-4000:], f"the input is in {folder}", sep="\n", flush=True)
            broken.append(name)
        else:
            shutil.rmtree(folder)
    print("broken: " + ", ".join(broken) if broken else "nothing broke")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
