"""Whole images with golden results: one that does everything wrong, one like alpine, one that is a single program."""

from customhouse.testing.images import (
    BuiltImage,
    Device,
    File,
    Folder,
    Layer,
    Node,
    Symlink,
    image,
    labels,
    layer,
    minimal_server_image,
)
from customhouse.testing.server_program import server_program

from .cases import elf, status

PROGRAM = File(server_program(), mode=0o755)
_BUSTER = 'ID=debian\nVERSION_ID="10"\nVERSION_CODENAME=buster\nPRETTY_NAME="Debian GNU/Linux 10 (buster)"\n'


def awful() -> BuiltImage:
    """Fails nearly every static check there is. What is missing: a size that would take minutes to build."""
    base: dict[str, Node] = {
        "etc/os-release": _BUSTER,
        "etc/passwd": "root::0:0::/:/bin/sh\ntoor:x:0:0::/:/bin/sh\napp:x:1000:1000::/:/bin/sh\n",
        "etc/shadow": "root:$6$salt$hash:19000::::::\n",
        "etc/group": "root:x:0:\nwheel:x:0:\nstaff:x:50:\nother:x:50:\n",
        "var/lib/dpkg/status": status("base-files", "tool", "linux-image-4.19.0-1-amd64", "hydra"),
        "var/lib/dpkg/info/tool.list": "/.\n/usr/bin/tool\n",
        "var/lib/dpkg/info/bash.list": "/.\n/bin/bash\n",
        "usr/bin/tool": elf(),
        "usr/bin/apt-get": PROGRAM,
        "bin/bash": PROGRAM,
        "bin/sh": Symlink("bash"),
        "etc/apt/sources.list": "deb [trusted=yes] http://deb.example/debian sid main\n",
    }
    above: dict[str, Node] = {
        "usr/bin/tool": File(server_program() + b"patched", mode=0o755),
        "usr/bin/sudo": File(server_program(), mode=0o4755),
        "usr/bin/gcc": PROGRAM,
        "usr/bin/curl": PROGRAM,
        "usr/bin/wget": PROGRAM,
        "usr/sbin/sshd": PROGRAM,
        "usr/bin/supervisord": PROGRAM,
        "usr/local/bin/node": elf(kind=2, stack=7, relro=False),
        "usr/local/share/ca-certificates/corp.crt": b"certificate",
        "root/.npmrc": "strict-ssl=false\n",
        "var/cache/apt/archives/curl.deb": bytes(range(256)) * 800,
        "var/log/dpkg.log": b"log",
        "var/log/lastlog": bytes(2_000_000),
        "app/.git/HEAD": b"ref: refs/heads/main\n",
        "app/Dockerfile": b"FROM debian:10\n",
        "app/data": File(b"shared", mode=0o666, uid=4711),
        "app/big": bytes(range(256)) * 8000,
        "root/.ssh/id_rsa": b"once a key",
        "dev/sda": Device(kind="block"),
    }
    last: dict[str, Node] = {"app/.wh.big": b"", "root/.ssh/.wh.id_rsa": b"", "var/log/lastlog": bytes(2_000_001)}
    layers = [
        layer(base, created_by="/bin/sh -c #(nop) ADD file:" + "0" * 64 + " in / "),
        layer(above, created_by="|1 TOKEN=x /bin/sh -c apt-get update"),
        layer(last, created_by="/bin/sh -c curl -k http://get.example/i.sh | sudo bash"),
        layer({"config": b"1"}, created_by="ADD https://get.example/config /etc/ # buildkit"),
        Layer(layer({"x": b"x"}).tar, "none", media_type="application/vnd.docker.image.rootfs.diff.tar.gzip"),
        *[layer({f"srv/{number}": b""}, created_by=f"COPY {number} /srv/ # buildkit") for number in range(37)],
    ]
    history = [{"created_by": item.created_by} for item in layers]
    history.insert(1, {"created_by": '/bin/sh -c #(nop)  CMD ["bash"]', "empty_layer": True})
    for line in (
        "/bin/sh -c #(nop)  MAINTAINER somebody",
        "RUN /bin/sh -c cd /app # buildkit",
        "RUN /bin/sh -c apt-get -y dist-upgrade && apt install python3 && pip install flask # buildkit",
    ):
        history.append({"created_by": line, "empty_layer": True})
    config = {
        "User": "root:root",
        "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", "NODE_VERSION=14.21.3", "DB_PASSWORD=hunter22"],
        "Entrypoint": ["/bin/sh", "-c", "/usr/bin/supervisord -n"],
        "Healthcheck": {"Test": ["CMD-SHELL", "curl http://status.example || true"]},
        "ExposedPorts": {"22/tcp": {}, "99999/tcp": {}},
        "Volumes": {"/proc": {}, "/etc": {}},
        "WorkingDir": "srv/missing",
        "StopSignal": "SIGKILL",
        "OnBuild": ["RUN rm -rf /"],
        "Labels": {"vendor": "Docker Inc", "org.opencontainers.image.created": "yesterday"},
    }
    changes = {
        "os": "Linux",
        "created": "2019-07-01T00:00:00Z",
        "author": "somebody",
        "history": history,
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64, *[str(item.diff_id) for item in layers[1:]]]},
    }
    return image(layers, config=config, config_changes=changes)


def alpine_like() -> BuiltImage:
    """A base with apk's database, a program of the publisher above it, and a user of its own."""
    installed = (
        "P:busybox\nV:1.37.0-r18\nA:x86_64\no:busybox\nF:bin\nR:busybox\n\n"
        "P:musl\nV:1.2.5-r10\nA:x86_64\no:musl\nF:lib\nR:ld-musl-x86_64.so.1\n\n"
    )
    base: dict[str, Node] = {
        "etc/os-release": 'ID=alpine\nVERSION_ID=3.22.1\nPRETTY_NAME="Alpine Linux v3.22"\n',
        "etc/alpine-release": "3.22.1\n",
        "etc/apk/repositories": "https://dl.example/alpine/v3.22/main\nhttps://dl.example/alpine/v3.22/community\n",
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n",
        "etc/shadow": "root:*::0:::::\nnobody:!::0:::::\n",
        "etc/group": "root:x:0:\nnobody:x:65534:\n",
        "lib/apk/db/installed": installed,
        "lib/ld-musl-x86_64.so.1": elf(),
        "bin/busybox": elf(),
        "bin/sh": Symlink("busybox"),
        "tmp": Folder(mode=0o1777),
    }
    config = {
        "User": "65534",
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        "Entrypoint": ["/usr/local/bin/web"],
        "ExposedPorts": {"8080/tcp": {}},
        "Healthcheck": {"Test": ["CMD-SHELL", "wget -q -O /dev/null http://127.0.0.1:8080/ || exit 1"]},
        "Labels": labels(),
    }
    layers = [
        layer(base, created_by="ADD alpine-minirootfs-3.22.1-x86_64.tar.gz / # buildkit"),
        layer({"usr/local/bin/web": elf()}, created_by="COPY web /usr/local/bin/ # buildkit"),
    ]
    history = [{"created_by": item.created_by} for item in layers]
    history.insert(1, {"created_by": 'CMD ["/bin/sh"]', "empty_layer": True})
    return image(layers, config=config, config_changes={"history": history, "created": "2026-11-01T08:00:00Z"})


def scratch() -> BuiltImage:
    """One static program and a user, nothing else."""
    return minimal_server_image()
