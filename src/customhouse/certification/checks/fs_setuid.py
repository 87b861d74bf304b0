"""FS-SETUID: files that give rights to whoever starts them: setuid, setgid, file capabilities."""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, Subject, at_layer, whole_filesystem
from customhouse.certification.findings import JSON, Severity

SETUID, SETGID = 0o4000, 0o2000
CAPABILITY = "security.capability"
_FOLDERS = ("bin", "sbin", "usr/bin", "usr/sbin", "usr/lib/openssh", "usr/lib/dbus-1.0", "usr/libexec", "lib/polkit-1")


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    known = params["known"]
    known = known if isinstance(known, list) else []
    for entry in whole_filesystem(subject).walk():
        if entry.kind not in ("file", "hardlink"):
            continue
        rights = []
        if entry.mode & SETUID:
            rights.append(f"setuid of uid {entry.uid}")
        if entry.mode & SETGID and entry.mode & 0o010:
            rights.append(f"setgid of gid {entry.gid}")
        if CAPABILITY in entry.xattrs:
            rights.append("file capabilities")
        if not rights:
            continue
        usual = entry.name in known and entry.parent in _FOLDERS
        evidence: dict[str, JSON] = {
            "path": entry.path,
            "mode": f"{entry.mode:04o}",
            "uid": entry.uid,
            "gid": entry.gid,
            **at_layer(subject, entry.layer),
            "capabilities": entry.xattrs.get(CAPABILITY, b"").hex(),
        }
        message = f"/{entry.path} has {' and '.join(rights)}" + ("" if usual else ", which no distribution gives it")
        yield Failure(message, evidence, Severity.MEDIUM if usual else Severity.HIGH)


CHECK = Check(
    id="FS-SETUID",
    title="No file gives rights to whoever starts it",
    why="A setuid program is a way from any user to root, and a service in a container needs none.",
    remedy="Take the bits off in the build: RUN find / -xdev -perm /6000 -type f -exec chmod a-s {} +",
    severity=Severity.MEDIUM,
    evaluate=evaluate,
    params={
        "known": [
            "su", "mount", "umount", "passwd", "chsh", "chfn", "newgrp", "gpasswd", "chage", "expiry", "unix_chkpwd",
            "wall", "write", "bsd-write", "ping", "ping4", "ping6", "ssh-agent", "ssh-keysign", "crontab", "bbsuid",
            "dbus-daemon-launch-helper", "pkexec", "fusermount", "fusermount3", "dotlockfile", "newuidmap", "newgidmap",
            "pam_timestamp_check", "userhelper", "utempter", "ntfs-3g",
        ]
    },
    sources=("CIS 4.8", "CIS-DI-0008"),
    not_evaluable="a layer could not be read to its end",
)  # fmt: skip
