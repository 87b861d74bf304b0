"""`customhouse login | logout | whoami`: a session at a hub, kept in the config file."""

from pathlib import Path

import click

from customhouse.cli.hub_api import Connections, HubApi, connected, password_from
from customhouse.cli.logins import Login, Logins
from customhouse.cli.output import Output, reporting
from customhouse.errors import CustomhouseError
from customhouse.settings import client_environment
from customhouse.transport import Credentials, Tls, Transport


@click.command()
@click.argument("url", required=False)
@click.option("-u", "--username", required=True, help="Your name at the hub.")
@click.option("--password-stdin", is_flag=True, help="Read the password from the first line of stdin.")
@click.option("--ca-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="CA of the hub, PEM.")
@click.option("--insecure", is_flag=True, help="Believe any certificate.")
@reporting
def login(
    out: Output, url: str | None, username: str, password_stdin: bool, ca_file: Path | None, insecure: bool
) -> None:
    """Sign in to the hub at URL and remember it."""
    logins = Logins(client_environment())
    url = logins.url(url)
    tls = logins.tls(url, ca_file, insecure)
    if tls.ca_file:
        tls.context()
        tls = Tls(ca_pem=tls.ca_file.read_text(), insecure=tls.insecure)
    password = password_from(password_stdin)
    answer = HubApi(Transport(url, credentials=Credentials(username, password), tls=tls)).post("/login")
    kept = Login(
        url=url, username=str(answer["username"]), token=str(answer["token"]), role=str(answer.get("role", "")),
        expires=str(answer.get("expires", "")), ca_pem=tls.ca_pem, insecure=tls.insecure,
    )
    logins.keep(kept)
    shown = {"url": url, "username": kept.username, "role": kept.role, "expires": kept.expires}
    out.result(shown, f"signed in to {url} as {kept.username} ({kept.role}) until {kept.expires}")


@click.command()
@click.argument("url", required=False)
@reporting
def logout(out: Output, url: str | None) -> None:
    """End the session at the hub and forget it."""
    logins = Logins(client_environment())
    url = logins.url(url)
    known = logins.get(url)
    ended = False
    if known:
        try:
            tls = Tls(ca_pem=known.ca_pem, insecure=known.insecure)
            HubApi(Transport(url, credentials=Credentials(bearer=known.token), tls=tls)).post("/logout")
            ended = True
        except CustomhouseError as error:
            out.note(f"the hub was not told: {error.message}")
        logins.forget(url)
    out.result({"url": url, "session_ended": ended}, f"signed out of {url}" if known else f"no login at {url}")


@click.command()
@reporting
@connected
def whoami(out: Output, connections: Connections) -> None:
    """Show who the hub takes you for."""
    answer = connections.hub().get("/whoami")
    out.result(answer, f"{answer['username']} ({answer['role']}), publishers: {', '.join(answer['publishers']) or '-'}")
