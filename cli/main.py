"""`foxtrot`: the command line, and the composition root that starts the three services."""

import sys

import typer

from cli import operate, schedules, services
from cli.up import up
from shared.errors import FoxtrotError

USAGE_ERROR = 2

app = typer.Typer(
    name="foxtrot",
    help="Timed refreshes and run-now for every user of an app, on the Postgres it already has.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(up)
app.command()(services.api)
app.command()(services.worker)
app.command()(services.scheduler)
app.command()(services.migrate)
app.command()(operate.token)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(operate.run)
app.command()(operate.runs)
app.add_typer(schedules.app, name="schedules")
app.command()(operate.sources)
app.command()(operate.workers)
app.command()(operate.doctor)


def main() -> None:
    """Run the command; a fault that has a name is one line on stderr and exit code 2, never a stack trace."""
    try:
        app()
    except FoxtrotError as error:
        message = error.message if not error.hint or error.message.endswith(".") else f"{error.message}."
        words = f"foxtrot: {message} {error.hint or ''}".split()
        sys.stderr.write(" ".join(words) + "\n")
        sys.exit(USAGE_ERROR)
