"""Logging in and staying so: auth status, ssodh/init, tickle, validate, logout, suppressed questions."""

from __future__ import annotations

from .calls import Call, Endpoint, Fields, Json, Reply, WebError
from .hub import WebHub
from .questions import QuestionBook

MAX_SUPPRESSED = 51
"""Message ids in one request; more are a system error."""


class SessionDesk:
    """Answers about the login and the brokerage session."""

    def __init__(self, hub: WebHub, questions: QuestionBook) -> None:
        self._hub = hub
        self._questions = questions

    def endpoints(self) -> list[Endpoint]:
        """What is answered here."""
        return [
            Endpoint("GET POST", "iserver/auth/status", "auth_status", self._status, "nothing"),
            Endpoint("GET POST", "iserver/auth/ssodh/init", "session_init", self._init, "login"),
            Endpoint("GET POST", "tickle", "tickle", self._tickle, "login"),
            Endpoint("GET", "sso/validate", "validate", self._validate, "login"),
            Endpoint("GET POST", "iserver/reauthenticate", "reauthenticate", self._reauthenticate, "login"),
            Endpoint("GET POST", "logout", "logout", self._logout, "nothing"),
            Endpoint("POST", "iserver/questions/suppress", "suppress", self._suppress),
            Endpoint("POST", "iserver/questions/suppress/reset", "suppress_reset", self._reset),
        ]

    def status(self) -> dict[str, object]:
        """The brokerage session's status; over a cut link it is not connected."""
        status = self._hub.session.status()
        if self._hub.session.logged_in and self._hub.exchange.mishaps.is_cut:
            status |= {"authenticated": False, "established": False, "connected": False}
        return status

    def _status(self, call: Call) -> Json:
        status = self.status()
        return {**status, "fail": ""} if self._hub.session.logged_in else status

    def _init(self, call: Call) -> Json:
        values = call.object() if call.body is not None else dict(call.query)
        fields = Fields(values)
        if not fields.flag("publish"):
            raise WebError(500, "publish must be true")
        session = self._hub.session
        compete = fields.flag("compete")
        before = session.authenticated
        opened = session.open_brokerage(compete=compete)
        self._hub.truth.record("web_session", compete=compete, opened=opened)
        if not before:
            # A new brokerage session knows nothing of the old one's requests.
            self._hub.accounts_asked = False
            self._hub.primed.clear()
            self._hub.searched.clear()
            self._questions.reset()
        return self.status()

    def _tickle(self, call: Call) -> Reply:
        session, oauth = self._hub.session, self._hub.options.oauth is not None
        body: dict[str, Json] = {"session": session.token}
        if not oauth:
            body |= {"ssoExpires": session.left_ms(), "collission": False, "userId": session.user_id}
        body |= {"hmds": {"error": "no bridge"}, "iserver": {"authStatus": self.status()}}
        return Reply(body, cookies={} if oauth else {"x-sess-uuid": session.token})

    def _validate(self, call: Call) -> Json:
        session, username = self._hub.session, self._hub.options.username
        return {
            "USER_ID": session.user_id,
            "USER_NAME": username,
            "RESULT": True,
            "AUTH_TIME": int(session.since.timestamp() * 1000),
            "SF_ENABLED": False,
            "IS_FREE_TRIAL": False,
            "CREDENTIAL": username,
            "IP": "127.0.0.1",
            "EXPIRES": session.left_ms(),
            "QUALIFIED_FOR_MOBILE_AUTH": None,
            "LANDING_APP": "UNIVERSAL",
            "IS_MASTER": False,
            "lastAccessed": self._hub.epoch_ms(),
            "LOGIN_TYPE": 2,
            "PAPER_USER_NAME": username,
            "features": {"env": "PROD", "wlms": True, "realtime": True, "bond": True, "optionChains": True},
            "region": "NJ",
        }

    def _reauthenticate(self, call: Call) -> Json:
        self._hub.session.open_brokerage(compete=False)
        return {"message": "triggered"}

    def _logout(self, call: Call) -> Json:
        self._hub.session.log_out()
        self._hub.portfolio_asked = self._hub.accounts_asked = False
        self._hub.truth.record("web_logout")
        return {"status": True}

    def _suppress(self, call: Call) -> Json:
        names = Fields(call.object()).texts("messageIds", 10_000)
        if len(names) > MAX_SUPPRESSED:
            raise WebError(500, f"at most {MAX_SUPPRESSED} message ids can be suppressed at once")
        self._questions.suppress(names)
        return {"status": "submitted"}

    def _reset(self, call: Call) -> Json:
        self._questions.reset()
        return {"status": "submitted"}
