"""One web process, called over HTTP: a question, an action, the stream of events."""

from __future__ import annotations

import io
import json
import socket
import ssl
from collections.abc import Mapping
from http.client import (
    HTTPConnection,
    HTTPException,
    HTTPSConnection,
    parse_headers,
)
from typing import Any

from monitor_app.feed.place import Place
from monitor_app.feed.reasons import reason

CALL_S = 10.0
READ_S = 0.5
"""How long one reads before one looks whether to go on."""
ANSWER_BYTES_MAX = 64 * 2**20
HEAD_BYTES_MAX = 64 * 1024
_PIECE_BYTES = 256 * 1024
_ID_HEADER = "Idempotency-Key"
_NO_DTF = reason("something answers there, and it is no dtf")


class CallError(Exception):
    """It was not answered as it should be, and why."""


class UnreachableError(CallError):
    """Nobody answers there, for now."""


class RefusedError(CallError):
    """It is answered, with why not.

    Parameters
    ----------
    status
        Of HTTP.
    """

    def __init__(self, status: int, why: str) -> None:
        super().__init__(status, why)
        self.status = status
        self.why = why

    def __str__(self) -> str:
        return self.why


class StrangeError(CallError):
    """Something answers that is no dtf, or one of another version."""


class Caller:
    """Calls to one place, over a connection that is kept.

    Parameters
    ----------
    token
        Shown to who is asked; empty for none.
    """

    def __init__(
        self, place: Place, token: str = "", *, call_s: float = CALL_S
    ) -> None:
        self.place = place
        self._token = token
        self._call_s = call_s
        self._connection: HTTPConnection | None = None

    def get(self, path: str, query: dict[str, object] | None = None) -> Any:
        """The answer to a question, as JSON that was read.

        Raises
        ------
        CallError
            There is none.
        """
        return self._call("GET", self.place.path(path, query), None, {})

    def post(self, path: str, said: Mapping[str, Any], id: str) -> Any:
        """What came of an action; asked again with the same id it is done once.

        Raises
        ------
        CallError
            It was refused, or nobody can say.
        """
        headers = {"Content-Type": "application/json", _ID_HEADER: id}
        body = json.dumps(said).encode()
        return self._call("POST", self.place.path(path), body, headers)

    def close(self) -> None:
        """Hold no connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _call(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Any:
        kept = self._connection is not None
        try:
            return self._once(method, path, body, headers)
        except UnreachableError:
            # A connection that was kept may have ended meanwhile.
            if not kept:
                raise
            return self._once(method, path, body, headers)

    def _once(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Any:
        if self._connection is None:
            self._connection = _connection(self.place, self._call_s)
        try:
            named = {**_said(self._token), **headers, "Accept": "application/json"}
            self._connection.request(method, path, body, named)
            answer = self._connection.getresponse()
            text = answer.read(ANSWER_BYTES_MAX + 1)
        except (OSError, HTTPException) as error:
            self.close()
            raise UnreachableError(_why(error)) from error
        if len(text) > ANSWER_BYTES_MAX:
            self.close()
            raise StrangeError(reason("the answer is too large"))
        return read_answer(answer.status, text)


def read_answer(status: int, text: bytes) -> Any:
    """What an answer says, as JSON that was read.

    Raises
    ------
    RefusedError
        It says why not.
    StrangeError
        It says nothing that is understood.
    """
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        told = None
    if status in (200, 201, 202) and told is not None:
        return told
    if isinstance(told, Mapping) and isinstance(told.get("detail"), str):
        if status == 404 and told["detail"].startswith("nothing is at"):
            raise StrangeError(
                reason(
                    "a dtf is there that does not serve this version of the API; the"
                    " monitor and the cluster are of versions that do not go together"
                )
            )
        raise RefusedError(status, told["detail"][:2_000])
    if status in (401, 403):
        why = reason("it asks for a token, and was shown none that it takes")
        raise RefusedError(status, why)
    raise StrangeError(f"{_NO_DTF}: HTTP {status}")


class Following:
    """A stream of events, from where one was last.

    Parameters
    ----------
    last
        The id of the last event that was heard; empty to be told all there is.

    Raises
    ------
    CallError
        It is not to be had.
    """

    def __init__(
        self, place: Place, last: str = "", token: str = "", *, call_s: float = CALL_S
    ) -> None:
        try:
            self._socket = _connected(place, call_s)
        except OSError as error:
            raise UnreachableError(_why(error)) from error
        try:
            headers = {
                "Host": place.netloc,
                "Accept": "text/event-stream",
                **_said(token),
                **({"Last-Event-ID": last} if last else {}),
            }
            lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
            # Of HTTP 1.0, so that no proxy cuts it into chunks.
            first = f"GET {place.path('/events')} HTTP/1.0\r\n{''.join(lines)}\r\n"
            self._socket.sendall(first.encode("latin-1"))
            self.rest = self._head()
            self._socket.settimeout(READ_S)
        except (OSError, ValueError) as error:
            self._socket.close()
            raise UnreachableError(_why(error)) from error
        except BaseException:
            self._socket.close()
            raise

    def read(self) -> bytes | None:
        """The next piece; None if nothing came for `READ_S`, empty at the end.

        Raises
        ------
        UnreachableError
            The connection broke.
        """
        if self.rest:
            piece, self.rest = self.rest, b""
            return piece
        try:
            return self._socket.recv(_PIECE_BYTES)
        except TimeoutError:
            return None
        except OSError as error:
            raise UnreachableError(_why(error)) from error

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()

    def _head(self) -> bytes:
        """What came after the head of the answer."""
        found = bytearray()
        while (end := found.find(b"\r\n\r\n")) < 0:
            if len(found) > HEAD_BYTES_MAX:
                raise StrangeError(_NO_DTF)
            piece = self._socket.recv(_PIECE_BYTES)
            if not piece:
                raise UnreachableError(reason("it hung up"))
            found += piece
        line, _, rest = bytes(found[: end + 4]).partition(b"\r\n")
        words = line.split()
        if (
            len(words) < 2
            or not words[0].startswith(b"HTTP/")
            or not words[1].isdigit()
        ):
            raise StrangeError(
                reason("something answers there, and it does not speak HTTP")
            )
        try:
            headers = parse_headers(io.BytesIO(rest))
        except HTTPException as error:
            raise StrangeError(_why(error)) from error
        body = bytes(found[end + 4 :])
        kind = headers.get_content_type()
        if words[1] == b"200" and kind == "text/event-stream":
            return body
        while len(body) < HEAD_BYTES_MAX and (piece := self._socket.recv(_PIECE_BYTES)):
            body += piece
            if len(body) >= int(headers.get("Content-Length", HEAD_BYTES_MAX)):
                break
        if words[1] != b"200":
            read_answer(int(words[1]), body)
        raise StrangeError(_NO_DTF)


def _said(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def _connection(place: Place, limit_s: float) -> HTTPConnection:
    if place.scheme == "https":
        return HTTPSConnection(
            place.host, place.port, timeout=limit_s, context=_trusting()
        )
    return HTTPConnection(place.host, place.port, timeout=limit_s)


def _connected(place: Place, limit_s: float) -> socket.socket:
    plain = socket.create_connection((place.host, place.port), limit_s)
    if place.scheme != "https":
        return plain
    try:
        return _trusting().wrap_socket(plain, server_hostname=place.host)
    except BaseException:
        plain.close()
        raise


def _trusting() -> ssl.SSLContext:
    """Who the system's authorities vouch for, and SSL_CERT_FILE's."""
    return ssl.create_default_context()


def _why(error: BaseException) -> str:
    """Why nobody could be reached, for people."""
    match error:
        case ConnectionRefusedError():
            return reason("nobody listens there")
        case TimeoutError():
            return reason("no answer in time")
        case ssl.SSLCertVerificationError():
            why = reason("its certificate is not trusted")
            return f"{why}: {error.verify_message}"
        case ssl.SSLError():
            return f"{reason('it does not speak TLS as it should')}: {error.reason}"
        case socket.gaierror():
            return reason("there is no machine of that name")
        case ConnectionError():
            return reason("the connection broke")
        case OSError():
            return error.strerror or str(error) or type(error).__name__
    return str(error) or type(error).__name__
