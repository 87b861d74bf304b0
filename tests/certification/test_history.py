"""The build steps that a history tells, in the dialects of docker, BuildKit, buildah and kaniko."""

import pytest

from customhouse.certification.history import MOST_HISTORY, base_layers, build_history, called, instruction, shown
from customhouse.oci.config import History, ImageConfig


def config(*lines: str) -> ImageConfig:
    """Lines that end in " -" made no layer."""
    history = tuple(History(created_by=line.removesuffix(" -"), empty_layer=line.endswith(" -")) for line in lines)
    return ImageConfig("linux", "amd64", history=history)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('/bin/sh -c #(nop)  CMD ["sh"]', ("CMD", '["sh"]')),
        ("/bin/sh -c #(nop) COPY dir:0 in /x ", ("COPY", "dir:0 in /x")),
        ("/bin/sh -c apt-get update", ("RUN", "apt-get update")),
        ("|2 A=b c D=e /bin/sh -c make", ("RUN", "make")),
        ("RUN /bin/sh -c make # buildkit", ("RUN", "make")),
        ("RUN |1 A=b /bin/bash -o pipefail -c make # buildkit", ("RUN", "make")),
        ("RUN apt-get update", ("RUN", "apt-get update")),
        ("COPY a /b # buildkit", ("COPY", "a /b")),
        ("bazel build //:image", None),
        ("ko build ko://x", None),
        ("apko", None),
        ("FETCH x", None),
        ("", None),
    ],
)
def test_a_line_is_read_in_its_dialect(line: str, found: tuple[str, str] | None) -> None:
    assert instruction(line) == found


def test_the_base_ends_at_the_last_command_before_the_steps_above_it() -> None:
    built = config(
        "ADD x in /", 'CMD ["a"] -', "RUN make", 'CMD ["b"] -', "COPY a /", 'ENTRYPOINT ["c"] -', 'CMD ["d"] -'
    )
    read = build_history(built, 3)
    assert [(step.line, step.base, step.layer) for step in read.steps][2:5] == [
        (2, True, 1),
        (3, True, None),
        (4, False, 2),
    ]
    assert base_layers(built, 3) == 2 and base_layers(built, 4) == 0
    assert base_layers(config("COPY a /", 'CMD ["d"] -'), 1) == 0


def test_what_is_not_told_is_said() -> None:
    assert build_history(config("COPY a /"), 1).missing == ""
    assert "tells 1 layers" in build_history(config("COPY a /"), 2).missing
    assert "no build history" in build_history(ImageConfig("linux", "amd64"), 1).missing
    assert "longer" in build_history(config("RUN " + "x" * MOST_HISTORY, "COPY a /"), 2).missing
    kaniko = ImageConfig("linux", "amd64", history=(History("RUN make", author="kaniko"),))
    assert "kaniko" in build_history(kaniko, 1).missing and len(build_history(kaniko, 1).steps) == 1
    debian = config("# debian.sh --arch 'amd64' out/ 'bookworm' '@1'", "COPY a /")
    assert build_history(debian, 2).missing == ""


def test_commands_are_found_behind_what_wraps_them() -> None:
    found = called("set -e; sudo -u x env A=b sh -c 'make && make install' || true")
    assert found is not None
    assert [call.name for call in found] == ["set", "sudo", "env", "sh", "make", "make", "true"]
    assert called("# only a remark") == () and called("echo 'open") is None


def test_a_shown_line_holds_no_secret() -> None:
    line = "RUN |1 NPM_TOKEN=abc123def456 /bin/sh -c npm ci"
    assert "abc123def456" not in shown(line) and "npm ci" in shown(line)
    assert len(shown("x" * 10_000)) == 400
