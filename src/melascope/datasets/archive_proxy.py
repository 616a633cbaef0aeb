"""Proxies, as the environment or the system names them."""

from __future__ import annotations

import urllib.request
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from melascope.errors import DataError

if TYPE_CHECKING:
    import urllib3


def proxy_for(url: str) -> str:
    """Return the proxy for an address (`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`), empty for none."""
    parts = urlsplit(url)
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all") or ""
    return "" if proxy and urllib.request.proxy_bypass(parts.netloc) else proxy


def open_manager(proxy: str, connections: int) -> urllib3.PoolManager:
    """Return the keeper of connections through a proxy, or straight where `proxy` is empty.

    Raises:
        DataError: When the proxy is not one for http.
    """
    import urllib3

    if not proxy:
        return urllib3.PoolManager(maxsize=connections)
    address = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if address.scheme not in ("http", "https"):
        raise DataError(f"The proxy {address.scheme}://{address.hostname} is not one for http; set HTTPS_PROXY to one.")
    headers = None
    if address.username is not None:
        login = f"{unquote(address.username)}:{unquote(address.password or '')}"
        headers = urllib3.make_headers(proxy_basic_auth=login)
    plain = address._replace(netloc=address.netloc.rpartition("@")[2]).geturl()
    return urllib3.ProxyManager(plain, maxsize=connections, proxy_headers=headers)
