"""The table of cases: for each static check images that pass, that fail and by which facts, and that give no answer.

A case's `wants` are the keys or paths of the failures; PASS, NOT_APPLICABLE and UNKNOWN are the other ends. An
image may fail and then say that it does not know the rest: `wants` holds both.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from customhouse.certification.findings import JSON
from customhouse.testing.images import (
    BuiltImage,
    File,
    Folder,
    Layer,
    Node,
    Symlink,
    image,
    labels,
    layer,
    minimal_server_image,
    tar_of,
)
from customhouse.testing.server_program import server_program

PASS, NOT_APPLICABLE, UNKNOWN = "pass", "not_applicable", "not_evaluable"
PROGRAM = File(server_program(), mode=0o755)
PACKAGE = "app/node_modules/left-pad/package.json"


@dataclass(frozen=True)
class Case:
    check: str
    wants: frozenset[str]
    built: BuiltImage
    params: Mapping[str, JSON] = field(default_factory=dict)
    tag: str = "1"
    reference: str = ""


def case(check: str, wants: str | Sequence[str], built: BuiltImage, **more: Any) -> Case:
    return Case(check, frozenset([wants] if isinstance(wants, str) else wants), built, **more)


def tree(*trees: Mapping[str, Node], history: Sequence[str] = (), **config: Any) -> BuiltImage:
    """An image of these layers with an inner config."""
    lines = [*history, *["COPY . / # buildkit"] * len(trees)]
    return image([layer(each, created_by=lines[at]) for at, each in enumerate(trees)], config=config)


def told(*lines: str | tuple[str, bool], files: Mapping[str, Node] | None = None, **top: Any) -> BuiltImage:
    """An image with this build history; (line, True) made no layer. Each other line made an empty one."""
    said = [(line, False) if isinstance(line, str) else line for line in lines]
    history = [{"created_by": line, **({"empty_layer": True} if empty else {})} for line, empty in said]
    count = sum(not empty for _, empty in said)
    layers = [layer({**(files or {}), "f": str(number)}) for number in range(count)]
    return image(layers, config_changes={"history": history, **top})


def run(text: str) -> BuiltImage:
    """A base layer, and above it one BuildKit step."""
    return told("COPY rootfs / # buildkit", f"RUN /bin/sh -c {text} # buildkit")


_CUT = tar_of({"a": bytes(5000)})


def cut(**config: Any) -> BuiltImage:
    """An image whose one layer ends early."""
    return image([Layer(_CUT, "none", stored=_CUT[:3000])], config=config)


CASES: list[Case] = []
WRITERS: list[Callable[[], list[Case]]] = []


def cases(writer: Callable[[], list[Case]]) -> Callable[[], list[Case]]:
    CASES.extend(writer())
    return writer


@cases
def of_history() -> list[Case]:
    apt = "apt-get update && apt-get install -y --no-install-recommends curl=7.88.1-10 && rm -rf /var/lib/apt/lists/*"
    silent = told("bazel build //:image", "COPY a / # buildkit")
    none = image([layer({"a": b""})], config_changes={"history": []})
    named = ("UPDATE", "ADD", "SUDO", "DISTUPGRADE", "PIPESHELL", "PIN", "STYLE")
    found = [case(f"HIS-{name}", PASS, run(apt)) for name in named]
    found += [case(f"HIS-{name}", UNKNOWN, built) for name in named for built in (silent, none)]
    squashed = told("RUN /bin/sh -c apt-get update # buildkit", "COPY a / # buildkit", "merge")
    found += [
        case("HIS-UPDATE", "update:apt-get", run("apt-get -qq update")),
        case("HIS-UPDATE", "update:apk", run("set -eux; apk update")),
        case("HIS-UPDATE", "update:apt-get", told("ADD file:" + "0" * 64 + " in / ", "/bin/sh -c apt-get update")),
        case("HIS-UPDATE", "update:apt-get", told("ADD x /", "|1 A=b c /bin/bash -o pipefail -c apt-get update")),
        case("HIS-UPDATE", ["update:apt-get", UNKNOWN], squashed),
        case("HIS-UPDATE", PASS, run("apt-get update; apt-get -y upgrade")),
        case("HIS-UPDATE", UNKNOWN, run("echo 'unfinished")),
        case(
            "HIS-UPDATE",
            PASS,
            told("ADD x in /", "RUN /bin/sh -c apt-get update", ('CMD ["sh"]', True), "COPY a / # buildkit"),
        ),
        case("HIS-ADD", "add", told("ADD rootfs.tar.gz / # buildkit", "ADD config /etc/ # buildkit")),
        case("HIS-ADD", "url", told("ADD r.tar / # buildkit", "ADD https://get.example/x /opt/x # buildkit")),
        case("HIS-ADD", PASS, told("ADD file:" + "0" * 64 + " in / ", ('/bin/sh -c #(nop)  CMD ["sh"]', True))),
        case("HIS-ADD", PASS, told("COPY a / # buildkit", "ADD src.tar.gz /opt/ # buildkit")),
        case(
            "HIS-ADD",
            PASS,
            told("COPY a /", f"ADD --checksum=sha256:{'0' * 64} https://get.example/x /x # buildkit"),
        ),
        case("HIS-ADD", "add", told("COPY a /", "/bin/sh -c #(nop) ADD file:" + "0" * 64 + " in /etc/x ")),
        case("HIS-SUDO", "used:sudo", run("sudo -E apt-get install -y curl")),
        case("HIS-SUDO", "used:sudo", run("env A=b sh -c 'sudo ls'")),
        case("HIS-SUDO", "usr/bin/sudo", tree({"usr/bin/sudo": PROGRAM})),
        case("HIS-SUDO", ["usr/bin/sudo", UNKNOWN], told("bazel build", files={"usr/bin/sudo": PROGRAM})),
        case("HIS-DISTUPGRADE", "upgrade:apt-get", run("apt-get update && apt-get -y dist-upgrade")),
        case("HIS-DISTUPGRADE", "upgrade:zypper", run("zypper -n dup")),
        case("HIS-PIPESHELL", "pipe", run("curl -fsSL https://get.example/i.sh | sh -s -- --yes")),
        case("HIS-PIPESHELL", "pipe", run("curl -fsSL https://get.example | sudo bash -")),
        case("HIS-PIPESHELL", "pipe", run("wget -qO- https://get.example | gunzip | python3")),
        case("HIS-PIPESHELL", "pipe", run('bash -c "$(curl -fsSL https://get.example/i.sh)"')),
        case("HIS-PIPESHELL", "pipe", run("bash <(curl -s https://get.example/i.sh)")),
        case("HIS-PIPESHELL", "curl:--insecure", run("curl -fsSLk -o /x https://get.example/x")),
        case("HIS-PIPESHELL", "apk:--allow-untrusted", run("apk add --allow-untrusted ./a.apk")),
        case("HIS-PIPESHELL", "pip:--trusted-host", run("pip install --trusted-host pypi.example flask==1.0")),
        case("HIS-PIPESHELL", "apt-get:--allow-unauthenticated", run("apt-get -y --allow-unauthenticated install a=1")),
        case("HIS-PIPESHELL", "npm:strict-ssl", run("npm config set strict-ssl false")),
        case("HIS-PIPESHELL", "http:wget", run("wget http://get.example/x")),
        case(
            "HIS-PIPESHELL",
            "env:NODE_TLS_REJECT_UNAUTHORIZED",
            tree({"a": b""}, Env=["NODE_TLS_REJECT_UNAUTHORIZED=0"]),
        ),
        case(
            "HIS-PIPESHELL", PASS, run("curl -fsSL https://get.example/x | tar -xz && wget -O x.key https://a.example")
        ),
        case(
            "HIS-PIPESHELL",
            PASS,
            run("curl -s https://a.example/x | python3 check.py && curl -ofork http://localhost/"),
        ),
        case("HIS-PIN", "unpinned:apt", run("apt-get install -y -t bookworm-backports curl")),
        case("HIS-PIN", "unpinned:apk", run("apk add --no-cache --virtual .build gcc")),
        case("HIS-PIN", "unpinned:pip", run("python3 -m pip install --no-cache-dir flask requests==2.0")),
        case("HIS-PIN", "unpinned:npm", run("npm install -g @angular/cli yarn@1.22")),
        case("HIS-PIN", "unpinned:gem", run("gem install bundler")),
        case("HIS-PIN", "unpinned:dnf", run("dnf -y install httpd nginx-1.20.1")),
        case("HIS-PIN", "unpinned:go", run("go install example.com/x@latest")),
        case(
            "HIS-PIN", PASS, run("pip install -r requirements.txt && apk add curl~=8 && npm ci && gem install a -v 1.0")
        ),
        case("HIS-STYLE", "cd", run("cd /tmp")),
        case("HIS-STYLE", ["apt", "apt-yes", "recommends"], run("apt install curl=1")),
        case("HIS-STYLE", "dnf-yes", run("dnf install a-1")),
        case("HIS-STYLE", "ln-sh", run("ln -sf /bin/bash /bin/sh")),
        case("HIS-STYLE", PASS, run("cd /tmp && make")),
    ]
    return found


@cases
def of_config() -> list[Case]:
    server = minimal_server_image
    inits: dict[str, Node] = {"usr/bin/supervisord": PROGRAM, "sbin/tini": PROGRAM, "init": PROGRAM}
    future = {"created": "2030-01-01T00:00:00Z"}
    one = [layer({"a": b""})]
    return [
        case("CFG-ONECONCERN", PASS, server()),
        case("CFG-ONECONCERN", PASS, server(Entrypoint=["/sbin/tini", "--", "/server"], files=inits)),
        case("CFG-ONECONCERN", PASS, server(Entrypoint=["/init"], files=inits)),
        case("CFG-ONECONCERN", "usr/bin/supervisord", server(Entrypoint=["/usr/bin/supervisord", "-n"], files=inits)),
        case(
            "CFG-ONECONCERN",
            "usr/bin/supervisord",
            server(Entrypoint=["/sbin/tini", "-g", "--", "/usr/bin/supervisord"]),
        ),
        case(
            "CFG-ONECONCERN", "usr/sbin/sshd", server(Entrypoint=["/bin/sh", "-c", "/server & exec /usr/sbin/sshd -D"])
        ),
        case("CFG-ONECONCERN", "init", server(Entrypoint=["/init"], files={**inits, "etc/services.d/a/run": b""})),
        case("CFG-ONECONCERN", "sbin/init", server(Entrypoint=["/sbin/init"], files={"sbin/init": PROGRAM})),
        case("CFG-ONECONCERN", NOT_APPLICABLE, tree({"a": b""})),
        case("CFG-ONECONCERN", UNKNOWN, cut(Entrypoint=["/a"])),
        case("CFG-PORTS", PASS, server()),
        case("CFG-PORTS", PASS, server(ExposedPorts={"8000-8100": {}, "53000/udp": {}})),
        case("CFG-PORTS", PASS, server(ExposedPorts={"80/tcp": {}}, User="0")),
        case("CFG-PORTS", "privileged", server(ExposedPorts={"80/tcp": {}, "443/tcp": {}})),
        case("CFG-PORTS", ["port:22/tcp", "privileged"], server(ExposedPorts={"22/tcp": {}})),
        case("CFG-PORTS", "port:70000/tcp", server(ExposedPorts={"70000/tcp": {}})),
        case("CFG-PORTS", "port:web", server(ExposedPorts={"web": {}})),
        case("CFG-PORTS", NOT_APPLICABLE, server(ExposedPorts=None)),
        case("CFG-PORTS", UNKNOWN, cut(ExposedPorts={"80/tcp": {}}, User="app")),
        case("CFG-VOLUME", PASS, server(Volumes={"/var/lib/app": {}, "/developer": {}})),
        case("CFG-VOLUME", "volume:/proc/self", server(Volumes={"/proc/self/": {}})),
        case("CFG-VOLUME", "volume:/", server(Volumes={"/": {}})),
        case("CFG-VOLUME", "volume:/etc", server(Volumes={"/srv/../etc": {}})),
        case("CFG-VOLUME", "volume:/data", server(Volumes={"data": {}})),
        case("CFG-VOLUME", NOT_APPLICABLE, server()),
        case("CFG-WORKDIR", PASS, server(WorkingDir="/app", files={"app": Folder()})),
        case("CFG-WORKDIR", PASS, server(WorkingDir="/usr/src/app", files={"usr/src/app": Folder()})),
        case("CFG-WORKDIR", "missing", server(WorkingDir="/app")),
        case("CFG-WORKDIR", "no-folder", server(WorkingDir="/server")),
        case("CFG-WORKDIR", "system", server(WorkingDir="/etc/app")),
        case("CFG-WORKDIR", "workdir", server(WorkingDir="app", files={"app": Folder()})),
        case("CFG-WORKDIR", NOT_APPLICABLE, server(WorkingDir=None)),
        case("CFG-WORKDIR", UNKNOWN, cut(WorkingDir="/app")),
        *[case("CFG-STOPSIGNAL", PASS, server(StopSignal=said)) for said in ("SIGTERM", "quit", "3", "SIGRTMIN+3")],
        *[
            case("CFG-STOPSIGNAL", "signal", server(StopSignal=said))
            for said in ("SIGKILL", "9", "SIGGO", "0", "65", "٣")
        ],
        case("CFG-STOPSIGNAL", NOT_APPLICABLE, server()),
        case("CFG-ONBUILD", PASS, server()),
        case("CFG-ONBUILD", ["onbuild:0", "onbuild:1"], server(OnBuild=["COPY . /app", ""])),
        case("CFG-MAINTAINER", PASS, server()),
        case("CFG-MAINTAINER", PASS, image(one, config={"Labels": labels()}, config_changes={"author": "Ann"})),
        case("CFG-MAINTAINER", "author", image(one, config_changes={"author": "Ann"})),
        case("CFG-MAINTAINER", "maintainer", told("COPY a /", ("/bin/sh -c #(nop)  MAINTAINER Ann", True))),
        case("CFG-NAME", PASS, server(), reference="hub.example:5000/acme/docker:1"),
        case("CFG-NAME", PASS, server(Labels={"vendor": "Acme, for Red Hat", "name": "Proxy for Docker"})),
        case("CFG-NAME", PASS, server(Labels={"maintainer": "Misused Ltd <a@docker.com>"})),
        case("CFG-NAME", "brand:redhat:the label vendor", server(Labels={"vendor": "Red-Hat, Inc."})),
        case("CFG-NAME", "brand:docker:the label vendor", server(Labels={"vendor": "D0cker Official"})),
        case("CFG-NAME", "brand:google:the label name", server(Labels={"name": "Gооgle"})),
        case("CFG-NAME", "brand:docker:the namespace", server(), reference="hub.example/docker/web:1"),
        case("CFG-NAME", PASS, server(), reference="hub.example/docker/web:1", params={"owners": ["docker=docker"]}),
        case("MAN-AGE", PASS, image(one, config_changes={"created": "2026-11-01T10:00:00.123456789Z"})),
        case("MAN-AGE", "created", image(one, config_changes={"created": "2026-01-01T00:00:00Z"})),
        case("MAN-AGE", "created", image(one, config_changes={"created": "yesterday"})),
        case("MAN-AGE", "future", image(one, config_changes=future)),
        case("MAN-AGE", UNKNOWN, image(one, config_changes={"created": "1970-01-01T00:00:00Z"})),
        case("MAN-AGE", UNKNOWN, image(one, config_changes={"created": None, "history": []})),
    ]


SETUP: dict[str, Node] = {"etc/passwd": "root:x:0:0::/:/bin/false\napp:x:10:10::/:/bin/false\n"}
DEBIAN = 'ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\nPRETTY_NAME="Debian GNU/Linux 12"\n'


def status(*packages: str) -> str:
    return "".join(
        f"Package: {name}\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n\n" for name in packages
    )


def debian(*packages: str, **files: str) -> dict[str, Node]:
    """A Debian with these packages; files: name of a package -> its file."""
    found: dict[str, Node] = {"etc/os-release": DEBIAN, "var/lib/dpkg/status": status("base-files", *packages)}
    found["var/lib/dpkg/info/base-files.list"] = "/.\n/usr\n/usr/share/base\n"
    for name, path in files.items():
        found[f"var/lib/dpkg/info/{name}.list"] = f"/.\n/{path}\n"
    return found


def elf(kind: int = 3, stack: int | None = 6, relro: bool = True) -> File:
    """An ELF file that nothing could run: a header, and program headers for what is asked."""
    segments = [(2, 6)] + ([(0x6474E551, stack)] if stack is not None else []) + ([(0x6474E552, 4)] if relro else [])
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + kind.to_bytes(2, "little") + (62).to_bytes(2, "little") + bytes(12)
    head += (64).to_bytes(8, "little") + bytes(12) + (64).to_bytes(2, "little") + (56).to_bytes(2, "little")
    head += len(segments).to_bytes(2, "little") + bytes(6)
    body = b"".join(name.to_bytes(4, "little") + flags.to_bytes(4, "little") + bytes(48) for name, flags in segments)
    return File(head + body, mode=0o755)


@cases
def of_files() -> list[Case]:
    cfg_app = {"User": "app", "Entrypoint": ["/app/run"]}
    root = {"etc/passwd": "root:x:0:0::/:\n"}
    script = File(b"#!/bin/sh\n", mode=0o755)
    shell: dict[str, Node] = {"bin/busybox": PROGRAM, "bin/sh": Symlink("busybox"), "bin/nc": Symlink("busybox")}
    os_release: dict[str, Node] = {"etc/os-release": DEBIAN}
    key = "etc/apt/keyrings/vendor.gpg"
    anchor = "usr/local/share/ca-certificates/corp.crt"
    return [
        case("FS-WORLDW", PASS, tree({"tmp": Folder(mode=0o1777), "a": File(mode=0o644), "l": Symlink("a")})),
        case("FS-WORLDW", ["a", "d"], tree({"a": File(mode=0o666), "d": Folder(mode=0o777)})),
        case("FS-WORLDW", PASS, tree({"a": File(mode=0o666)}), params={"accepted": ["a"]}),
        case("FS-WORLDW", PASS, tree({"a": File(mode=0o666)}, {".wh.a": b""})),
        case("FS-WORLDW", UNKNOWN, cut()),
        case("FS-OWNER", PASS, tree({**SETUP, "app/run": script}, **cfg_app)),
        case("FS-OWNER", "app/run", tree({**SETUP, "app/run": File(b"#!/x", mode=0o755, uid=10)}, **cfg_app)),
        case("FS-OWNER", "app/run", tree({**SETUP, "app": Folder(uid=10), "app/run": script}, **cfg_app)),
        case(
            "FS-OWNER", "programs", tree({**SETUP, "app/run": script, "b": File(b"x", mode=0o755, uid=10)}, **cfg_app)
        ),
        case("FS-OWNER", "uid:77", tree({**root, "a": File(uid=77)})),
        case("FS-OWNER", NOT_APPLICABLE, tree({"a": File(uid=77)})),
        case("FS-OWNER", UNKNOWN, tree(SETUP, User="ghost")),
        case("FS-OWNER", UNKNOWN, cut()),
        case("FS-SHELL", PASS, minimal_server_image()),
        case("FS-SHELL", "bin/busybox", tree(shell)),
        case("FS-SHELL", UNKNOWN, cut()),
        case("FS-PKGMGR", PASS, tree(shell)),
        case("FS-PKGMGR", "usr/bin/apt-get", tree({"usr/bin/apt-get": PROGRAM})),
        case("FS-PKGMGR", UNKNOWN, cut()),
        case("FS-TOOLS", PASS, tree({**shell, "usr/bin/curl": PROGRAM})),
        case("FS-TOOLS", "usr/bin/gcc-12", tree({"usr/bin/gcc": Symlink("gcc-12"), "usr/bin/gcc-12": PROGRAM})),
        case("FS-TOOLS", "curl+wget", tree({"usr/bin/curl": PROGRAM, "usr/bin/wget": PROGRAM})),
        case("FS-TOOLS", "usr/sbin/sshd", tree({"usr/sbin/sshd": PROGRAM})),
        case("FS-TOOLS", UNKNOWN, cut()),
        case("FS-BINHARD", PASS, tree({"a": elf()})),
        case("FS-BINHARD", "pie", tree({"a": elf(kind=2)})),
        case("FS-BINHARD", "relro", tree({"a": elf(relro=False)})),
        case("FS-BINHARD", "a", tree({"a": elf(stack=7)})),
        case("FS-BINHARD", NOT_APPLICABLE, tree({"a": b"text"})),
        case("FS-BINHARD", UNKNOWN, cut()),
        case("FS-TRUST", PASS, tree({**os_release, key: b"k", anchor: b"c"})),
        case("FS-TRUST", [key, anchor], tree(os_release, {key: b"k", anchor: b"c"})),
        case("FS-TRUST", PASS, tree({"a": b""}, {anchor: b"c"})),
        case(
            "FS-TRUST",
            "etc/apt/apt.conf.d/99x",
            tree({"etc/apt/apt.conf.d/99x": 'APT::Get::AllowUnauthenticated "true";'}),
        ),
        case(
            "FS-TRUST",
            "etc/apt/sources.list",
            tree({"etc/apt/sources.list": "deb [trusted=yes] https://a.example / \n"}),
        ),
        case("FS-TRUST", PASS, tree({"etc/apt/sources.list": "# deb [trusted=yes] https://a.example / \n"})),
        case("FS-TRUST", "etc/yum.repos.d/a.repo", tree({"etc/yum.repos.d/a.repo": "[a]\ngpgcheck = 0\n"})),
        case("FS-TRUST", "root/.npmrc", tree({"root/.npmrc": "strict-ssl=false\n"})),
        case("FS-TRUST", "etc/apk/repositories", tree({"etc/apk/repositories": "http://dl.example/v3.20/main\n"})),
        case("FS-TRUST", UNKNOWN, cut()),
        case("LAY-DELETED", PASS, tree({"a": bytes(2_000_000)}, {"a": b"new"})),
        case("LAY-DELETED", PASS, tree({"a": bytes(100)}, {".wh.a": b""})),
        case("LAY-DELETED", "removed:/src", tree({"src/a": bytes(900_000), "src/b": bytes(900_000)}, {".wh.src": b""})),
        case("LAY-DELETED", "root/.ssh/id_rsa", tree({"root/.ssh/id_rsa": b"key"}, {"root/.ssh/.wh.id_rsa": b""})),
        case("LAY-DELETED", UNKNOWN, cut()),
        case("LAY-SPARSE", PASS, tree({"var/log/lastlog": bytes(292)})),
        case(
            "LAY-SPARSE", "var/log/lastlog", tree({"var/log/lastlog": bytes(2_000_000)}, {"var/log/.wh.lastlog": b""})
        ),
        case("LAY-SPARSE", UNKNOWN, cut()),
        case("LAY-NEEDLESS", PASS, tree({"usr/share/doc/a/copyright": b"MIT", "app/core": Folder(), "srv/core": b"x"})),
        case("LAY-NEEDLESS", "app/.git", tree({"app/.git/HEAD": b"ref", "app/.git/Dockerfile": b"x"})),
        case("LAY-NEEDLESS", ["Dockerfile", "core.12"], tree({"Dockerfile": b"FROM x", "core.12": bytes(200_000)})),
        case("LAY-NEEDLESS", "logs", tree({"var/log/dpkg.log": b"x"})),
        case("LAY-NEEDLESS", "manuals", tree({"usr/share/man/man1/a.1": bytes(6_000_000)})),
        case("LAY-NEEDLESS", UNKNOWN, cut()),
    ]


@cases
def of_packages() -> list[Case]:
    tool = {"usr/bin/tool": PROGRAM}
    owned = debian("tool", tool="usr/bin/tool")
    alpine: dict[str, Node] = {
        "etc/os-release": "ID=alpine\nVERSION_ID=3.22.1\n",
        "lib/apk/db/installed": "P:musl\nV:1\n\n",
    }
    other = File(server_program() + b"more", mode=0o755)
    site = "usr/local/lib/python3.11/site-packages/got.dist-info"
    wheel = {f"{site}/METADATA": "Name: got\nVersion: 1\n\n", f"{site}/RECORD": "../../../bin/got,,\n"}
    sources = "etc/apt/sources.list"
    node = ["PATH=/usr/local/bin", "NODE_VERSION=16.20.2"]
    return [
        case("LAY-MODIFIED", PASS, tree({**owned, **tool}, {"usr/bin/tool": File(server_program(), mode=0o700)})),
        case("LAY-MODIFIED", PASS, tree(debian(), {**owned, **tool})),
        case("LAY-MODIFIED", "usr/bin/tool", tree({**owned, **tool}, {"usr/bin/tool": other})),
        case("LAY-MODIFIED", PASS, tree({**debian("a", a="etc/a"), "etc/a": b"1"}, {"etc/a": b"22"})),
        case("LAY-MODIFIED", NOT_APPLICABLE, minimal_server_image()),
        case("LAY-MODIFIED", UNKNOWN, tree(alpine)),
        case("PKG-UNVERIFIED", PASS, tree({**owned, **tool})),
        case("PKG-UNVERIFIED", PASS, tree({**debian(), "server": PROGRAM}, Entrypoint=["/server"])),
        case("PKG-UNVERIFIED", "usr/local/bin/got", tree({**owned, **tool, "usr/local/bin/got": PROGRAM})),
        case("PKG-UNVERIFIED", PASS, tree({**owned, **tool, "opt/x/got": PROGRAM})),
        case("PKG-UNVERIFIED", PASS, tree({**owned, **tool, **wheel, "usr/local/bin/got": PROGRAM})),
        case("PKG-UNVERIFIED", NOT_APPLICABLE, minimal_server_image()),
        case("PKG-UNVERIFIED", UNKNOWN, tree(alpine)),
        case("PKG-PROHIBITED", PASS, tree(debian())),
        case("PKG-PROHIBITED", "var/lib/dpkg/status", tree(debian("linux-image-6.1.0-1-amd64"))),
        case("PKG-PROHIBITED", NOT_APPLICABLE, minimal_server_image()),
        case("PKG-PROHIBITED", UNKNOWN, tree({"etc/os-release": DEBIAN})),
        case("PKG-DB-MISSING", PASS, tree(debian())),
        case("PKG-DB-MISSING", PASS, tree({"etc/os-release": DEBIAN, "var/lib/dpkg/status.d/a": status("a")})),
        case("PKG-DB-MISSING", "etc/os-release", tree({"etc/os-release": DEBIAN})),
        case("PKG-DB-MISSING", "etc/os-release", tree(debian(), {"var/lib/dpkg/.wh.status": b""})),
        case("PKG-DB-MISSING", "usr/bin/dpkg", tree({"usr/bin/dpkg": PROGRAM})),
        case("PKG-DB-MISSING", "var/lib/dpkg/status", tree({**debian(), "var/lib/dpkg/info/bash.list": "/bin/bash\n"})),
        case("PKG-DB-MISSING", NOT_APPLICABLE, minimal_server_image()),
        case("PKG-DB-MISSING", UNKNOWN, cut()),
        case("PKG-MIXED", PASS, tree({**debian(), sources: "deb http://deb.example/debian bookworm-updates main\n"})),
        case(
            "PKG-MIXED",
            sources,
            tree({**debian(), sources: "deb [signed-by=/k] https://deb.example/debian sid main\n"}),
        ),
        case(
            "PKG-MIXED",
            "etc/apt/sources.list.d/a.sources",
            tree({**debian(), "etc/apt/sources.list.d/a.sources": "Types: deb\nSuites: bookworm jammy-updates\n"}),
        ),
        case("PKG-MIXED", PASS, tree({**alpine, "etc/apk/repositories": "https://dl.example/alpine/v3.22/main\n"})),
        case(
            "PKG-MIXED",
            "etc/apk/repositories",
            tree(
                {
                    **alpine,
                    "etc/apk/repositories": "https://dl.example/alpine/v3.22/main\n@e https://d.example/edge/main\n",
                }
            ),
        ),
        case("PKG-MIXED", NOT_APPLICABLE, tree(debian())),
        case("PKG-MIXED", NOT_APPLICABLE, minimal_server_image()),
        case("PKG-MIXED", UNKNOWN, cut()),
        case("PKG-RUNTIME-EOL", "usr/local/bin/node", tree({"usr/local/bin/node": PROGRAM}, Env=node)),
        case("PKG-RUNTIME-EOL", PASS, tree({"usr/local/bin/node": PROGRAM}, Env=[node[0], "NODE_VERSION=24.1.0"])),
        case("PKG-RUNTIME-EOL", UNKNOWN, tree({"usr/local/bin/node": PROGRAM}, Env=[node[0], "NODE_VERSION=99.0.0"])),
        case("PKG-RUNTIME-EOL", NOT_APPLICABLE, minimal_server_image()),
        case("PKG-RUNTIME-EOL", NOT_APPLICABLE, tree({"a": b""}, Env=node)),
        case("PKG-RUNTIME-EOL", UNKNOWN, cut()),
    ]


@cases
def of_licences() -> list[Case]:
    def node(licence: str) -> dict[str, Node]:
        manifest = {"name": "left-pad", "version": "1.3.0", "license": licence}
        return {PACKAGE: json.dumps(manifest)}

    incomplete = tree({"etc/os-release": DEBIAN})
    broken = image([Layer(tar_of({"licenses/A": "x"})[:700])])
    return [
        case("LIC-DENY", PASS, tree(node("MIT OR AGPL-3.0-only"))),
        case("LIC-DENY", PASS, tree(node("words of our own"))),
        case("LIC-DENY", PACKAGE, tree(node("agpl-3.0+"))),
        case("LIC-DENY", PACKAGE, tree(node("MIT AND AGPL-3.0-only"))),
        case("LIC-DENY", PACKAGE, tree(node("ISC")), params={"allow": ["MIT", "Apache-2.0"]}),
        case("LIC-DENY", PASS, tree(node("ISC OR MIT")), params={"allow": ["MIT"]}),
        case("LIC-DENY", NOT_APPLICABLE, tree(node("MIT")), params={"deny": [], "allow": []}),
        case("LIC-DENY", UNKNOWN, incomplete),
        case("LIC-UNKNOWN", PASS, tree(node("(MIT OR ISC)"))),
        case("LIC-UNKNOWN", PACKAGE, tree(node("SEE LICENSE IN FILE"))),
        case("LIC-UNKNOWN", PACKAGE, tree({PACKAGE: '{"name": "left-pad", "version": "1.3.0"}'})),
        case("LIC-UNKNOWN", NOT_APPLICABLE, minimal_server_image()),
        case("LIC-UNKNOWN", UNKNOWN, incomplete),
        case("LIC-FILES", PASS, tree({"licenses/ours": "MIT"})),
        case("LIC-FILES", PASS, tree({"usr/share/doc/bash/copyright": "GPL"})),
        case("LIC-FILES", "licenses", tree({"licenses/empty": "", "usr/share/doc/bash/changelog": "x"})),
        case("LIC-FILES", "licenses", tree({"licenses": Symlink("/licenses")})),
        case("LIC-FILES", UNKNOWN, broken),
    ]
