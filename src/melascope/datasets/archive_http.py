"""Asking a server politely: few connections, retries with back-off, `Retry-After`, limits on what is believed.

Connections are kept open, because a set of 25,000 photographs would
otherwise cost 25,000 TLS handshakes. Proxies come from the environment
(`HTTPS_PROXY`, `NO_PROXY`), certificates from the system or `SSL_CERT_FILE`.
"""

from __future__ import annotations

import email.utils
import importlib.metadata
import json
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin, urlsplit

from melascope.datasets.archive_proxy import open_manager, proxy_for
from melascope.errors import DataError, ImageError

if TYPE_CHECKING:
    import urllib3

Checked = TypeVar("Checked")

_AGAIN = frozenset((408, 425, 429, 500, 502, 503, 504))
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_MOST_REDIRECTS = 5
_LONGEST_PAUSE = 60.0
_PIECE = 1 << 16
_JSON_LIMIT = 50_000_000


class ArchiveError(DataError):
    """The archive did not give what was asked of it.

    Args:
        message: The sentence for the user.
        status: The HTTP status of the last answer; None where there was none.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class StoppedError(Exception):
    """The work was called off while this request waited."""


class _AgainError(Exception):
    """An answer that another try may mend; `wait` is what the server asked for, in seconds."""

    def __init__(self, reason: str, status: int | None = None, wait: float | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.wait = wait


@dataclass(frozen=True)
class Patience:
    """How long to go on with a server that fails or is slow.

    Attributes:
        attempts: Tries of one request, the first included.
        pause: Seconds before the second try; doubled for each further one, with jitter, up to a minute.
        longest_wait: The longest `Retry-After` that is waited for, in seconds.
        connect: Seconds until a connection must stand.
        silence: Seconds without a byte after which a connection is given up.
        grace: Seconds after which an answer must have come at `slowest` or faster.
        slowest: Bytes a second.
    """

    attempts: int = 6
    pause: float = 0.5
    longest_wait: float = 300.0
    connect: float = 15.0
    silence: float = 30.0
    grace: float = 30.0
    slowest: float = 2_000.0


def user_agent() -> str:
    """Return how Melascope names itself to servers."""
    return f"melascope/{importlib.metadata.version('melascope')} (open-source melanoma research; one polite client)"


class Client:
    """Asks one server, from several threads at a time.

    Args:
        server: The address of the API, `https://.../api/v2/`.
        connections: How many connections are kept open.
        patience: How long to go on where it fails.
        stop: Calls waiting requests off when set.

    Raises:
        ArchiveError: When the address is not http or https.
    """

    def __init__(
        self,
        server: str,
        connections: int = 8,
        patience: Patience | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self.server = server.rstrip("/") + "/"
        self.stop = stop or threading.Event()
        self._patience = patience or Patience()
        self._connections = connections
        self._secure = False
        self._lock = threading.Lock()
        self._managers: dict[str, urllib3.PoolManager] = {}
        self._not_before = 0.0
        self._turned_away = ""
        try:
            self._check(self.server)
        except ArchiveError:
            raise ArchiveError(f'The server "{server}" is not an http or https address.') from None
        # A server that is asked in secret is not allowed to send us elsewhere in the open.
        self._secure = urlsplit(self.server).scheme == "https"

    def json(self, path: str) -> Any:
        """Return what the server says in JSON at an address, or at a path below its own.

        Raises:
            ArchiveError: When it fails after all tries, or what it says is no JSON.
        """
        return self.get(urljoin(self.server, path), _JSON_LIMIT, _parsed)

    def get(self, url: str, limit: int, check: Callable[[bytes], Checked]) -> Checked:
        """Return what `check` makes of an answer's body.

        Args:
            url: Where to ask.
            limit: The most bytes that are taken.
            check: Raises ImageError or ValueError where the body is not what was wanted; then it is asked for again.

        Raises:
            ArchiveError: When it fails after all tries; `status` is the last answer's.
            StoppedError: When `stop` was set meanwhile.
        """
        last = _AgainError("there was no answer")
        for attempt in range(self._patience.attempts):
            self._wait(attempt, last.wait)
            try:
                body = self._once(url, limit)
                return check(body)
            except _AgainError as error:
                last = error
            except (ImageError, ValueError) as error:
                last = _AgainError(str(error))
        host = urlsplit(url).netloc
        times = f"{self._patience.attempts} times" if self._patience.attempts > 1 else "once"
        raise ArchiveError(f"{host} failed {times}: {last}", last.status)

    def _wait(self, attempt: int, asked: float | None) -> None:
        if asked is not None:
            # What one request is told holds for all of them.
            self._not_before = max(self._not_before, time.monotonic() + asked)
        pause = 0.0
        if attempt and asked is None:
            pause = min(_LONGEST_PAUSE, self._patience.pause * 2 ** (attempt - 1)) * random.uniform(0.5, 1.0)
        while (left := max(pause, self._not_before - time.monotonic())) > 0:
            if self.stop.wait(left):
                break
            pause = 0.0
        if self.stop.is_set():
            raise StoppedError
        if self._turned_away:
            raise ArchiveError(self._turned_away)

    def _once(self, url: str, limit: int) -> bytes:
        import urllib3

        try:
            for _ in range(_MOST_REDIRECTS + 1):
                self._check(url)
                response = self._manager(url).request(
                    "GET",
                    url,
                    headers={"User-Agent": user_agent(), "Accept-Encoding": "identity"},
                    redirect=False,
                    retries=False,
                    preload_content=False,
                    timeout=urllib3.Timeout(connect=self._patience.connect, read=self._patience.silence),
                )
                try:
                    if response.status not in _REDIRECTS:
                        return self._body(response, limit)
                    url = urljoin(url, response.headers.get("Location", ""))
                finally:
                    # Only a connection whose answer was read to its end can serve again.
                    if response.length_remaining == 0:
                        response.release_conn()
                    else:
                        response.close()
        except urllib3.exceptions.HTTPError as error:
            raise _AgainError(_reason(error)) from None
        raise ArchiveError(f"{urlsplit(url).netloc} redirects in a circle.")

    def _body(self, response: urllib3.BaseHTTPResponse, limit: int) -> bytes:
        status = response.status
        if status in _AGAIN:
            wait = _retry_after(response.headers)
            if wait is not None and wait > self._patience.longest_wait:
                self._turned_away = f"The server asks to come back in {wait / 60:.0f} minutes; repeat the command then."
                raise ArchiveError(self._turned_away, status)
            raise _AgainError(f"status {status}", status, wait)
        if status != 200:
            raise ArchiveError(f"The server answered with status {status}.", status)
        stated = response.headers.get("Content-Length", "")
        if stated.isdigit() and int(stated) > limit:
            raise ArchiveError(f"The answer has {int(stated) / 1e6:,.0f} MB; at most {limit / 1e6:,.0f} MB are taken.")
        began = time.monotonic()
        body = bytearray()
        while piece := response.read1(_PIECE):
            body += piece
            if len(body) > limit:
                raise ArchiveError(f"The answer has more than {limit / 1e6:,.0f} MB, the most that is taken.")
            if self.stop.is_set():
                raise StoppedError
            seconds = time.monotonic() - began
            if seconds > self._patience.grace and len(body) < self._patience.slowest * seconds:
                raise _AgainError(f"it came at {len(body) / seconds:,.0f} bytes a second")
        return bytes(body)

    def _check(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable or parts.username is not None:
            raise ArchiveError(f"The server names an address that is not followed: {url[:200]!r}.")
        if self._secure and parts.scheme != "https":
            raise ArchiveError(f"The server names an address without encryption: {url[:200]!r}.")

    def _manager(self, url: str) -> urllib3.PoolManager:
        proxy = proxy_for(url)
        with self._lock:
            if proxy not in self._managers:
                self._managers[proxy] = open_manager(proxy, self._connections)
            return self._managers[proxy]


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        begins = body[:40].decode("utf-8", "replace").strip()
        raise ValueError(
            f"it is not JSON but begins with {begins!r}; is the server's address right, or does a proxy want a login?"
        ) from None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds a server asks to wait (RFC 9110, 10.2.3), None where it does not say."""
    said = headers.get("Retry-After", "").strip()
    if said.isdigit():
        return float(said)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(said).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def _reason(error: Exception) -> str:
    """Say in a few words what went wrong on the way."""
    import urllib3.exceptions as failed

    if isinstance(error, failed.ProxyError):
        return f"the proxy failed ({error})"
    if isinstance(error, failed.SSLError):
        return f"its certificate was not accepted ({error}); set SSL_CERT_FILE where a proxy has its own"
    if isinstance(error, failed.NameResolutionError):
        return "its name was not found; is there a connection?"
    if isinstance(error, failed.NewConnectionError):
        return "no connection could be made"
    if isinstance(error, failed.ConnectTimeoutError | failed.ReadTimeoutError):
        return "it kept silent"
    if isinstance(error, failed.ProtocolError):
        return "the connection broke before the answer was whole"
    return f"{type(error).__name__}: {error}"
