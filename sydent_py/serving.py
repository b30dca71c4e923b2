"""gunicorn, set up for this application: web processes without patience for slow senders, and one for the background work."""

import json
import math
import os
import signal
from collections.abc import Callable
from functools import partial
from selectors import EVENT_READ
from typing import Any

import structlog
from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine, ParseException
from gunicorn.workers.base import Worker
from gunicorn.workers.gthread import TConn, ThreadWorker

from sydent_py import worker
from sydent_py.api.web import CORS_HEADERS, MAX_BODY_BYTES
from sydent_py.app import create_app
from sydent_py.clock import SystemClock
from sydent_py.errors import InvalidParam, MatrixError, TooLarge, Unknown
from sydent_py.settings import Settings
from sydent_py.wiring import build

# How long a client may take to send one request. A thread reads it, and threads are few.
READ_TIMEOUT_S = 10.0
DRAIN_TIMEOUT_S = 5.0
KEEPALIVE_S = 20
GRACEFUL_TIMEOUT_S = 30
HEARTBEAT_TIMEOUT_S = 60
MAX_REQUEST_LINE_BYTES = 8190

_REASONS = {400: "Bad Request", 413: "Content Too Large", 414: "URI Too Long", 431: "Request Header Fields Too Large"}

log = structlog.get_logger(__name__)


class WebProcess(ThreadWorker):
    """A threaded gunicorn worker that hangs up on slow senders and refuses in Matrix's words."""

    def init_process(self) -> None:
        """Start, with nobody reading yet."""
        self._clock = SystemClock()
        self._reading: dict[TConn, float] = {}
        super().init_process()

    def accept(self, listener: Any) -> None:
        """Take a connection; until its first byte arrives it waits with the poller, and in no thread."""
        try:
            sock, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # another worker was faster, or the client has gone
        conn = TConn(self.cfg, sock, address, listener.getsockname())
        self.nr_conns += 1
        conn.set_timeout()
        self.pending_conns.append(conn)
        self.poller.register(sock, EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def enqueue_req(self, conn: TConn) -> None:
        """Queue a connection for a thread. Its deadline runs from here, so that slow senders do not take turns.

        What has arrived by then is read and answered all the same.
        """
        self._reading[conn] = self._clock.monotonic_s() + READ_TIMEOUT_S
        super().enqueue_req(conn)

    def handle(self, conn: TConn) -> Any:
        """Read and answer one request."""
        try:
            return super().handle(conn)
        finally:
            self._reading.pop(conn, None)

    def handle_request(self, req: Any, conn: TConn) -> Any:
        """Say that the connection ends where it will, because too much of the request is left to read over."""
        declared = dict(req.headers).get("CONTENT-LENGTH", "0")
        if declared.isdigit() and int(declared) > MAX_BODY_BYTES:
            req.force_close()
        return super().handle_request(req, conn)

    def _keepalive_after(self, conn: TConn, keepalive: Any) -> bool:
        """Read over what a refused request left unread, up to the largest body there may be, and keep the connection."""
        deadline_s = self._clock.monotonic_s() + DRAIN_TIMEOUT_S
        return bool(keepalive and conn.parser.finish_body(deadline=deadline_s, max_bytes=2 * MAX_BODY_BYTES))

    def notify(self) -> None:
        """Called by the main loop every second: hang up on those who took too long."""
        super().notify()
        now_s = self._clock.monotonic_s()
        for conn, deadline_s in list(self._reading.items()):
            if now_s > deadline_s:
                self._reading.pop(conn, None)
                _stop_reading(conn)

    def handle_error(self, _req: Any, client: Any, _addr: Any, exc: BaseException) -> None:
        """Answer what is not HTTP as a standard error response; what was sent is not logged, it may hold secrets."""
        refusal = _refusal(exc)
        log.warning("request.refused", error=type(exc).__name__, status=refusal.status)
        body = json.dumps(refusal.to_json()).encode()
        headers = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Connection": "close",
            **CORS_HEADERS,
        }
        head = [f"HTTP/1.1 {refusal.status} {_REASONS.get(refusal.status, 'Internal Server Error')}"]
        head += [f"{name}: {value}" for name, value in headers.items()]
        try:
            client.sendall("\r\n".join([*head, "", ""]).encode() + body)
        except OSError as error:
            log.debug("request.gone", error=type(error).__name__)


