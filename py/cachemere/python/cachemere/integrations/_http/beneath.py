"""The transport beneath, where the program gives none: as the clients of models would have made theirs.

A client that is given a transport makes none of its own, and with it go the proxies of the environment, which it would
have looked for, and what clients of models want of connections: many at once, and packets on those that wait for
minutes. So this one has them.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any
from urllib.request import getproxies, proxy_bypass

#: Connections at once, and of those how many are kept for later. As of OpenAI's and Anthropic's clients.
CONNECTIONS = 1000
KEPT_CONNECTIONS = 100

#: Seconds without traffic after which a packet shows that a connection is alive.
IDLE = 60

Options = list[tuple[int, int, int]]


def socket_options() -> Options:
    """So that an answer that takes minutes finds its connection still there."""
    options: Options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    # Not every platform has them.
    for name, value in (("TCP_KEEPIDLE", IDLE), ("TCP_KEEPINTVL", IDLE), ("TCP_KEEPCNT", 5)):
        if hasattr(socket, name):
            options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    return options


class Routes:
    """Transports by the proxies of the environment, as `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` say.

    Args:
        make: Makes a transport that goes by a proxy, or by `None`.
    """

    def __init__(self, make: Callable[[str | None], Any]) -> None:
        self._direct = make(None)
        found = {scheme: url for scheme, url in getproxies().items() if scheme in ("http", "https", "all")}
        self._by_scheme = {scheme: make(url if "://" in url else f"http://{url}") for scheme, url in found.items()}

    def to(self, url: Any) -> Any:
        """The transport to a URL."""
        routed = self._by_scheme.get(url.scheme) or self._by_scheme.get("all")
        return self._direct if routed is None or proxy_bypass(url.host) else routed

    def all(self) -> list[Any]:
        """All transports."""
        return [self._direct, *self._by_scheme.values()]


class RoutedTransport:
    """Goes the route of each request. For threads."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes

    def handle_request(self, request: Any) -> Any:
        return self._routes.to(request.url).handle_request(request)

    def close(self) -> None:
        for transport in self._routes.all():
            transport.close()


class AsyncRoutedTransport:
    """As :class:`RoutedTransport`, for tasks."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes

    async def handle_async_request(self, request: Any) -> Any:
        return await self._routes.to(request.url).handle_async_request(request)

    async def aclose(self) -> None:
        for transport in self._routes.all():
            await transport.aclose()
