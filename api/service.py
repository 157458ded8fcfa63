"""The service: uvicorn around the app, from bind to graceful stop."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Iterator

import structlog
import uvicorn

from api.app import create_app
from api.deps import OutsideCron, Services
from shared.errors import SettingsError
from shared.kinds import Registry
from shared.settings import Settings

log = structlog.get_logger()

GIVING_BACK = 5  # seconds


class Server(uvicorn.Server):
    """Uvicorn that a first SIGTERM or SIGINT stops gracefully and a second one at once, and that then returns.

    Uvicorn itself raises the signal again afterwards, which makes a clean stop look like a kill.
    """

    services: Services | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Listen to both signals while serving."""
        loop = asyncio.get_running_loop()
        caught = (signal.SIGTERM, signal.SIGINT)
        for number in caught:
            loop.add_signal_handler(number, self.stop)
        try:
            yield
        finally:
            for number in caught:
                loop.remove_signal_handler(number)

    def stop(self) -> None:
        """Take no more connections and end when the open requests have; asked again, end now."""
        self.force_exit = self.should_exit
        self.should_exit = True
        if self.services:
            self.services.stopping.set()


async def serve(settings: Settings, url: str, registry: Registry, outside: OutsideCron | None = None) -> int:
    """Serve until SIGTERM and return the exit code.

    Raises `SettingsError` when a setting is missing or the port can't be had, `DatabaseError` without Postgres.
    """
    app = create_app(settings, url, registry, outside)
    server = Server(
        uvicorn.Config(
            app,
            lifespan="off",  # entered here, where an error can be told in one line
            log_config=None,
            access_log=False,
            server_header=False,
            ws="none",
            timeout_graceful_shutdown=_grace(settings),
        )
    )
    with listen(settings.host, settings.port) as listener:
        async with app.router.lifespan_context(app):
            server.services = app.state.services
            log.info("api_started", host=settings.host, port=settings.port)
            await server.serve([listener])
    log.info("api_stopped")
    return 0


def _grace(settings: Settings) -> int:
    """What open requests get at a stop: one that works needs a worker's grace, and a little to give back the rest."""
    work = settings.worker_grace_seconds + GIVING_BACK if settings.cron_secret else 0
    return int(max(settings.request_timeout_seconds, work)) + 1


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; raises `SettingsError` when it can't."""
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise SettingsError(
            f"HOST {host}, PORT {port}: can't listen there: {error.strerror or error}", hint="Set another PORT."
        ) from error
    # Connections inherit it. asyncio would set it, but not on a socket that doesn't say its protocol, as this one; and
    # then each answer on a connection that is kept open waits some 40 ms for the client's acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
