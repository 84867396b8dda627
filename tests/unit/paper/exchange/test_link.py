"""The link to the broker: requests wait in their order, and none is lost or doubled."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ibkr_connector.paper.exchange.link import BrokerLink, Known

KNOWN = Known([], [], [], [])
KEYS = st.sampled_from([(1, 1), (1, 2), (2, 1)])


class LinkMachine(RuleBasedStateMachine):
    """Against a model: every request is done once, or lost by `forget`; per order in the order it came."""

    def __init__(self) -> None:
        super().__init__()
        self.link = BrokerLink()
        self.cut = False
        self.sent: list[tuple[tuple[int, int], int]] = []
        self.done: list[tuple[tuple[int, int], int]] = []
        self.lost: set[int] = set()

    @rule(key=KEYS)
    def ask(self, key: tuple[int, int]) -> None:
        number = len(self.sent)
        waits = self.cut or self.link.holds(key)
        self.sent.append((key, number))
        now = self.link.pass_on(key, lambda: self.done.append((key, number)))
        assert now is not waits
        assert ((key, number) in self.done) is now

    @rule()
    def break_(self) -> None:
        self.link.cut(KNOWN)
        self.cut = True

    @rule()
    def mend(self) -> None:
        self.link.mend()
        self.cut = False

    @rule()
    def release(self) -> None:
        waiting = self.link.waiting
        assert self.link.release() == ([] if self.cut else waiting)
        if not self.cut:
            assert self.link.waiting == []

    @precondition(lambda self: len(self.lost) < 5)
    @rule()
    def forget(self) -> None:
        self.lost |= {number for _, number in self.sent} - {number for _, number in self.done}
        self.link.forget()
        assert self.link.waiting == []

    @invariant()
    def nothing_is_doubled_and_orders_keep_their_order(self) -> None:
        assert len(set(self.done)) == len(self.done)
        for key in {key for key, _ in self.done}:
            numbers = [number for other, number in self.done if other == key]
            assert numbers == sorted(numbers)
        open_keys = {key for key, number in set(self.sent) - set(self.done) if number not in self.lost}
        assert set(self.link.waiting) == open_keys


TestLink = LinkMachine.TestCase


def test_a_request_about_no_order_waits_for_the_link_alone() -> None:
    link, done = BrokerLink(), list[str]()
    link.cut(KNOWN)
    link.pass_on((1, 1), lambda: done.append("order"))
    link.mend()
    link.pass_on(None, lambda: done.append("all"))
    assert done == ["all"]
    link.cut(KNOWN)
    link.pass_on(None, lambda: done.append("later"))
    assert link.release() == []
    link.mend()
    assert link.release() == [(1, 1)]
    assert done == ["all", "order", "later"]
