"""The service: uvicorn around the app, from bind to graceful stop."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Iterator

import structlog
import uvicorn

from api.app import create_app
from shared.errors import SettingsError
from shared.kinds import Registry
from shared.settings import Settings

log = structlog.get_logger()


class Server(uvicorn.Server):
    """Uvicorn that a first SIGTERM or SIGINT stops gracefully and a second one at once, and that then returns.

    Uvicorn itself raises the signal again afterwards, which makes a clean stop look like a kill.
    """

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


async def serve(settings: Settings, url: str, registry: Registry) -> int:
    """Serve until SIGTERM and return the exit code.

    Raises `SettingsError` when a setting is missing or the port can't be had, `DatabaseError` without Postgres.
    """
    app = create_app(settings, url, registry)
    server = Server(
        uvicorn.Config(
            app,
            lifespan="off",  # entered here, where an error can be told in one line
            log_config=None,
            access_log=False,
            server_header=False,
            ws="none",
            timeout_graceful_shutdown=int(settings.request_timeout_seconds) + 1,
        )
    )
    with _listen(settings.host, settings.port) as listener:
        async with app.router.lifespan_context(app):
            log.info("api_started", host=settings.host, port=settings.port)
            await server.serve([listener])
    log.info("api_stopped")
    return 0


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise SettingsError(
            f"HOST {host}, PORT {port}: can't listen there: {error.strerror or error}", hint="Set another PORT."
        ) from error
