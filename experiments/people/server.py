"""A sitting in the browser: a server on loopback whose address holds a token that nobody can guess.

    GET  /TOKEN/                     the page (static/play.html), and the files of reports that it uses
    GET  /TOKEN/state                what the person sees (`Seat.view`)
    POST /TOKEN/move, undo, advice   {"version", "action"}: answered with the new state, or the agent's advice
    POST /TOKEN/next                 deal the next game
    GET  /TOKEN/games/played/N.js    game N, once it is over, for the replay page

A request that names another host or comes from another page is refused. An error is {"error": one sentence}.
"""

import http.server
import json
import secrets
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from experiments.people.sitting import Sitting
from experiments.report import build
from games.errors import TacitError

HOST = "127.0.0.1"
_STATIC = Path(__file__).parent / "static"
_MOST_BYTES = 10_000
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".json": "application/json"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Server(http.server.ThreadingHTTPServer):
    """Serves one sitting on loopback.

    Args:
      sitting: its games.
      port: 0 for any that is free.

    Raises:
      TacitError: if the port is in use.
    """

    daemon_threads = True

    def __init__(self, sitting: Sitting, port: int = 0) -> None:
        self.sitting = sitting
        self.token = secrets.token_urlsafe(24)
        self.lock = threading.Lock()
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or error
            raise TacitError(f"port {port} cannot be used: {why}; give another --port, or none") from error

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a page that was closed before its answer."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    @property
    def address(self) -> str:
        """The page."""
        return f"http://{HOST}:{self.server_port}/{self.token}/"


class _Refusal(Exception):
    """An answer that is no success."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class _Handler(http.server.BaseHTTPRequestHandler):
    """One request."""

    server: Server  # pyright: ignore[reportIncompatibleVariableOverride] (the only one that it serves)
    server_version = "tacit"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer with a file, or with the state."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Do something, and answer with what it led to."""
        self._answer(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a line for each request is of no use to the person."""

    def _answer(self, respond: Callable[[str], tuple[str, bytes]]) -> None:
        try:
            kind, body = respond(self._path())
            status = HTTPStatus.OK
        except _Refusal as refusal:
            status, kind, body = refusal.status, ".json", _json({"error": str(refusal)})
        except TacitError as error:
            status, kind, body = HTTPStatus.CONFLICT, ".json", _json({"error": str(error)})
        self.send_response(status)
        for name, value in {
            **_HEADERS, "Content-Type": f"{_TYPES[kind]}; charset=utf-8", "Content-Length": str(len(body)),
        }.items():  # fmt: skip
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _path(self) -> str:
        """What follows the token; the request is refused if it is none of our page's."""
        hosts = [f"{name}:{self.server.server_port}" for name in (HOST, "localhost")]
        if self.headers.get("Host") not in hosts:
            raise _Refusal(HTTPStatus.FORBIDDEN, "this address is not served under that name")
        origin = self.headers.get("Origin")
        if origin is not None and origin not in [f"http://{host}" for host in hosts]:
            raise _Refusal(HTTPStatus.FORBIDDEN, "requests of other pages are refused")
        token, _, rest = unquote(self.path).partition("?")[0].removeprefix("/").partition("/")
        if not secrets.compare_digest(token.encode(), self.server.token.encode()):
            raise _Refusal(HTTPStatus.FORBIDDEN, "the address lacks the token that `tacit play` printed")
        return rest

    def _get(self, path: str) -> tuple[str, bytes]:
        sitting = self.server.sitting
        if path == "state":
            with self.server.lock:
                return ".json", _json(_state(sitting))
        if path.startswith("games/played/") and path.endswith(".js"):
            with self.server.lock:
                if path != f"games/played/{sitting.number}.js":
                    raise _Refusal(HTTPStatus.NOT_FOUND, "only the last game can be looked at")
                return ".js", build.game_script(sitting.seat.whole_game()).encode()
        files = {file.name: file for folder in (build.STATIC, _STATIC) for file in folder.iterdir()}
        file = files.get({"": "play.html", "index.html": "play.html"}.get(path, path))
        if file is None or file.suffix not in _TYPES:
            raise _Refusal(HTTPStatus.NOT_FOUND, f"there is nothing called {path!r} here")
        return file.suffix, file.read_bytes()

    def _post(self, path: str) -> tuple[str, bytes]:
        asked = self._body()
        sitting, version = self.server.sitting, asked.get("version", "")
        with self.server.lock:
            if path == "advice":
                return ".json", _json(sitting.advice(version))
            if path == "move":
                sitting.move(asked.get("action"), version)
            elif path == "undo":
                sitting.undo(version)
            elif path == "next":
                sitting.next_game(version)
            else:
                raise _Refusal(HTTPStatus.NOT_FOUND, f"there is nothing called {path!r} here")
            return ".json", _json(_state(sitting))

    def _body(self) -> dict[str, Any]:
        if self.headers.get_content_type() != "application/json":
            raise _Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a request is to be JSON")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or len(length) > 9 or int(length) > _MOST_BYTES:
            raise _Refusal(
                HTTPStatus.BAD_REQUEST, f"a request is to have at most {_MOST_BYTES} bytes, and to say how many"
            )
        try:
            plain = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            plain = None
        if not isinstance(plain, dict):
            raise _Refusal(HTTPStatus.BAD_REQUEST, "a request is to be a JSON object")
        return plain


def _state(sitting: Sitting) -> dict[str, Any]:
    view = sitting.seat.view()
    file = {"file": str(sitting.file)} if sitting.seat.settings.asking else {}
    return view | {"version": sitting.version, "number": sitting.number, "last": sitting.last, **file}


def _json(plain: Any) -> bytes:
    return json.dumps(plain).encode()


def serve(server: Server) -> None:
    """Answer requests until the program is interrupted."""
    try:
        server.serve_forever()
    finally:
        server.server_close()
