"""Orders over the Web API: submitting, the questions in between, changing, cancelling, asking."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from ..exchange.reports import request
from ..exchange.types import WEB_CLIENT_ID, OrderTicket, OrderView
from . import order_rows as rows
from .calls import Call, Endpoint, Fields, Json, WebError, bad_request
from .hub import WebHub
from .order_forms import MAX_ORDERS, Form, read_change, read_form
from .order_preview import preview_of
from .order_watch import OrderWatch
from .questions import Pending, QuestionBook, questions_about

REF_LIFE: Final = 86_400.0
"""Wire seconds a cOID stays taken."""
MAX_LIVE: Final = 1000
MAX_DAYS: Final = 7
SERVICE_UNAVAILABLE: Final = "Service Unavailable"
_SNAKE: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


class OrdersDesk:
    """Takes orders to the exchange and tells what became of them."""

    def __init__(self, hub: WebHub, questions: QuestionBook, watch: OrderWatch) -> None:
        self._hub = hub
        self._questions = questions
        self._watch = watch
        self._refs: dict[str, tuple[float, int]] = {}
        """cOID -> when it was taken, and the exchange's id of its order."""
        self._listed = False
        """Whether live orders have been asked for: the first time brings none."""
        self._next_id = 0
        self._requests = 0
        self.filter: frozenset[str] = frozenset()
        """Statuses the last filtered request asked for: they hold for `sor` frames as well, until force."""

    def endpoints(self) -> list[Endpoint]:
        """What is answered here."""
        account = "iserver/account"
        return [
            Endpoint("POST", f"{account}/{{account}}/orders", "place_order", self._place),
            Endpoint("POST", f"{account}/{{account}}/orders/whatif", "what_if", self._what_if),
            Endpoint("POST", f"{account}/{{account}}/order/{{order}}", "modify_order", self._modify),
            Endpoint("DELETE", f"{account}/{{account}}/order/{{order}}", "cancel_order", self._cancel),
            Endpoint("POST", "iserver/reply/{reply}", "reply", self._reply),
            Endpoint("POST", "iserver/notification", "notification", self._notification),
            Endpoint("GET", f"{account}/orders", "open_orders", self._orders),
            Endpoint("GET", f"{account}/order/status/{{order}}", "order_state", self._status),
            Endpoint("GET", f"{account}/trades", "executions", self._trades),
        ]

    def new_session(self) -> None:
        """A new brokerage session: its caches are empty."""
        self._listed = False
        self.filter = frozenset()

    # --- new orders --------------------------------------------------------------------------------------------------

    async def _place(self, call: Call) -> Json:
        account = self._hub.account(call.text("account"))
        self._need_accounts()
        bodies = Fields(call.object()).objects("orders", MAX_ORDERS)
        # Whatever becomes of this one, a question that is open cannot be answered any more.
        self._questions.forget()
        read = [read_form(self._hub, account, body, 0) for body in bodies]
        forms = sorted(read, key=lambda form: bool(form.parent_ref))
        for form in forms:
            form.ticket.order_id = self._take_id()  # the exchange wants rising ids, the parent's first
        for form in forms:
            self._hub.truth.record("recv_place", at=self._hub.exchange.now, **request(form.ticket))
        self._check_together(forms)
        self._hub.exchange.advance()
        asked = [q for form in forms for q in questions_about(self._hub, form.ticket, cash=form.cash)]
        refs = [form.ref for form in forms]
        return await self._questions.go_on(Pending(asked, partial(self._submit, forms), refs))

    def _take_id(self) -> int:
        self._next_id = max(self._next_id, self._hub.exchange.next_order_id(WEB_CLIENT_ID) - 1) + 1
        return self._next_id

    def _need_accounts(self) -> None:
        if not self._hub.accounts_asked:
            raise bad_request("Please query /accounts first")

    def _check_together(self, forms: Sequence[Form]) -> None:
        """Several orders in one request are a bracket or a group; anything else is one order per request."""
        refs = [form.ref for form in forms if form.ref]
        if len(set(refs)) != len(refs):
            raise bad_request("cOID must be unique")
        for form in forms:
            self._check_ref(form.ref)
        if len(forms) == 1 or all(form.grouped for form in forms):
            return
        children = [form for form in forms if form.parent_ref]
        parents = [form for form in forms if not form.parent_ref]
        if len(parents) != 1 or any(form.parent_ref != parents[0].ref for form in children):
            raise bad_request("orders of one request must be a bracket or a group (isSingleGroup)")

    def _check_ref(self, ref: str) -> None:
        taken = self._refs.get(ref) if ref else None
        if taken is not None and self._hub.clock.wire() - taken[0] < REF_LIFE:
            text = f"Order couldn't be submitted: Local order ID={ref} is already registered."
            self._hub.truth.record("rejected", source="web", order_ref=ref, code=0, text=text)
            raise WebError(200, text, {"error": text})

    def _keep_ref(self, ticket: OrderTicket) -> None:
        now = self._hub.clock.wire()
        # The oldest come first: those that are free again need not be kept.
        while self._refs and now - next(iter(self._refs.values()))[0] >= REF_LIFE:
            del self._refs[next(iter(self._refs))]
        self._refs.pop(ticket.order_ref, None)
        self._refs[ticket.order_ref] = (now, ticket.order_id)

    async def _submit(self, forms: Sequence[Form]) -> Json:
        for form in forms:
            self._check_ref(form.ref)  # taken while its questions were open
        tickets = self._linked(forms)
        for ticket in tickets:
            if ticket.order_ref:
                self._keep_ref(ticket)
        return await self._send(tickets)

    def _linked(self, forms: Sequence[Form]) -> list[OrderTicket]:
        """The tickets with their parents, groups and the flag that lets go of them together."""
        group = f"web-{self._hub.new_id()[:8]}" if len(forms) > 1 and all(form.grouped for form in forms) else ""
        own = {form.ref: form.ticket.order_id for form in forms if form.ref}
        together = len(forms) > 1 and not group
        tickets = []
        for form in forms:
            ticket = form.ticket
            if form.parent_ref:
                ticket = replace(ticket, parent_id=own.get(form.parent_ref) or self._known_parent(form.parent_ref))
            if group:
                ticket = replace(ticket, oca_group=group, oca_type=1)
            if together and form is not forms[-1]:
                ticket = replace(ticket, transmit=False)
            tickets.append(ticket)
        return tickets

    def _known_parent(self, ref: str) -> int:
        taken = self._refs.get(ref)
        if taken is None:
            raise WebError(200, "", {"error": f"Parent order {ref} was not found."})
        return taken[1]

    async def _send(self, tickets: list[OrderTicket]) -> Json:
        """Put orders on their way, all of them before anything else happens, and wait for the first word of each."""
        exchange = self._hub.exchange
        keys = [(ticket.client_id, ticket.order_id) for ticket in tickets]
        futures = [self._watch.expect(*key) for key in keys]
        try:
            for ticket in tickets:
                exchange.place(ticket, recorded=True)
            self._hub.wake()
            if exchange.mishaps.is_cut:
                raise WebError(503, SERVICE_UNAVAILABLE)
            outcomes = [await self._watch.result(future) for future in futures]
        finally:
            for key in keys:
                self._watch.forget(*key)
        answers: list[Json] = []
        parent: int | None = None
        for key, outcome in zip(keys, outcomes, strict=True):
            view = outcome.view if outcome is not None else exchange.order(*key)
            if outcome is not None and outcome.refusal:
                if not answers:
                    return {"error": outcome.refusal}
                answers.append({"error": outcome.refusal})
            elif view is None:
                raise WebError(503, SERVICE_UNAVAILABLE)
            else:
                answers.append(rows.submitted(view, parent if view.ticket.parent_id else None))
                parent = view.perm_id if parent is None else parent
        return answers

    # --- questions ---------------------------------------------------------------------------------------------------

    async def _reply(self, call: Call) -> Json:
        reply_id = call.text("reply")
        confirmed = Fields(call.object()).flag("confirmed")
        pending = self._questions.take(reply_id)
        refs = [] if pending is None else list(pending.refs)
        self._hub.truth.record("recv_reply", reply_id=reply_id, confirmed=confirmed, order_refs=refs)
        if pending is None:
            text = f"reply id not found: '{reply_id}'"
            raise WebError(400, text, {"error": text})
        if not confirmed:
            self._hub.truth.record("declined", reply_id=reply_id, order_refs=refs)
            return {"error": "Order not confirmed "}
        return await self._questions.go_on(pending)

    def _notification(self, call: Call) -> Json:
        call.object()
        return "Request was submitted"

    # --- changes -----------------------------------------------------------------------------------------------------

    def _find(self, call: Call) -> OrderView | None:
        """The live order a path names, of the account it names."""
        account = self._hub.account(call.text("account"))
        view = self._hub.exchange.order_by_perm_id(call.integer("order"))
        if view is None or view.ticket.account != account or view.status.is_done:
            return None
        return view

    def _gone(self, call: Call) -> Json:
        return {"error": f"OrderID {call.integer('order')} doesn't exist"}

    async def _modify(self, call: Call) -> Json:
        self._need_accounts()
        self._questions.forget()
        view = self._find(call)
        values = call.object()
        if view is None:
            self._hub.truth.record("recv_modify", source="web", order_ref="", perm_id=call.integer("order"))
            return self._gone(call)
        ticket = read_change(self._hub, view, values)
        self._hub.truth.record("recv_modify", at=self._hub.exchange.now, **request(ticket), perm_id=view.perm_id)
        asked = questions_about(self._hub, ticket, cash=False)
        return await self._questions.go_on(Pending(asked, partial(self._send, [ticket]), [ticket.order_ref]))

    async def _cancel(self, call: Call) -> Json:
        self._need_accounts()
        if call.integer("order") == -1:
            return self._cancel_all(self._hub.account(call.text("account")))
        view = self._find(call)
        exchange = self._hub.exchange
        if view is None:
            self._hub.truth.record("recv_cancel", source="web", perm_id=call.integer("order"))
            return self._gone(call)
        exchange.cancel(view.ticket.client_id, view.ticket.order_id, source="web")
        self._hub.wake()
        if exchange.mishaps.is_cut:
            raise WebError(503, SERVICE_UNAVAILABLE)
        return {"msg": "Request was submitted", "order_id": view.perm_id, "conid": -1, "account": None}

    def _cancel_all(self, account: str) -> Json:
        exchange = self._hub.exchange
        if len(exchange.accounts) == 1:
            exchange.global_cancel(WEB_CLIENT_ID, source="web")
        else:
            for view in exchange.open_orders(None):
                if view.ticket.account == account:
                    exchange.cancel(view.ticket.client_id, view.ticket.order_id, source="web")
        self._hub.wake()
        return {"msg": "Request was submitted", "order_id": -1, "conid": -1, "account": None}

    # --- what-if -----------------------------------------------------------------------------------------------------

    def _what_if(self, call: Call) -> Json:
        account = self._hub.account(call.text("account"))
        self._need_accounts()
        body = Fields(call.object()).objects("orders", MAX_ORDERS)[0]
        form = read_form(self._hub, account, body, self._take_id())
        return preview_of(self._hub, replace(form.ticket, what_if=True), cash=form.cash)

    # --- lists -------------------------------------------------------------------------------------------------------

    def views(self, account: str | None = None) -> list[OrderView]:
        """Orders that work, and those that ended today."""
        exchange = self._hub.exchange
        found = [*exchange.open_orders(None), *exchange.completed_orders()]
        return [view for view in found if account in {None, view.ticket.account}][:MAX_LIVE]

    def listed(self, views: list[OrderView]) -> list[dict[str, Json]]:
        """Their rows."""
        last = {execution.perm_id: execution.at for execution, _ in self._hub.exchange.executions()}
        now = self._hub.clock.now()
        return [rows.live_order(view, last.get(view.perm_id) or view.completed_at or now) for view in views]

    def row(self, view: OrderView) -> dict[str, Json]:
        """The row of an order something has just happened to."""
        return rows.live_order(view, view.completed_at or self._hub.clock.now())

    def _orders(self, call: Call) -> Json:
        account = call.text("accountId", "")
        if account:
            self._hub.account(account)
        force = call.flag("force")
        filters = frozenset(part.strip().lower() for part in call.text("filters", "").split(",") if part.strip())
        first, self._listed = not self._listed, True
        self.filter = frozenset() if force else filters - {"sort_by_time"}
        if first or force:
            # Starts (or starts anew) the subscription; only later requests have its orders.
            return {"orders": [], "snapshot": False}
        chosen = self.listed(self.views(account or None))
        if self.filter:
            chosen = [row for row in chosen if snake(str(row["status"])) in self.filter]
        if "sort_by_time" in filters:
            chosen.sort(key=lambda row: int(row["lastExecutionTime_r"]), reverse=True)
        return {"orders": chosen, "snapshot": True}

    def _status(self, call: Call) -> Json:
        view = self._hub.exchange.order_by_perm_id(call.integer("order"))
        if view is None:
            raise WebError(503, SERVICE_UNAVAILABLE)
        self._requests += 1
        return rows.order_status(view, view.completed_at or self._hub.clock.now(), self._requests)

    def _trades(self, call: Call) -> Json:
        account = call.text("accountId", "")
        days = call.integer("days", 1)
        if not 1 <= days <= MAX_DAYS:
            raise bad_request("days must be 1 to 7")
        return self.trades(days, self._hub.account(account) if account else "")

    def trades(self, days: int, account: str = "") -> list[Json]:
        """Executions of the last days, newest first, as real answers are."""
        found = self._hub.exchange.executions(account=account, days=days)
        submitter = self._hub.options.username
        return [rows.trade(execution, commission, submitter) for execution, commission in reversed(found)]


def snake(status: str) -> str:
    """PreSubmitted -> pre_submitted: the words of filters."""
    return _SNAKE.sub("_", status).lower()
