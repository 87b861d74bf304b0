"""SoftHSM 2: PKCS#11 tokens in a folder, for tests of keys on devices."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

PIN = "428519"
LIBRARIES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so")  # Debian, Fedora


@dataclass(frozen=True)
class Tokens:
    """Tokens that one configuration file names; the library reads it when a process first opens it."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"SOFTHSM2_CONF": str(self.folder / "softhsm2.conf")}

    @property
    def module(self) -> str:
        return next(path for path in LIBRARIES if Path(path).exists())

    def prepared(self) -> "Tokens":
        """No token yet."""
        (self.folder / "tokens").mkdir(parents=True)
        conf = f"directories.tokendir = {self.folder / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n"
        (self.folder / "softhsm2.conf").write_text(conf)
        return self

    def initialise(self, label: str, pin: str = PIN) -> None:
        """A new token with this label."""
        words = ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", pin, "--so-pin", "9" * 8]
        subprocess.run(words, check=True, capture_output=True, env=os.environ | self.environment)

    def uri(self, token: str, *, more: str = "", query: str = "") -> str:
        return f"pkcs11:token={token}{more}?module-path={self.module}{query}"
