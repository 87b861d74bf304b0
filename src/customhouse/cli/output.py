"""What commands print: a document with --json, lines otherwise; progress and remarks go to stderr.

1. stdout holds what the next command can read, and nothing else.
2. A progress bar is drawn on a terminal only.
"""

import functools
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar

import click

from customhouse.oci.digest import Digest

P = ParamSpec("P")
R = TypeVar("R")
Meter = Callable[[Digest, int, int], None]


class Output:
    """Where a command writes to."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    def result(self, document: Any, lines: str | Iterable[str] = ()) -> None:
        """The answer: `document` with --json, else `lines`."""
        if self.as_json:
            click.echo(json.dumps(document, ensure_ascii=False, default=str))
            return
        for line in [lines] if isinstance(lines, str) else lines:
            click.echo(line)

    def note(self, text: str) -> None:
        """A remark to the person, on stderr."""
        click.echo(text, err=True)

    def table(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[str]:
        """Aligned lines under a heading."""
        cells = [[str(name).upper() for name in columns]] + [[_cell(row.get(name)) for name in columns] for row in rows]
        widths = [max(len(line[place]) for line in cells) for place in range(len(columns))]
        pairs = [zip(line, widths, strict=True) for line in cells]
        return ["  ".join(text.ljust(width) for text, width in pair).rstrip() for pair in pairs]

    @contextmanager
    def meter(self, names: Mapping[Digest, str] = {}) -> Iterator[Meter]:
        """A progress bar a blob, on a terminal; nothing elsewhere."""
        if self.as_json or not sys.stderr.isatty():
            yield lambda digest, done, total: None
            return
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

        bar = Progress(
            TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
            console=Console(stderr=True),
        )
        tasks: dict[str, TaskID] = {}

        def show(digest: Digest, done: int, total: int) -> None:
            if digest not in tasks:
                tasks[digest] = bar.add_task(names.get(digest, digest.hex[:12]), total=total)
            bar.update(tasks[digest], completed=done, total=total)

        with bar:
            yield show

    @contextmanager
    def progress(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """One progress bar of bytes, on a terminal; nothing elsewhere."""
        first = Digest.of(what.encode())
        with self.meter({first: what}) as show:
            yield lambda done, total: show(first, done, total)


def reporting(command: Callable[Concatenate[Output, P], R]) -> Callable[..., R]:
    """Give a command --json, and its Output as the first argument."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
    @functools.wraps(command)
    def with_output(*args: Any, as_json: bool, **options: Any) -> R:
        return command(Output(as_json), *args, **options)

    return with_output


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list | tuple):
        return ",".join(str(item) for item in value) or "-"
    return str(value)
