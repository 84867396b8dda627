"""When the broker is known to be away: its nightly reset, and the weekly login of the gateway. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ibkr_connector.config.gateway import GatewaySettings
from ibkr_connector.config.resetwindow import ResetWindow

_LOGIN_PAUSE_S = 300.0
"""Between attempts while a person has to log the gateway in: nobody tells when that will be."""


@dataclass(frozen=True, slots=True)
class Absence:
    """Why attempts are in vain now, and how long to be silent after repeated failures, seconds."""

    why: str
    hint: float


class KnownAbsences:
    """What the settings know of them."""

    def __init__(self, settings: GatewaySettings) -> None:
        nightly, weekly = settings.nightly_reset, settings.weekly_login
        self._nightly = ResetWindow.parse("IBKR's nightly reset", nightly) if nightly else None
        self._weekly = ResetWindow.parse("the gateway's weekly login is due", weekly) if weekly else None

    def at(self, now: datetime) -> Absence | None:
        """What `now` (aware) falls into; the nightly reset first: it is the shorter one."""
        if self._nightly is not None and (end := self._nightly.ends(now)) is not None:
            return Absence(f"{self._nightly.name} until {end:%H:%M} New York", end.timestamp() - now.timestamp())
        if self._weekly is not None and (end := self._weekly.ends(now)) is not None:
            left = end.timestamp() - now.timestamp()
            return Absence(f"{self._weekly.name}: log it in", min(left, _LOGIN_PAUSE_S))
        return None
