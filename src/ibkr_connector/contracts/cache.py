"""Contract details that were looked up, kept for a while: rules change overnight, not by the second."""

from __future__ import annotations

from collections import OrderedDict

from ibkr_connector.models.contract import Contract, ContractDetails

_MAX_AGE_S = 6 * 3600.0
"""Trading hours reach five days ahead; a quarter of a day keeps them and the ticks fresh."""
_MAX_ENTRIES = 2_000


class DetailsCache:
    """Details by name and by con_id, newest use last; `now` is monotonic seconds."""

    def __init__(self, max_age_s: float = _MAX_AGE_S, max_entries: int = _MAX_ENTRIES) -> None:
        self._max_age_s = max_age_s
        self._max_entries = max_entries
        self._entries: OrderedDict[str, tuple[float, ContractDetails]] = OrderedDict()

    def get(self, contract: Contract, now: float) -> ContractDetails | None:
        """What is known of `contract`, if it is fresh enough."""
        key = _key(contract)
        entry = self._entries.get(key)
        if entry is None:
            return None
        if now - entry[0] > self._max_age_s:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return entry[1]

    def put(self, asked: Contract, details: ContractDetails, now: float) -> None:
        """Remember `details` under the name it was asked by and under its con_id."""
        for key in {_key(asked), _key(details.contract)}:
            self._entries[key] = (now, details)
            self._entries.move_to_end(key)
        while len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()


def _key(contract: Contract) -> str:
    if contract.con_id:
        return str(contract.con_id)
    fields = (
        contract.symbol,
        contract.sec_type,
        contract.exchange,
        contract.currency,
        contract.primary_exchange,
        contract.expiry,
        f"{contract.strike:g}",
        contract.right,
        contract.multiplier,
        contract.local_symbol,
        contract.trading_class,
    )
    return "|".join(fields)
