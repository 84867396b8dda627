"""A connector's session, put together: which backend, behind which breaker and pacer, mended by which command."""

from __future__ import annotations

from dataclasses import dataclass

from ibkr_connector.backends.factory import make_backend, pace_requests
from ibkr_connector.backends.web.oauth import oauth_source
from ibkr_connector.config import Settings
from ibkr_connector.events import EventBus, Severity
from ibkr_connector.ground import Ground
from ibkr_connector.meters import Meters
from ibkr_connector.secrets import Secrets
from ibkr_connector.session.absence import KnownAbsences
from ibkr_connector.session.guard import Guard
from ibkr_connector.session.operator import OperatorWord
from ibkr_connector.session.restart import GatewayRestart
from ibkr_connector.session.session import Session
from ibkr_connector.session.webwindows import SharedWindows


@dataclass(frozen=True, slots=True)
class Wired:
    """A session, and what others need of what it stands on."""

    session: Session
    guard: Guard
    word: OperatorWord
    """What operators say of the breakers of this endpoint."""


def wire(settings: Settings, *, ground: Ground, bus: EventBus, secrets: Secrets) -> Wired:
    """Put it together; nothing is connected. `settings` name the endpoint in use (`with_endpoint`)."""
    connection, clock, rng = settings.connection, ground.clock, ground.rng
    where = f"{connection.host}:{connection.port}"
    backend = make_backend(settings, clock=clock, rng=rng, oauth=oauth_source(settings, secrets))
    meters = Meters()
    word = OperatorWord(settings.paths.state_dir, where, clock)
    guard = Guard(
        connection=connection,
        pacing=settings.pacing,
        breaker=settings.breaker,
        clock=clock,
        rng=rng,
        meters=meters,
        word=word,
        oauth=settings.oauth.in_use,
    )

    def tell(kind: str, text: str, severity: Severity) -> None:
        session.incident(kind, text, severity, about=where)

    def tell_rest(seconds: float, boxed: bool) -> None:
        what = "IBKR's penalty box" if boxed else "a limit of IBKR"
        text = f"too many requests: {what}; only cancels and orders that reduce are sent for {seconds:.0f} s"
        session.incident("too_many_requests", text, Severity.CRITICAL if boxed else Severity.WARNING)

    session = Session(
        backend=backend,
        settings=connection,
        guard=guard,
        clock=clock,
        bus=bus,
        time_scale=settings.time.time_scale,
        rng=rng,
        meters=meters,
        absences=KnownAbsences(settings.gateway),
        restart=GatewayRestart(
            settings.gateway, where=where, state_dir=settings.paths.state_dir, clock=clock, tell=tell
        ),
    )
    if guard.web is not None:
        pace_requests(backend, guard.web)
        guard.web.on_rest = tell_rest
        guard.web.shared = SharedWindows(settings.paths.state_dir, where, clock)
    return Wired(session, guard, word)
