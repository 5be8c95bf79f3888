"""Vonage's HTTP client, made to send once and in bounded time, and to another host if the installation says so."""

from __future__ import annotations

from typing import Any

from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from vonage_http_client import Auth, HttpClient, HttpClientOptions  # type: ignore[import-untyped]

from providers.http import CONNECT_TIMEOUT_S


class _Once(HTTPAdapter):
    """Sends a request once. The client itself takes whole seconds only and knows no http://."""

    def __init__(self, timeout_s: float, api_url: str) -> None:
        super().__init__(max_retries=0)
        self._timeout = (min(CONNECT_TIMEOUT_S, timeout_s), timeout_s)
        self._api_url = api_url.rstrip("/")

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        if self._api_url:
            request.url = self._api_url + request.path_url
        return super().send(request, *args, **{**kwargs, "timeout": self._timeout})


def client(api_key: str, api_secret: str, *, timeout_s: float, api_url: str = "") -> Any:
    """Return an ``HttpClient`` for one call.

    Besides ``max_retries`` the client repeats a request that got no answer once for each connection of its pool, so
    that has to be one: the SMS API takes no idempotency key, and each repetition would be another message.
    """
    options = HttpClientOptions(max_retries=0, pool_connections=1, pool_maxsize=1)
    made = HttpClient(Auth(api_key=api_key, api_secret=api_secret), options)
    session = made._session  # noqa: SLF001 -- the client has no settings for what follows
    session.max_redirects = 0
    session.mount("https://", _Once(timeout_s, api_url))
    return made
