"""Every order known to this connector, findable by whatever name a message uses."""

from __future__ import annotations

from collections.abc import Iterator

from ibkr_connector.orders.live import LiveOrder


class OrderTable:
    """Indexes: our ref, (client id, order id), perm id."""

    def __init__(self, remember: int = 20_000) -> None:
        self._remember = remember
        self._by_ref: dict[str, LiveOrder] = {}
        self._by_number: dict[tuple[int, int], LiveOrder] = {}
        self._by_perm: dict[int, LiveOrder] = {}

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

    def by_ref(self, ref: str) -> LiveOrder | None:
        """By our name for it."""
        return self._by_ref.get(ref) if ref else None

    def by_number(self, client_id: int, order_id: int) -> LiveOrder | None:
        """By client id and order id."""
        return self._by_number.get((client_id, order_id)) if order_id else None

    def by_perm(self, perm_id: int) -> LiveOrder | None:
        """By IBKR's permanent number."""
        return self._by_perm.get(perm_id) if perm_id else None

    def find(self, *, order_ref: str = "", client_id: int = 0, order_id: int = 0, perm_id: int = 0) -> LiveOrder | None:
        """By the strongest name given: ref, then perm id, then number."""
        return self.by_ref(order_ref) or self.by_perm(perm_id) or self.by_number(client_id, order_id)

    def __iter__(self) -> Iterator[LiveOrder]:
        return iter(tuple(self._by_ref.values()))

    def __len__(self) -> int:
        return len(self._by_ref)

    def open(self) -> list[LiveOrder]:
        """Orders that can still fill."""
        return [live for live in self if live.record.state.is_live]

    def _forget_oldest_done(self) -> None:
        """A program that runs for months must not keep every order it ever had; the journal does."""
        done = [live for live in self if live.record.is_done]
        for live in done[: max(len(done) // 2, 1)]:
            self.forget(live)
            for perm_id in live.record.perm_ids:
                self._by_perm.pop(perm_id, None)

    def forget(self, live: LiveOrder) -> None:
        """Drop an order that never existed at the broker (not sent, so its name may be used again)."""
        if self._by_ref.get(live.ref) is live:
            del self._by_ref[live.ref]
        for number in [key for key, value in self._by_number.items() if value is live]:
            del self._by_number[number]
