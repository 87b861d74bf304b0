"""The program's commands by name, and what becomes of their errors.

1. A command's module is imported when the command is used; `--help` knows one sentence of each.
2. Exit codes: 0 done or certified, 1 refused or not certified, 2 wrong usage, 3 could not be determined (network,
   engine, an error of ours).
3. An error is a sentence and a hint on stderr; with --json it is a JSON object on stdout as well. Never a traceback,
   unless CUSTOMHOUSE_DEBUG is set.
"""

import importlib
import json
import os
import sys
from collections.abc import Sequence

import click

from customhouse.errors import CustomhouseError, StorageFull, Unavailable, Undetermined

DONE, REFUSED, USAGE, UNDETERMINED, INTERRUPTED = 0, 1, 2, 3, 130

COMMANDS = {
    "demo": ("demo:demo", "See the whole chain on this machine."),
    "serve": ("serve:serve", "Run a hub."),
    "login": ("login:login", "Sign in to a hub and remember it."),
    "logout": ("login:logout", "Forget a login, here and at the hub."),
    "whoami": ("login:whoami", "Show who the hub takes you for."),
    "user": ("user:user", "Add, list and change users."),
    "publisher": ("publisher:publisher", "Publishers, their members and their keys."),
    "token": ("token:token", "Access tokens for machines."),
    "source": ("source:source", "Other registries that images may come from."),
    "mirror": ("mirror:mirror", "Official repositories kept at other registries."),
    "repository": ("repository:repository", "Repositories: list, show and delete them."),
    "rule": ("rule:rule", "Which tags are locked and which may move."),
    "retention": ("retention:retention", "What staging keeps, and for how long."),
    "submit": ("submit:submit", "Offer an image that another registry and its trust server have."),
    "submission": ("submission:submission", "Follow, review and withdraw submissions."),
    "sbom": ("sbom:sbom", "List the packages of an image as CycloneDX or SPDX."),
    "policy": ("policy:policy", "What blocks and what needs people; compare and try policies."),
    "waiver": ("waiver:waiver", "Accept a finding, with a reason and until a day."),
    "advisories": ("advisories:advisories", "Import advisories and see how fresh they are."),
    "check": ("check:check", "Run the hub's checks on an image, without a hub."),
    "image": ("image:image", "Push images and sign them."),
    "key": ("key:key", "Keys to sign with: make, load, list and rotate them."),
    "verify": ("verify:verify", "Verify an official image, as a consumer."),
    "trust": ("trust:trust", "What is signed in a repository; the hub's trust bundle."),
    "hub-key": ("hub_key:hub_key", "The hub's own signing keys."),
    "audit": ("audit:audit", "Read and prove the audit log."),
    "storage": ("storage:storage", "Verify what is stored; move or back up a whole hub."),
    "doctor": ("doctor:doctor", "Check the invariants of a whole hub."),
}
EPILOG = "Exit codes: 0 done or certified, 1 refused or not certified, 2 wrong usage, 3 could not be determined."


class Program(click.Group):
    """The commands of the table above."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(f"customhouse.cli.{module}"), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def _version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        from customhouse import __version__

        click.echo(f"customhouse {__version__}")
        ctx.exit()


@click.command(
    cls=Program, epilog=EPILOG, no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Show the version.")
def program() -> None:
    """Customhouse: a hub through which container images become official."""


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit code."""
    as_json = "--json" in arguments
    try:
        code = program.main(list(arguments), prog_name="customhouse", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else DONE
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return USAGE
    except click.UsageError as error:
        where = f"See {error.ctx.command_path} --help." if error.ctx else "See customhouse --help."
        return _tell(error.format_message(), where, USAGE, as_json)
    except click.ClickException as error:
        return _tell(error.format_message(), "", REFUSED, as_json)
    except (click.Abort, KeyboardInterrupt):
        return _tell("interrupted", "", INTERRUPTED, as_json)
    except CustomhouseError as error:
        if _debug():
            raise
        return _tell(error.message, error.hint, exit_code(error), as_json)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left; nothing more to say to it
        return DONE
    except OSError as error:
        if _debug():
            raise
        return _tell(f"{error.filename or 'the system'}: {error.strerror or error}", "", UNDETERMINED, as_json)
    except Exception as error:  # the boundary of the program
        if _debug():
            raise
        return _tell(
            f"an error of customhouse itself: {type(error).__name__}: {error}",
            "Set CUSTOMHOUSE_DEBUG=1 to see where, and report it.", UNDETERMINED, as_json,
        )


def exit_code(error: CustomhouseError) -> int:
    """The code of a refusal: 3 where nothing was decided."""
    return UNDETERMINED if isinstance(error, Undetermined | Unavailable | StorageFull) else REFUSED


def _debug() -> bool:
    from customhouse.settings import client_environment

    return client_environment().debug


def _tell(message: str, hint: str, code: int, as_json: bool) -> int:
    if as_json:
        click.echo(json.dumps({"error": {"message": message, "hint": hint}, "exit_code": code}))
    click.echo(f"error: {message}", err=True)
    if hint:
        click.echo(f"hint: {hint}", err=True)
    return code
