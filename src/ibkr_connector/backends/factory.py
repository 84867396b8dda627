"""Which backend the settings name, and where it stands."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from ibkr_connector.backends.base import Backend
from ibkr_connector.backends.tws import TwsBackend
from ibkr_connector.backends.web.options import OAuthSource, WebEndpoint
from ibkr_connector.clock import Clock
from ibkr_connector.config.settings import Settings

if TYPE_CHECKING:
    from ibkr_connector.backends.web.pace import Pace


def web_endpoint(settings: Settings) -> WebEndpoint:
    """The Web API that the settings name."""
    web, connection = settings.web, settings.connection
    return WebEndpoint(
        url=settings.oauth.rest_url if settings.oauth.in_use else web.url,
        ws_url=settings.oauth.socket_url if settings.oauth.in_use else "",
        verify_tls=web.verify_tls,
        ca_file="" if web.ca_file is None else str(web.ca_file),
        mode=connection.mode,
        account=connection.account_id,
        compete=web.compete,
        confirm=web.confirm,
        suppress=web.suppress,
        questions=web.questions,
        order_timeout=web.order_timeout,
        watch_every=web.watch_every,
        tickle_every=web.tickle_every,
        renew_before=web.renew_before,
    )


def make_backend(settings: Settings, *, clock: Clock, rng: random.Random, oauth: OAuthSource | None = None) -> Backend:
    """The backend of `[connection] backend`. Nothing is connected, and no library imported, before `connect`."""
    if settings.connection.backend == "web":
        from ibkr_connector.backends.web.client import WebBackend

        return WebBackend(web_endpoint(settings), clock=clock, oauth=oauth, rng=random.Random(rng.random()))  # noqa: S311
    return TwsBackend(tws_library=settings.connection.tws_library, clock=clock)


def pace_requests(backend: Backend, pace: Pace) -> None:
    """Have a backend that makes requests of its own number ask `pace` for each of them."""
    from ibkr_connector.backends.web.client import WebBackend

    if isinstance(backend, WebBackend):
        backend.pace_requests(pace)


def with_endpoint(settings: Settings) -> Settings:
    """The settings with the endpoint in use as `connection.host` and `port`: for the Web API those of its address.

    Everything that is kept per endpoint (id marks, what operators say of breakers) is kept per this one.
    """
    if settings.connection.backend != "web":
        return settings
    where = web_endpoint(settings)
    connection = settings.connection.model_copy(update={"host": where.host, "port": where.port})
    return replace(settings, connection=connection)
