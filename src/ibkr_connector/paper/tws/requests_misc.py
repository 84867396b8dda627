"""Everything else: time, log level, bulletins, groups; and the services this gateway does not offer, each refused with
IBKR's own code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from . import layouts_system, texts
from .fields import Cursor
from .routes import Refusal, Route, Routes
from .texts import Error

if TYPE_CHECKING:
    from .session import Session

NO_REQUEST_ID: Final = 2147483647
"""What a real gateway puts into the id field of the refusal of requestFA."""


class MiscDesk:
    """Small requests of one client."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._groups: dict[int, str] = {}

    def routes(self) -> Routes:
        """The requests answered here."""
        refuse = self._refuse
        unsupported = texts.invalid("This request is not served by this gateway", "b1")
        return {
            10: Route(refuse(2, texts.NO_DEPTH), 2),
            11: Route(self._cancel_depth, 2),
            12: Route(self._quiet),
            13: Route(self._quiet),
            14: Route(self._quiet),
            18: Route(self._request_fa),
            19: Route(self._replace_fa),
            21: Route(refuse(2, texts.invalid("There is no option to exercise", "b1")), 2),
            22: Route(refuse(1, texts.history_service("Scanner subscriptions are not available.")), 1),
            23: Route(refuse(2, texts.history_service("No scanner subscription found")), 2),
            24: Route(self._scanner_parameters),
            49: Route(self._current_time),
            52: Route(refuse(2, texts.NO_FUNDAMENTALS), 2),
            53: Route(self._quiet),
            54: Route(refuse(2, texts.NO_DEFINITION), 2),
            55: Route(refuse(2, texts.NO_DEFINITION), 2),
            56: Route(self._quiet),
            57: Route(self._quiet),
            65: Route(refuse(None, unsupported)),
            66: Route(refuse(None, unsupported)),
            67: Route(self._query_groups, 2),
            68: Route(self._subscribe_group, 2),
            69: Route(self._update_group, 2),
            70: Route(self._unsubscribe_group, 2),
            71: Route(refuse(None, texts.ALREADY_CONNECTED)),
            72: Route(refuse(None, unsupported)),
            73: Route(refuse(None, unsupported)),
            79: Route(self._soft_dollar_tiers, 1),
            80: Route(self._family_codes),
            82: Route(self._depth_exchanges),
            84: Route(refuse(1, texts.NEWS_NOT_ALLOWED), 1),
            85: Route(self._news_providers),
            86: Route(refuse(1, texts.NEWS_NOT_ALLOWED), 1),
            88: Route(refuse(1, texts.history_service("Histogram data is not available.")), 1),
            89: Route(self._quiet),
            96: Route(refuse(1, texts.NO_HISTORICAL_TICKS), 1),
            97: Route(refuse(1, texts.NO_TICK_BY_TICK), 1),
            98: Route(self._cancel_tick_by_tick, 1),
            100: Route(refuse(1, texts.NEWS_NOT_ALLOWED), 1),
            101: Route(self._quiet),
            102: Route(refuse(1, texts.NEWS_NOT_ALLOWED), 1),
            103: Route(self._quiet),
            104: Route(self._user_info, 1),
        }

    def close(self) -> None:
        """Forget the groups."""
        self._groups.clear()

    def _refuse(self, id_at: int | None, error: Error) -> Callable[[Cursor], None]:
        """A handler that answers with this error, whatever else the request says."""

        def handle(cursor: Cursor) -> None:
            for _ in range(0 if id_at is None else id_at - 1):
                cursor.skip("version")
            request_id = layouts_system.SYSTEM if id_at is None else cursor.request_id()
            raise Refusal(request_id, error)

        return handle

    def _quiet(self, cursor: Cursor) -> None:
        """Requests that have no answer in IBKR's protocol: switches, and cancels of what never began."""

    def _current_time(self, cursor: Cursor) -> None:
        cursor.skip("version")
        cursor.end()
        self._session.send(layouts_system.current_time(self._session.hub.clock.now()))

    def _request_fa(self, cursor: Cursor) -> None:
        raise Refusal(NO_REQUEST_ID, texts.NOT_AN_ADVISOR)

    def _replace_fa(self, cursor: Cursor) -> None:
        cursor.skip("version")
        cursor.skip("faDataType")
        cursor.skip("xml")
        raise Refusal(cursor.request_id(), texts.NOT_AN_ADVISOR)

    def _scanner_parameters(self, cursor: Cursor) -> None:
        cursor.skip("version")
        cursor.end()
        self._session.send(layouts_system.scanner_parameters())

    def _cancel_depth(self, cursor: Cursor) -> None:
        cursor.skip("version")
        request_id = cursor.request_id()
        raise Refusal(request_id, texts.unknown_depth(request_id))

    def _cancel_tick_by_tick(self, cursor: Cursor) -> None:
        request_id = cursor.request_id()
        cursor.end()
        raise Refusal(request_id, texts.unknown_ticker(request_id))

    def _query_groups(self, cursor: Cursor) -> None:
        cursor.skip("version")
        request_id = cursor.request_id()
        cursor.end()
        self._session.send(layouts_system.display_group_list(request_id))

    def _subscribe_group(self, cursor: Cursor) -> None:
        cursor.skip("version")
        request_id = cursor.request_id()
        cursor.integer("groupId")
        cursor.end()
        self._groups[request_id] = "none"
        self._session.send(layouts_system.display_group_updated(request_id, "none"))

    def _update_group(self, cursor: Cursor) -> None:
        cursor.skip("version")
        request_id = cursor.request_id()
        contract_info = cursor.text("contractInfo")
        cursor.end()
        if request_id not in self._groups:
            raise Refusal(request_id, texts.unprocessable("No group subscription for this request id", "b1"))
        self._groups[request_id] = contract_info
        self._session.send(layouts_system.display_group_updated(request_id, contract_info))

    def _unsubscribe_group(self, cursor: Cursor) -> None:
        cursor.skip("version")
        self._groups.pop(cursor.request_id(), None)
        cursor.end()

    def _soft_dollar_tiers(self, cursor: Cursor) -> None:
        request_id = cursor.request_id()
        cursor.end()
        self._session.send(layouts_system.soft_dollar_tiers(request_id))

    def _family_codes(self, cursor: Cursor) -> None:
        cursor.end()
        self._session.send(layouts_system.family_codes(self._session.hub.exchange.accounts))

    def _depth_exchanges(self, cursor: Cursor) -> None:
        cursor.end()
        self._session.send(layouts_system.depth_exchanges())

    def _news_providers(self, cursor: Cursor) -> None:
        cursor.end()
        self._session.send(layouts_system.news_providers(()))

    def _user_info(self, cursor: Cursor) -> None:
        request_id = cursor.request_id()
        cursor.end()
        self._session.send(layouts_system.user_info(request_id))
