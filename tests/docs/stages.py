"""What stands ready when a guide begins: the hub, its people, and the files that lie on the desk."""

import json
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

from customhouse.testing import images
from customhouse.testing.server_program import server_program
from tests.docs.guide import PROGRAMS, World
from tests.hub_process import PASSWORD, HubProcess
from tests.peers.certificates import loopback_certificate
from tests.peers.vendor import SECRET, USER, Vendor
from tests.publisher import Publisher

ARM64 = (183).to_bytes(2, "little")  # ELF e_machine


class Stage:
    """A world whose hub is there already. People who are `signed_in` have typed what guides begin with."""

    def __init__(self, folder: Path, engine: str) -> None:
        self.world = World(folder, settings={"DOCKER_HOST": engine}, secrets=self._secrets)
        self.hub = HubProcess(folder / "hub" / "data", port=self.world.port)
        self.others: list[HubProcess | Vendor] = []

    def open(self, *arguments: str) -> "Stage":
        """Start the hub; `arguments` of `serve`. The administrator is signed in."""
        self.hub.arguments = arguments
        self.hub.start()
        self.sign_in("admin")
        return self

    def close(self) -> None:
        self.world.close()
        self.hub.close()
        for other in self.others:
            other.close()

    def play(self, guide: Path) -> None:
        self.world.play(guide.read_text(encoding="utf-8"))

    # ---- people

    def user(self, name: str, role: str, *, signed_in: bool = False) -> None:
        self.hub.add_user(name, role)
        if signed_in:
            self.sign_in(name)

    def publisher(self, name: str, *members: str) -> None:
        self.hub.api("POST", "/api/v1/publishers", {"name": name, "members": list(members)})

    def sign_in(self, name: str) -> None:
        """With `customhouse` and, where there is an engine, with docker."""
        self.does(name, "customhouse", "login", self.hub.url, "-u", name, "--password-stdin", "--ca-file", self.hub.ca)
        if not self.world.settings["DOCKER_HOST"].endswith("none"):
            self.does(name, "docker", "login", self.hub.host, "-u", name, "--password-stdin")

    def enrol(self, name: str, member: str) -> None:
        """The root key of a member, made and enrolled."""
        certificate = self.world.home(member) / "root.pem"
        self.does(member, "customhouse", "image", "root-cert", "--out", certificate)
        self.does("admin", "customhouse", "publisher", "enrol", name, "--root-cert", certificate)

    def key_id(self, member: str, name: str) -> None:
        """The id of a member's root key, as the certifier noted it when he was told."""
        told = json.loads(self.does(member, "customhouse", "image", "root-cert", "--json"))
        (self.world.desk / name).write_text(told["key_id"] + "\n")

    def vendor(self, host: str, publisher: str, image: str) -> None:
        """A registry with its trust server elsewhere, which is another hub: an image that is signed there, its CA, a
        login, and the id of the key that signed."""
        there = HubProcess(self.world.root / "vendor" / "data").start()
        self.others.append(there)
        signer = Publisher(there, self.world.root / "vendor" / "keys", publisher, f"{publisher}-dev")
        signer.join()
        name, _, tag = image.partition(":")
        signer.release(name, tag, images.minimal_server_image(Labels=images.labels()))
        reader = {"name": "reader", "publisher": publisher, "scope": ["pull"], "expires_seconds": 86400}
        made = there.api("POST", "/api/v1/tokens", reader, user=signer.user)
        desk = self.world.desk
        (desk / "vendor-ca.crt").write_bytes(there.ca.read_bytes())
        (desk / "vendor-password").write_text(made["secret"] + "\n")
        (desk / "vendor-key-id").write_text(signer.directory.root_key().public.canonical_id + "\n")
        self.world.words[f"{host}/{publisher}/"] = f"{there.host}/staging/{publisher}/"
        self.world.words[host] = there.host

    def mirror(self, registry: str, trust: str) -> None:
        """A registry and a trust server elsewhere, with an authority and a login of their own."""
        folder = self.world.root / "elsewhere"
        there = Vendor(folder, loopback_certificate(folder / "tls"), login=True)
        self.others.append(there)
        (self.world.desk / "east-ca.crt").write_text(there.ca)
        (self.world.desk / "east-password").write_text(SECRET + "\n")
        self.world.words |= {registry: there.registry.host, trust: there.notary.host}
        self.world.words["--username hub"] = f"--username {USER}"

    def push(self, member: str, source: Path, reference: str, *states: str) -> None:
        """Sign and push, and wait until the submission is in one of the states."""
        full = f"{self.hub.host}/{reference}"
        self.does(member, "customhouse", "image", "push", "--sign", source, full)
        self.hub.wait_for(reference, *states)

    def does(self, person: str, *words: str | Path) -> str:
        """A command that is not of the guide; it succeeds."""
        program = PROGRAMS / str(words[0])
        done = subprocess.run(
            [program if program.exists() else words[0], *words[1:]], env=self.world.environment(person), text=True,
            input=PASSWORD + "\n", capture_output=True, timeout=120, cwd=self.world.desk,
        )  # fmt: skip
        assert done.returncode == 0, f"{person}: {words}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def _secrets(self, person: str) -> Mapping[str, str]:
        """The CI's secret store: the secret that a guide's command printed."""
        return {"CI_SECRET": self.world.printed.get("secret", "")} if person == "ci" else {}

    # ---- files on the desk

    def ca(self) -> None:
        """The hub's authority, as the administrator hands it out."""
        (self.world.desk / "ca.crt").write_bytes(self.hub.ca.read_bytes())

    def bundle(self, name: str) -> None:
        self.does("admin", "customhouse", "trust", "export", "--out", self.world.desk / name)

    def context(self, name: str) -> None:
        """What the guide's Dockerfile copies."""
        folder = self.world.desk / name
        folder.mkdir()
        (folder / "passwd").write_bytes(images.PASSWD)
        (folder / "server").write_bytes(server_program())
        (folder / "server").chmod(0o755)

    def several_platforms(self, name: str) -> None:
        """What buildx writes for two platforms."""
        program = bytearray(server_program())
        program[18:20] = ARM64
        files = {"etc/passwd": images.File(images.PASSWD), "server": images.File(bytes(program), mode=0o755)}
        other = images.image([images.layer(files)], config=images.server_config(), style="oci", architecture="arm64")
        both = images.index([images.minimal_server_image(style="oci"), other], style="oci")
        self.archive(both, name)

    def archive(self, built: images.BuiltImage, name: str) -> Path:
        """A tar in OCI layout."""
        folder = images.write_oci_layout(built, self.world.root / "layouts" / name)
        with tarfile.open(self.world.desk / name, "w") as tar:
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    tar.add(path, path.relative_to(folder).as_posix())
        return self.world.desk / name
