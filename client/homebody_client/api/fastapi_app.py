"""The same handler inside FastAPI: for apps that have one, and under uvicorn with our limits."""

import asyncio
import socket
from dataclasses import replace
from typing import Final, cast

import uvicorn
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from . import checks
from .handler import Handler
from .messages import ApiRequest, ApiResponse
from .server import ADDRESS, CONNECTIONS, READ_S
from .wire import HEAD_BYTES, answer_bytes

_GRACE_S: Final = 2


def fastapi_app(handler: Handler, *, read_s: float = READ_S) -> FastAPI:
    """Return an app that answers everything with the handler, and nothing of its own.

    FastAPI's own pages (documentation, schema) are off: they would answer without a token.

    Args:
        handler: Answers requests; its port is the one the app is served at.
        read_s: Seconds a body may take to arrive.
    """
    app = FastAPI(title="homebody", docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/", _Mounted(handler, read_s))
    return app


class _Mounted:
    """An ASGI app around the handler; every method and every path reach it."""

    def __init__(self, handler: Handler, read_s: float) -> None:
        self._handler = handler
        self._read_s = read_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; web sockets are closed unheard."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return
        answer = await self._answer(_head(scope), receive)
        if answer is None:
            return
        headers = [(n.lower().encode("ascii"), v.encode("ascii")) for n, v in answer.headers()]
        start = {"type": "http.response.start", "status": answer.status, "headers": headers}
        await send(start)
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, head: ApiRequest, receive: Receive) -> ApiResponse | None:
        """Return the answer; None where the client went away."""
        refusal = self._handler.refusal(head)
        if refusal is not None:
            return refusal.answer()
        try:
            body = await asyncio.wait_for(_body(receive), self._read_s)
        except TimeoutError:
            return checks.TOO_SLOW.answer()
        if body is None:
            return None
        return await run_in_threadpool(self._handler.handle, replace(head, body=body))


def _head(scope: Scope) -> ApiRequest:
    """Return the head as it came; a prefix the app is mounted under is taken off."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    prefix = scope.get("root_path", "").encode()
    path = raw.removeprefix(prefix)
    query: bytes = scope["query_string"]
    return ApiRequest(
        method=scope["method"],
        target=(path + b"?" + query if query else path).decode("latin-1"),
        headers=tuple(
            (n.decode("latin-1").lower(), v.decode("latin-1")) for n, v in scope["headers"]
        ),
    )


async def _body(receive: Receive) -> bytes | None:
    """Return the body, at most one byte more than is taken; None where the client went away."""
    body = b""
    while len(body) <= checks.BODY_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    return body[: checks.BODY_BYTES + 1]


class _Bounded(H11Protocol):
    """uvicorn's HTTP/1.1 with a bound on connections and on the time a head may take."""

    read_s = READ_S

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Refuse a connection where all are in use, and end one that says nothing."""
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            transport.write(answer_bytes(checks.BUSY.answer()))
            transport.close()
            return
        self.loop.call_later(self.read_s, self._overdue)

    def _overdue(self) -> None:
        if cast("object", self.cycle) is None and not self.transport.is_closing():
            self.transport.write(answer_bytes(checks.TOO_SLOW.answer()))
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP in our words."""
        del msg
        self.transport.write(answer_bytes(checks.NOT_HTTP.answer()))
        self.transport.close()


class FastApiServer:
    """Serves a handler through FastAPI and uvicorn on a socket that listens already.

    Args:
        listening: Socket of ``server.bind``; closed with the server.
        handler: Answers requests.
        read_s: Seconds a request may take to arrive.
    """

    def __init__(self, listening: socket.socket, handler: Handler, read_s: float = READ_S) -> None:
        """Prepare uvicorn; nothing is logged but its own failures."""
        self._listening = listening
        self._handler = handler
        self._started = False
        config = uvicorn.Config(
            fastapi_app(handler, read_s=read_s),
            host=ADDRESS,
            port=listening.getsockname()[1],
            http=type("_Timed", (_Bounded,), {"read_s": read_s}),
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_keep_alive=int(READ_S),
            timeout_graceful_shutdown=_GRACE_S,
            h11_max_incomplete_event_size=HEAD_BYTES,
        )
        self._uvicorn = uvicorn.Server(config)

    def run(self) -> None:
        """Serve until ``close``."""
        self._started = True
        self._uvicorn.run(sockets=[self._listening])  # closes the socket at its end

    def close(self) -> None:
        """Stop serving and free the port."""
        self._handler.close()
        self._uvicorn.should_exit = True
        if not self._started:
            self._listening.close()
