"""The player of guides notices what is wrong in one."""

from pathlib import Path

import pytest

from tests.docs.guide import World, blocks


def block(*lines: str, before: str = "") -> str:
    return "\n".join(["text", before, "```console", *lines, "```", ""])


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "world")


def test_commands_are_typed_in_order_in_the_home_of_their_person(world: World) -> None:
    world.play(
        block("$ NAME=ann", '$ echo "$NAME $HOME" > who', before="<!-- as: ann -->")
        + block("$ cat who", "ann …/homes/ann")
        + block('$ echo "<$NAME>"', "<>", before="<!-- as: bob -->")
    )


def test_a_command_over_two_lines_is_one(world: World) -> None:
    world.play(block("$ echo one \\", "    two", "one two"))


@pytest.mark.parametrize(
    ("page", "told"),
    [
        (block("$ echo one", "two"), "but the guide shows: two"),
        (block("$ echo one two", "one"), "but the guide shows: one"),
        (block("$ false"), "but the guide says 0"),
        (block("$ true", before="<!-- exit: 1 -->"), "but the guide says 1"),
        (block("$ echo Traceback '(most recent call last)'"), "Traceback"),
        (block("$ rm -rf /nowhere/at/all"), "not of this world"),
    ],
)
def test_what_is_not_as_the_guide_says_ends_it_with_the_line(world: World, page: str, told: str) -> None:
    with pytest.raises(AssertionError, match="line |not of this world") as found:
        world.play(page)
    assert told in str(found.value)


def test_an_id_that_is_shown_is_put_into_later_commands(world: World) -> None:
    world.play(block("$ echo id 0123456789abcdef", "id ID") + block("$ echo at/ID", "at/0123456789abcdef"))


def test_a_file_is_written_and_system_folders_are_the_worlds_own(world: World) -> None:
    page = "<!-- file: /etc/customhouse/x -->\n```toml\na = 1\n```\n" + block("$ cat /etc/customhouse/x", "a = 1")
    world.play(page)
    assert (world.system / "etc/customhouse/x").read_text() == "a = 1\n"


def test_what_is_not_run_is_not_run(world: World) -> None:
    page = block("$ false", before="<!-- not run: it would fail -->")
    assert [each.not_run for each in blocks(page)] == ["it would fail"]
    world.play(page)