def _refusal(error: BaseException) -> MatrixError:
    if isinstance(error, LimitRequestLine):
        return TooLarge("The request URL is too long.", status=414)
    if isinstance(error, LimitRequestHeaders):
        return TooLarge("The request headers are too large.", status=431)
    if isinstance(error, ParseException):
        return InvalidParam("This is not a valid HTTP request.")
    return Unknown()


def _stop_reading(conn: TConn) -> None:
    """End the input, which ends the read a thread is waiting in; what it still answers can be sent."""
    try:
        conn.sock.shutdown(0)
    except OSError as error:
        log.debug("request.gone", error=type(error).__name__)


class BackgroundProcess(Worker):
    """A gunicorn worker that does the background work and answers nobody: gunicorn starts another when it dies."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        # gunicorn stops the oldest first where there is one process too many, and it is not this one.
        self.age = math.inf
        self._stop = worker.StopRequest()

    def init_signals(self) -> None:
        """Stop when gunicorn or a terminal says so, in whichever way."""
        super().init_signals()
        for number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT):
            signal.signal(number, self._stop.ask)

    def load_wsgi(self) -> None:
        """Build the services without the application in front of them, and leave the ports to the web processes."""
        self._services = build(self.app.settings)
        for listener in self.sockets:
            listener.close()

    def run(self) -> None:
        """Work until the end of the server."""
        worker.run(self._services, self)
        self._services.close()

    def wait(self, timeout: float, /) -> bool:
        """Whether to stop: called every second, it tells gunicorn that all is well, and notices when gunicorn has died."""
        self.notify()
        return self._stop.wait(timeout) or os.getppid() != self.ppid


class Processes(Arbiter):
    """gunicorn's master, which keeps one process of its number for the background work."""

    def spawn_worker(self) -> Any:
        """Start a process, for the background work where that has none."""
        has_background = any(process.age == math.inf for process in self.WORKERS.values())
        self.worker_class = WebProcess if has_background else BackgroundProcess
        return super().spawn_worker()

    def reload(self) -> None:
        """Replace every process, on SIGHUP. A new background process stands by until the old one has stopped."""
        for process in self.WORKERS.values():
            process.age = min(process.age, self.worker_age)
        super().reload()

    def handle_ttou(self) -> None:
        """Stop a web process, on SIGTTOU; one remains."""
        if self.num_workers > 2:  # noqa: PLR2004 - the background process and the last web process
            super().handle_ttou()


class Server(BaseApplication):
    """The whole server as one gunicorn application. Each process builds its services after the fork."""

    def __init__(self, settings: Settings, when_ready: Callable[[], None], *, with_worker: bool) -> None:
        self.settings = settings
        self._when_ready = when_ready
        self._with_worker = with_worker
        super().__init__()

    def load_config(self) -> None:
        """The settings in gunicorn's terms."""
        server = self.settings.server
        options = {
            "bind": server.bind,
            "workers": server.workers + self._with_worker,
            "threads": server.threads,
            "worker_class": WebProcess,
            "proc_name": "sydent-py",
            "loglevel": "warning",
            "keepalive": KEEPALIVE_S,
            "graceful_timeout": GRACEFUL_TIMEOUT_S,
            "timeout": HEARTBEAT_TIMEOUT_S,
            "limit_request_line": MAX_REQUEST_LINE_BYTES,
            # No header of a client changes the path, the scheme or the sender that the application sees.
            "forwarded_allow_ips": "",
            "forwarder_headers": "",
            # It would listen in the home directory; signals do the same.
            "control_socket_disable": True,
            "when_ready": lambda _arbiter: self._when_ready(),
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """The application, in a web process."""
        return create_app(build(self.settings))

    def run(self) -> None:
        """Serve until a signal ends it."""
        (Processes if self._with_worker else Arbiter)(self).run()
