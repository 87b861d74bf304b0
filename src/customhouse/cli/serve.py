"""`customhouse serve`: one hub in one process tree, on one origin."""

from pathlib import Path

import click


@click.command()
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), required=True, help="All that the hub keeps.")
@click.option("--listen", metavar="HOST:PORT", help="Address and port; 127.0.0.1:5443 if nothing says otherwise.")
@click.option("--url", help="Public URL, https://HOST[:PORT]; fixed by the first signature.")
@click.option("--policy", metavar="NAME|FILE", help="A shipped policy (`customhouse policy list`) or a file.")
@click.option("--processes", type=int, help="Processes that serve; 1 if nothing says otherwise.")
def serve(data: Path, listen: str | None, url: str | None, policy: str | None, processes: int | None) -> int:
    """Run a hub until SIGTERM; prints one `ready` line with its URL."""
    from customhouse import app
    from customhouse.settings import load

    return app.serve(load(data, listen=listen, url=url, policy=policy, processes=processes))
