"""A proxy before Postgres that loses what a network loses: the answer to a commit, a connection, or the way there."""

import asyncio
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlencode, urlsplit

CHUNK = 1 << 16
HEAD = 5  # bytes of a message of the server's before its body: a letter, and a length that counts itself
COMPLETE, ROW, ERROR, NOTIFICATION, READY = b"C", b"D", b"E", b"A", b"Z"
PARSE = re.compile(rb"P.{4}(\w+)\0(-- [\w ]+: )", re.DOTALL)  # the name that a statement is prepared by, and what it is
IDLE = b"I"  # as what READY says: the transaction is over, or the statement that was one by itself


@dataclass(frozen=True)
class Loss:
    """The answer to the next commit after a statement of this name that found rows; one may commit itself.

    `cut` takes the connection with it; else it stands, and nothing more comes over it.
    """

    statement: str
    cut: bool


@dataclass(eq=False)
class Pair:
    """A client's connection and the one to the server for it, since its last commit."""

    to_client: asyncio.StreamWriter
    to_server: asyncio.StreamWriter
    application: str
    prepared: dict[bytes, bytes] = field(default_factory=dict)
    asked: bytes = b""
    rows: int = 0
    failed: bool = False
    held: bytes = b""
    passed: bytes = b""
    mute: bool = False

    def close(self) -> None:
        self.to_client.close()
        self.to_server.close()

    def statements(self) -> bytes:
        """What was asked, with what prepared statements are that were asked for by name."""
        self.prepared.update(PARSE.findall(self.asked))
        return self.asked + b"".join(what for name, what in self.prepared.items() if b"\0%b\0" % name in self.asked)

    def begin_anew(self) -> None:
        self.asked, self.rows, self.failed = b"", 0, False


class Proxy:
    """Leads from `url`, a port of this machine, to the server behind the unix socket of `upstream`.

    `lost` counts the answers that were swallowed. What can be said to it may be said from any thread.
    """

    def __init__(self, upstream: str) -> None:
        self.lost = 0
        self._upstream = upstream
        self._losses: list[Loss] = []
        self._closed_to: set[str] = set()
        self._pairs: set[Pair] = set()
        self._port = 0
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._ending = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=[self._serve()])

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        """Where clients connect."""
        parts = urlsplit(self._upstream)
        plain = urlencode({"sslmode": "disable", "gssencmode": "disable"})
        return parts._replace(netloc=f"{parts.username}@127.0.0.1:{self._port}", query=plain).geturl()

    def lose_commit(self, statement: str, *, cut: bool = True) -> None:
        """Swallow the answer to the next commit after a statement of that name, which its contract begins with."""
        self._losses.append(Loss(statement, cut=cut))

    def lose_nothing(self) -> None:
        """Swallow no more answers; those connections that are mute are cut."""
        self._losses.clear()
        self._loop.call_soon_threadsafe(self._cut, None)

    def close_to(self, application: str) -> None:
        """Cut the connections of an application, and refuse it new ones."""
        self._closed_to.add(application)
        self._loop.call_soon_threadsafe(self._cut, application)

    def open_to(self, application: str) -> None:
        """Let an application in again."""
        self._closed_to.discard(application)

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._lead, "127.0.0.1", 0)
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._ending.wait()
        server.close()
        self._cut("")
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if left:
            await asyncio.wait(left)

    def _cut(self, application: str | None) -> None:
        for pair in list(self._pairs):
            if pair.mute if application is None else application in {"", pair.application}:
                pair.close()

    async def _lead(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            first = await from_client.readexactly(4)
            first += await from_client.readexactly(int.from_bytes(first) - 4)
            application = _application(first)
            if application not in self._closed_to:
                from_server, to_server = await asyncio.open_unix_connection(self._socket())
                to_server.write(first)
                await self._pump(Pair(to_client, to_server, application), from_client, from_server)
        to_client.close()

    def _socket(self) -> str:
        asked = parse_qs(urlsplit(self._upstream).query)
        return f"{asked['host'][0]}/.s.PGSQL.{asked['port'][0]}"

    async def _pump(self, pair: Pair, from_client: asyncio.StreamReader, from_server: asyncio.StreamReader) -> None:
        self._pairs.add(pair)
        try:
            await asyncio.gather(self._ask(pair, from_client), self._answer(pair, from_server))
        finally:
            self._pairs.discard(pair)
            pair.close()

    async def _ask(self, pair: Pair, from_client: asyncio.StreamReader) -> None:
        with suppress(OSError):
            while chunk := await from_client.read(CHUNK):
                pair.asked += chunk
                pair.to_server.write(chunk)
                await pair.to_server.drain()
        pair.close()

    async def _answer(self, pair: Pair, from_server: asyncio.StreamReader) -> None:
        pending = b""
        with suppress(OSError):
            while chunk := await from_server.read(CHUNK):
                whole, pending = _whole(pending + chunk)
                for message in whole:
                    self._hear(pair, message)
                pair.to_client.write(pair.passed)
                pair.passed = b""
                await pair.to_client.drain()
            pair.to_client.write(pair.held)  # the last words of a server that goes
            await pair.to_client.drain()
        pair.close()

    def _hear(self, pair: Pair, message: bytes) -> None:
        """Hold what the server says until it has said all, and then pass it on or lose it."""
        kind, said = message[:1], message[HEAD:]
        if pair.mute:
            return
        if kind == NOTIFICATION:
            pair.passed += message
            return
        pair.held += message
        pair.rows += kind == ROW
        pair.failed |= kind == ERROR or (kind, said) == (COMPLETE, b"ROLLBACK\0")
        if kind == READY:
            if said == IDLE:
                self._end(pair)
            pair.passed += b"" if pair.mute else pair.held
            pair.held = b""

    def _end(self, pair: Pair) -> None:
        """Lose the answer to what has just been committed, if that was asked for."""
        statements = pair.statements()
        named = [loss for loss in self._losses if f"-- {loss.statement}: ".encode() in statements]
        found = named[:1] if pair.rows and not pair.failed else []
        pair.begin_anew()
        for loss in found:
            self._losses.remove(loss)
            self.lost += 1
            pair.mute = True
            if loss.cut:
                pair.close()


def _whole(stream: bytes) -> tuple[list[bytes], bytes]:
    """The whole messages that a stream of the server's begins with, and the rest."""
    messages, at = list[bytes](), 0
    while len(stream) - at >= HEAD:
        end = at + 1 + int.from_bytes(stream[at + 1 : at + HEAD])
        if end > len(stream):
            break
        messages.append(stream[at:end])
        at = end
    return messages, stream[at:]


def _application(startup: bytes) -> str:
    """The application_name of a startup message, which is names and values, each with a zero behind it."""
    words = iter(startup[8:].split(b"\0"))
    return dict(_pairs(words)).get(b"application_name", b"").decode()


def _pairs(words: Iterator[bytes]) -> Iterator[tuple[bytes, bytes]]:
    for word in words:
        yield word, next(words, b"")
