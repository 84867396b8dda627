"""Every order known to this connector, findable by whatever name a message uses."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ibkr_connector.backends.facts import Operation, OrderCompleted
from ibkr_connector.orders.live import LiveOrder
from ibkr_connector.orders.whose import Named, is_about


class OrderTable:
    """Indexes: our ref, (client id, order id), perm id, and the refs that strangers' orders carry."""

    def __init__(self, remember: int = 20_000) -> None:
        self._remember = remember
        self._by_ref: dict[str, LiveOrder] = {}
        self._by_number: dict[tuple[int, int], LiveOrder] = {}
        self._by_perm: dict[int, LiveOrder] = {}
        self._strangers: dict[str, LiveOrder] = {}
        self._doubtful: dict[str, LiveOrder] = {}

    def add(self, live: LiveOrder) -> None:
        """Take in an order, or index it again after its numbers changed."""
        record = live.record
        self._by_ref[record.ref] = live
        if len(self._by_ref) > self._remember:
            self._forget_oldest_done()
        if record.order_id:
            self._by_number[record.client_id, record.order_id] = live
        for perm_id in record.perm_ids:
            if perm_id:
                self._by_perm[perm_id] = live
        if not record.ours and record.broker_ref:
            self._strangers[record.broker_ref] = live
        if Operation.NEW in record.doubts:
            self._doubtful[record.ref] = live
        else:
            self._doubtful.pop(record.ref, None)

    def by_ref(self, ref: str) -> LiveOrder | None:
        """By our name for it."""
        return self._by_ref.get(ref) if ref else None

    def stranger(self, ref: str, *, client_id: int, account: str) -> LiveOrder | None:
        """An order that this client id placed under `ref` in that account, and that no journal here knows.

        Or may have placed: a completed order is told without its client.
        """
        found = self._strangers.get(ref)
        if found is None or found.record.account != account:
            return None
        return found if found.record.client_id == client_id or not found.record.order_id else None

    def by_number(self, client_id: int, order_id: int) -> LiveOrder | None:
        """By client id and order id."""
        return self._by_number.get((client_id, order_id)) if order_id else None

    def by_perm(self, perm_id: int) -> LiveOrder | None:
        """By IBKR's permanent number."""
        return self._by_perm.get(perm_id) if perm_id else None

    def meant(self, told: Named) -> LiveOrder | None:
        """The order that a message with a ref is about: by permId, or by ref where the rest fits too (`whose`).

        An order of ours proven by ref, client id and account goes before one that was taken for a stranger's by its
        permId (a fork that was first told as completed, which names no client).
        """
        known = self.by_perm(told.perm_id)
        named = self.by_ref(told.order_ref)
        if named is not None and is_about(named.record, told) and (known is None or not _names_no_client(told)):
            return named
        return known

    def __iter__(self) -> Iterator[LiveOrder]:
        return iter(tuple(self._by_ref.values()))

    def __len__(self) -> int:
        return len(self._by_ref)

    def open(self) -> list[LiveOrder]:
        """Orders that can still fill."""
        return [live for live in self if live.record.state.is_live]

    def unsent(self) -> list[LiveOrder]:
        """Orders on their way that were not committed yet."""
        return [live for live in self if not live.record.committed and not live.record.is_done]

    def doubtful(self, con_ids: Collection[int], account: str, *, without: Collection[str] = ()) -> LiveOrder | None:
        """An order in one of these contracts that may or may not be at the broker; None if there is none."""
        for live in self._doubtful.values():
            record = live.record
            if record.ref not in without and record.account == account and record.terms.contract.con_id in con_ids:
                return live
        return None

    def _forget_oldest_done(self) -> None:
        """A program that runs for months must not keep every order it ever had; the journal does."""
        done = [live for live in self if live.record.is_done]
        for live in done[: max(len(done) // 2, 1)]:
            self.forget(live)
            for perm_id in live.record.perm_ids:
                self._by_perm.pop(perm_id, None)

    def forget(self, live: LiveOrder) -> None:
        """Drop an order that never existed at the broker (not sent, so its name may be used again)."""
        self._doubtful.pop(live.ref, None)
        if self._by_ref.get(live.ref) is live:
            del self._by_ref[live.ref]
        if self._strangers.get(live.record.broker_ref) is live:
            del self._strangers[live.record.broker_ref]
        for number in [key for key, value in self._by_number.items() if value is live]:
            del self._by_number[number]


def _names_no_client(told: Named) -> bool:
    return isinstance(told, OrderCompleted)
