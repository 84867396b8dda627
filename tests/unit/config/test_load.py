"""Where settings come from: precedence, origins, refusals, the old forms."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path

import pytest

from ibkr_connector.config import AgentLimits, Settings, SymbolLimits, find_config, load_settings
from ibkr_connector.config.settings import field_specs
from ibkr_connector.errors import ConfigurationError

GUIDE = """
[paper_trading]
host=127.0.0.1
port=7497
client_id=2
account_currency=USD

[risk_limits]
max_position_size=10000
daily_loss_limit=500
"""


@pytest.fixture(autouse=True)
def _own_user_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test reads the developer's own settings file."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg-config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg-state"))


@pytest.fixture
def ini(tmp_path: Path) -> Path:
    """Where the settings file of a test is written."""
    return tmp_path / "ibkr_config.ini"


def load(ini: Path | None = None, text: str | None = None, /, **environ: str) -> Settings:
    """Load from one file's text and one environment."""
    if ini is not None and text is not None:
        ini.write_text(text, encoding="utf-8")
        ini.chmod(0o600)
    return load_settings(ini, environ=environ, cwd=Path(ini.parent if ini else "/"))


def refused(ini: Path | None = None, text: str | None = None, /, **environ: str) -> ConfigurationError:
    """The refusal such a configuration meets."""
    with pytest.raises(ConfigurationError) as caught:
        load(ini, text, **environ)
    return caught.value


# --- precedence -------------------------------------------------------------------------------------------------------


def test_without_anything_the_guide_s_defaults_hold(tmp_path: Path) -> None:
    settings = load_settings(environ={}, cwd=tmp_path)
    connection = settings.connection
    assert (connection.host, connection.port, connection.client_id) == ("127.0.0.1", 7497, 2)
    assert (settings.mode, connection.account_currency, connection.tws_library) == ("paper", "USD", "auto")
    assert connection.handshake_timeouts == (8.0, 5.0, 3.0)
    assert settings.risk_limits.daily_loss_limit == Decimal(500)
    assert settings.source is None
    assert {row.origin for row in settings.describe()} == {"default"}


def test_the_guide_s_file_works_as_it_is(ini: Path) -> None:
    settings = load(ini, GUIDE)
    assert settings.risk_limits.max_position_size == Decimal(10_000)
    assert str(settings.origin_of("connection.port")) == f"{ini}:4"
    assert settings.notes == ()


def test_the_guide_s_variables_work_as_they_are(tmp_path: Path) -> None:
    environ = {
        "IBKR_USERNAME": "somebody",
        "IBKR_PASSWORD": "hun%(ter)2",
        "IBKR_ACCOUNT_ID": "DU1234567",
        "IBKR_HOST": "10.0.0.5",
        "IBKR_PORT": "4002",
        "IBKR_CLIENT_ID": "9",
    }
    settings = load_settings(environ=environ, cwd=tmp_path)
    connection = settings.connection
    assert (connection.host, connection.port, connection.client_id) == ("10.0.0.5", 4002, 9)
    assert (connection.account_id, connection.username) == ("DU1234567", "somebody")
    assert connection.password.get_secret_value() == "hun%(ter)2"
    assert str(settings.origin_of("connection.port")) == "environment variable IBKR_PORT"


def test_arguments_beat_the_environment_and_it_beats_the_file(ini: Path) -> None:
    ini.write_text(GUIDE)
    environ = {"IBKR_PORT": "4002", "IBKR_CLIENT_ID": "9"}
    settings = load_settings(ini, overrides={"port": 4003, "host": None}, environ=environ)
    assert (settings.connection.port, settings.connection.client_id, settings.connection.host) == (4003, 9, "127.0.0.1")
    assert [str(settings.origin_of(f"connection.{key}")) for key in ("port", "client_id", "host")] == [
        "argument port",
        "environment variable IBKR_CLIENT_ID",
        f"{ini}:3",
    ]


def test_a_whole_section_can_be_an_argument(tmp_path: Path) -> None:
    limits = {"max_order_size": 5, "daily_loss_limit": None}
    settings = load_settings(overrides={"risk_limits": limits, "order_deadline": 3}, environ={}, cwd=tmp_path)
    assert (settings.risk_limits.max_order_size, settings.risk_limits.daily_loss_limit) == (Decimal(5), None)
    assert settings.orders.order_deadline == 3.0
    assert str(settings.origin_of("risk_limits.max_order_size")) == "argument risk_limits['max_order_size']"


def test_every_setting_can_be_set_from_the_environment_but_the_one_reserved_to_the_file(tmp_path: Path) -> None:
    samples = {
        "connection.mode": "paper",
        "connection.backend": "tws",
        "connection.tws_library": "ib_async",
        "connection.market_data": "delayed",
        "connection.read_only": "yes",
        "connection.host": "example.org",
        "connection.account_id": "du7",
        "connection.account_currency": "eur",
        "connection.username": "u",
        "connection.password": "p",
        "connection.handshake_timeouts": "7, 6, 5",
        "connection.connect_attempts": "4, 4, 4",
        "connection.connect_delays": "0.5, 1, 2",
        "web.url": "https://localhost:5001/v1/api",
        "web.verify_tls": "no",
        "web.ca_file": "/etc/ibkr.pem",
        "web.compete": "yes",
        "web.confirm": "o163, o354",
        "web.suppress": "o383",
        "oauth.enabled": "yes",
        "oauth.rest_url": "https://1.api.ibkr.com/v1/api",
        "oauth.ws_url": "wss://1.api.ibkr.com/v1/api/ws",
        "paths.state_dir": "/var/lib/ibkr",
        "risk_limits.check_market_hours": "on",
        "risk_limits.allow_outside_rth": "no",
        "risk_limits.allow_short": "no",
        "risk_limits.check_ticks": "yes",
        "risk_limits.refuse_halted": "yes",
        "risk_limits.delayed_collar_factor": "1",
        "risk_limits.buying_power": "value",
        "risk_limits.intraday_margin": "excess",
        "gateway.nightly_reset": "22:00-22:30",
        "gateway.weekly_login": "Sat 12:00-11:00",
        "gateway.restart_command": "restart --now",
        "gateway.restart_period": "77",
        "breaker.slow_rate": "0.25",
        "breaker.action": "watch",
        "breaker.failure_rate": "0.25",
        "breaker.max_cooldown": "600",
        "pacing.messages_per_second": "49",
        "watch.http_host": "::1",
        "alerts.webhook_from": "info",
        "alerts.apprise_from": "warning",
        "alerts.margin_cushion": "0.2",
    }
    specs = [spec for spec in field_specs() if spec.env]
    environ = {spec.env: samples.get(spec.path, "7") for spec in specs}
    settings = load_settings(environ=environ, cwd=tmp_path)
    assert len(environ) == len(specs), "two settings share a variable"
    assert {spec.path: settings.origin_of(spec.path).where for spec in specs} == {spec.path: spec.env for spec in specs}
    assert [spec.path for spec in field_specs() if not spec.env] == ["risk_limits.env_may_loosen"]
    assert settings.connection.handshake_timeouts == (7.0, 6.0, 5.0)
    assert settings.web.url == "https://localhost:5001/v1/api/"
    assert settings.web.confirm == ("o163", "o354")
    assert (settings.connection.account_id, settings.connection.account_currency) == ("DU7", "EUR")


def test_empty_variables_and_empty_values_are_not_settings(ini: Path) -> None:
    settings = load(ini, "[paper_trading]\nport =\naccount_id =\n", IBKR_PORT="", IBKR_HOST="  ")
    assert (settings.connection.port, settings.connection.host) == (7497, "127.0.0.1")


def test_none_switches_an_optional_limit_off_in_the_file(ini: Path) -> None:
    settings = load(ini, "[risk_limits]\nmax_order_value = none\n")
    assert settings.risk_limits.max_order_value is None


# --- finding the file -------------------------------------------------------------------------------------------------


def test_the_default_places_are_searched_in_order(tmp_path: Path) -> None:
    user = tmp_path / "xdg-config/ibkr-connector/ibkr_config.ini"
    places = [user, tmp_path / "ibkr_config.ini", tmp_path / "config/ibkr_config.ini"]
    assert find_config(environ={}, cwd=tmp_path) is None
    for place in places if os.name == "posix" and Path("/proc").exists() else places[1:]:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
        assert find_config(environ={}, cwd=tmp_path) == place
    named = tmp_path / "other.ini"
    named.touch()
    assert find_config(environ={"IBKR_CONFIG": str(named)}, cwd=tmp_path) == named
    assert find_config("ibkr_config.ini", environ={"IBKR_CONFIG": str(named)}, cwd=tmp_path) == places[1]


@pytest.mark.parametrize("by", ["argument", "environment"])
def test_a_file_named_explicitly_must_exist(by: str, tmp_path: Path) -> None:
    missing = tmp_path / "no.ini"
    environ = {"IBKR_CONFIG": str(missing)} if by == "environment" else {}
    with pytest.raises(ConfigurationError, match="There is no settings file") as caught:
        load_settings(missing if by == "argument" else None, environ=environ, cwd=tmp_path)
    assert str(missing) in str(caught.value)
    assert "ibkr-connector init" in caught.value.remedy


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "field", "suggestion"),
    [
        ("[risk_limits]\nmax_positon_size = 5\n", "risk_limits.max_positon_size", "[risk_limits] max_position_size"),
        ("[risk_limit]\nmax_position_size = 5\n", "risk_limit", "risk_limits"),
        ("[connection]\nhost = h\n", "connection.host", "[paper_trading] host"),
        ("[connection]\nmode = live\nport = 1\n", "connection.port", "[live_trading] port"),
        ("[paper_trading]\nmax_order_size = 1\n", "paper_trading.max_order_size", "[risk_limits] max_order_size"),
        ("[live_trading]\nprt = 1\n", "live_trading.prt", "[live_trading] port"),
        ("[time]\nbanana = 1\n", "time.banana", None),
    ],
)
def test_an_unknown_key_is_refused_with_the_likely_one(
    text: str, field: str, suggestion: str | None, ini: Path
) -> None:
    error = refused(ini, text)
    assert error.context["field"] == field
    assert error.context["suggestion"] == suggestion
    assert error.context["origin"].startswith(f"{ini}:")
    assert (suggestion or "config show") in str(error)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[paper_trading]\nport = seven\n", "paper_trading.port = 'seven'"),
        ("[paper_trading]\nport = 70000\n", "less than or equal to 65535"),
        ("[paper_trading]\nport = 7497 ; the paper port\n", "A comment needs a line of its own."),
        ("[paper_trading]\nhost = http://x\n", "bare host name"),
        ("[paper_trading]\naccount_currency = dollars\n", "match pattern"),
        ("[paper_trading]\naccount_id = U1234567\n", "names a live account"),
        ("[connection]\ntws_library = ib\n", "'auto', 'ib_insync' or 'ib_async'"),
        ("[connection]\nread_only = maybe\n", "valid boolean"),
        ("[connection]\nhandshake_timeouts = 8, 5\n", "connection.handshake_timeouts"),
        ("[connection]\nmode = live\n", "is needed when mode is live"),
        ("[connection]\nmode = real\n", "'paper' or 'live'"),
        ("[orders]\nack_timeout = nan\n", "finite number"),
        ("[orders]\nack_timeout = -1\n", "greater than 0"),
        ("[risk_limits]\ndaily_loss_limit = Infinity\n", "finite number"),
        ("[pacing]\ncancel_reserve = 60\n", "cancel_reserve should be smaller"),
        ("[breaker]\nmax_cooldown = 5\n", "max_cooldown should not be smaller"),
        ("[time]\ntime_scale = 2\n[connection]\nmode=live\n[live_trading]\naccount_id=U1\n", "only at a paper gateway"),
    ],
)
def test_a_wrong_value_is_refused_naming_place_and_legal_values(text: str, said: str, ini: Path) -> None:
    error = refused(ini, text)
    assert said in str(error)
    assert error.context["field"]
    assert error.remedy


def test_all_problems_are_told_at_once(ini: Path) -> None:
    error = refused(ini, "[paper_trading]\nport = x\nclient_id = y\n[orders]\nack_timeout = z\n")
    assert "3 settings are wrong" in str(error)
    assert all(word in str(error) for word in (f"{ini}:2", f"{ini}:3", f"{ini}:5"))


def test_an_unknown_argument_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"There is no setting prot.*Did you mean port"):
        load_settings(overrides={"prot": 1}, environ={}, cwd=tmp_path)
    with pytest.raises(ConfigurationError, match=r"risk_limits\['max_size'\]"):
        load_settings(overrides={"risk_limits": {"max_size": 1}}, environ={}, cwd=tmp_path)


def test_a_variable_with_a_typing_error_is_noted_and_a_risk_limit_with_one_is_refused(tmp_path: Path) -> None:
    settings = load_settings(environ={"IBKR_PROT": "1", "IBKR_FLEX_QUERY_TOKEN": "x"}, cwd=tmp_path)
    assert len(settings.notes) == 1
    assert "IBKR_PROT is not a setting and was ignored. Did you mean IBKR_PORT?" in settings.notes[0]
    error = refused(None, None, IBKR_RISK_LIMITS_MAX_ORDER_SIZ="1")
    assert error.context["suggestion"] == "IBKR_RISK_LIMITS_MAX_ORDER_SIZE"


# --- the environment and the risk limits ------------------------------------------------------------------------------

LIMITS = """
[risk_limits]
max_order_size = 100
max_position_value = none
check_market_hours = yes
allow_outside_rth = no
allow_short = no
restricted_symbols = gme, AMC
duplicate_window = 5
max_orders = 10
max_orders_window = 60
buying_power = what_if
"""


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("MAX_ORDER_SIZE", "101"),
        ("MAX_ORDER_SIZE", "none"),
        ("DAILY_LOSS_LIMIT", "501"),
        ("CHECK_MARKET_HOURS", "no"),
        ("ALLOW_OUTSIDE_RTH", "yes"),
        ("ALLOW_SHORT", "yes"),
        ("CHECK_TICKS", "no"),
        ("REFUSE_HALTED", "no"),
        ("RESTRICTED_SYMBOLS", "AMC"),
        ("RESTRICTED_SYMBOLS", "none"),
        ("DUPLICATE_WINDOW", "4"),
        ("DUPLICATE_WINDOW", "none"),
        ("MAX_ORDERS", "11"),
        ("MAX_ORDERS_WINDOW", "59"),
        ("IN_FLIGHT_COLLAR", "0.004"),
        ("DELAYED_COLLAR_FACTOR", "3"),
        ("BUYING_POWER", "off"),
        ("BUYING_POWER", "value"),
    ],
)
def test_the_environment_cannot_loosen_a_risk_limit(key: str, value: str, ini: Path) -> None:
    error = refused(ini, LIMITS, **{f"IBKR_RISK_LIMITS_{key}": value})
    assert error.context["field"] == f"risk_limits.{key.lower()}"
    assert "would loosen the limit" in str(error)
    assert "env_may_loosen" in error.remedy
    loosened = load(ini, f"{LIMITS}env_may_loosen = yes\n", **{f"IBKR_RISK_LIMITS_{key}": value})
    assert loosened.origin_of(f"risk_limits.{key.lower()}").where == f"IBKR_RISK_LIMITS_{key}"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("MAX_ORDER_SIZE", "99"),
        ("MAX_ORDER_SIZE", "100"),
        ("MAX_POSITION_VALUE", "5000"),
        ("DAILY_LOSS_LIMIT", "0"),
        ("CHECK_MARKET_HOURS", "yes"),
        ("ALLOW_OUTSIDE_RTH", "no"),
        ("RESTRICTED_SYMBOLS", "AMC, GME, XYZ"),
        ("DUPLICATE_WINDOW", "6"),
        ("MAX_ORDERS_WINDOW", "61"),
        ("MAX_OPEN_ORDERS", "0"),
        ("MAX_GROSS_EXPOSURE", "0"),
        ("MAX_NET_EXPOSURE", "1"),
        ("DRAWDOWN_LIMIT", "1000"),
        ("MAX_QUOTE_AGE", "5"),
        ("PRICE_COLLAR", "0.05"),
        ("IN_FLIGHT_COLLAR", "0.006"),
        ("BUYING_POWER", "what_if"),
        ("INTRADAY_MARGIN", "pdt"),
    ],
)
def test_the_environment_can_tighten_a_risk_limit(key: str, value: str, ini: Path) -> None:
    settings = load(ini, LIMITS, **{f"IBKR_RISK_LIMITS_{key}": value})
    assert settings.origin_of(f"risk_limits.{key.lower()}").where == f"IBKR_RISK_LIMITS_{key}"


def test_the_environment_cannot_give_itself_permission(ini: Path) -> None:
    error = refused(ini, LIMITS, IBKR_RISK_LIMITS_ENV_MAY_LOOSEN="yes", IBKR_RISK_LIMITS_MAX_ORDER_SIZE="900")
    assert "Only the settings file may say" in str(error)


# --- agents and symbols -----------------------------------------------------------------------------------------------


def test_agents_and_symbols_have_sections_of_their_own(ini: Path) -> None:
    text = "[agent.Momentum-1]\nmax_order_size = 5\nmax_orders = 3\n[agent.*]\nmax_orders = 1\n"
    text += "[symbol.GME]\nmax_position_value = 1000.5\nmax_order_size = none\n"
    settings = load(ini, text)
    assert settings.agents == {
        "momentum-1": AgentLimits(max_order_size=Decimal(5), max_orders=3),
        "*": AgentLimits(max_orders=1),
    }
    assert settings.symbols == {"gme": SymbolLimits(max_position_value=Decimal("1000.5"))}
    rows = {(row.section, row.key): (row.value, row.origin) for row in settings.describe()}
    assert rows["agent.momentum-1", "max_orders"] == ("3", f"{ini}:3")
    more = load_settings(ini, overrides={"agents": {"MOMENTUM-1": {"max_orders": 2}}}, environ={})
    assert more.agents["momentum-1"] == AgentLimits(max_order_size=Decimal(5), max_orders=2)
    assert settings.differences(more) == ("agent.momentum-1",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[agent.a]\nmax_order_sise = 5\n", "Did you mean max_order_size?"),
        ("[agent.a]\ndaily_loss_limit = 5\n", "limit of the account alone: set daily_loss_limit in [risk_limits]"),
        ("[symbol.A]\nallow_short = no\n", "limit of the account alone: set allow_short in [risk_limits]"),
        ("[agent.a]\nmax_order_size = -5\n", "should be greater than or equal to 0"),
        ("[agent.a]\nmax_orders = 1_0\n", "digits"),
        ("[symbol.gme]\nmax_orders = 5\n", "no key max_orders"),
        ("[agent.]\nmax_orders = 5\n", "no section [agent.]"),
        ("[agents]\nmax_orders = 5\n", "no section [agents]"),
    ],
)
def test_a_limit_of_an_agent_with_a_typing_error_is_refused(text: str, said: str, ini: Path) -> None:
    assert said in str(refused(ini, text))


def test_an_argument_that_is_no_mapping_of_limits_is_refused(tmp_path: Path) -> None:
    for wrong in ({"agents": ["a"]}, {"symbols": {"gme": 5}}):
        with pytest.raises(ConfigurationError, match="mapping of names to limits"):
            load_settings(overrides=wrong, environ={}, cwd=tmp_path)


# --- live -------------------------------------------------------------------------------------------------------------


def test_live_reads_its_own_endpoint_and_never_the_paper_one(ini: Path) -> None:
    text = "[connection]\nmode = live\n[paper_trading]\nport = 1\n[live_trading]\naccount_id = U1234567\n"
    settings = load(ini, text)
    assert (settings.mode, settings.connection.port, settings.connection.account_id) == ("live", 7496, "U1234567")
    assert {row.section for row in settings.describe() if row.key == "port"} == {"live_trading"}
    paper = load_settings(ini, overrides={"mode": "paper"}, environ={})
    assert (paper.connection.port, paper.connection.account_id) == (1, "")


# --- old files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["", "[ibkr]\n", "[paper_trading]\n"])
def test_the_flat_keys_of_older_programs_still_work_and_are_noted(header: str, ini: Path) -> None:
    text = f"{header}paper_host = 10.1.1.1\npaper_port = 4002\nclient_id = 5\naccount_currency = EUR\n"
    settings = load(ini, text)
    connection = settings.connection
    assert (connection.host, connection.port, connection.client_id) == ("10.1.1.1", 4002, 5)
    assert connection.account_currency == "EUR"
    assert len(settings.notes) == 1
    assert "paper_port (line" in settings.notes[0]


ENDPOINT = "[paper_trading]\nhost=127.0.0.1\nport={port}\nclient_id=2\naccount_currency=USD\n"
"""As the user guide has it."""


@pytest.mark.parametrize(
    ("text", "line", "name", "others"),
    [
        (ENDPOINT, 3, "paper_trading.port", ""),
        ("[ibkr]\npaper_port = {port}\n", 2, "ibkr.paper_port", " (ibkr.paper_port)"),
        ("[paper_trading]\npaper_port = {port}\n", 2, "paper_trading.paper_port", " (paper_trading.paper_port)"),
        ("paper_port = {port}\n", 1, "paper_port", " (paper_port)"),
        ("port = {port}\n", 1, "port", " (port)"),
        ("[connection]\nmode=live\n[live_trading]\naccount_id=U1\nport={port}\n", 5, "live_trading.port", ""),
    ],
    ids=["guide", "section of old", "mixed", "flat", "bare", "live"],
)
def test_errors_and_origins_have_the_name_and_section_that_the_user_wrote(
    text: str, line: int, name: str, others: str, ini: Path
) -> None:
    error = refused(ini, text.format(port="seven"))
    assert str(error).startswith(f"{name} = 'seven' ({ini}:{line}) should be a valid integer")
    assert (error.context["field"], error.context["origin"]) == (name, f"{ini}:{line}")
    (row,) = (row for row in load(ini, text.format(port=4002)).describe() if row.key == "port")
    assert (row.value, row.origin) == ("4002", f"{ini}:{line}{others}")


def test_a_value_from_elsewhere_has_the_name_that_the_listing_has(tmp_path: Path) -> None:
    for arguments, environ, where in (
        ({"port": "seven"}, {}, "argument port"),
        ({}, {"IBKR_PORT": "seven"}, "environment variable IBKR_PORT"),
    ):
        with pytest.raises(ConfigurationError, match=rf"paper_trading\.port = 'seven' \({where}\)"):
            load_settings(overrides=arguments, environ=environ, cwd=tmp_path)


def test_old_and_new_key_together_are_refused(ini: Path) -> None:
    error = refused(ini, "paper_port = 1\n[paper_trading]\nport = 2\n")
    assert "says again what" in str(error)


# --- paths ------------------------------------------------------------------------------------------------------------


def test_the_state_folder_is_expanded_and_starts_at_the_file(ini: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert load(ini, "[paths]\nstate_dir = state\n").paths.state_dir == ini.parent / "state"
    assert load(ini, "[paths]\nstate_dir = $BASE/${SUB}\n", BASE="/b", SUB="s").paths.state_dir == Path("/b/s")
    if os.name == "posix":
        assert load(ini, "[paths]\nstate_dir = ~/s\n").paths.state_dir == Path("/home/someone/s")
    assert "names the variable NOPE" in str(refused(ini, "[paths]\nstate_dir = $NOPE/x\n"))


# --- listing and comparing --------------------------------------------------------------------------------------------


def test_differences_name_the_fields_that_differ(tmp_path: Path) -> None:
    one = load_settings(environ={}, cwd=tmp_path)
    two = load_settings(overrides={"port": 1, "password": "x"}, environ={}, cwd=tmp_path)
    assert one.differences(two) == ("paper_trading.port", "connection.password")
    assert one.differences(load_settings(environ={"IBKR_PORT": "7497"}, cwd=tmp_path)) == ()


def test_sections_cannot_be_changed(tmp_path: Path) -> None:
    settings = load_settings(environ={}, cwd=tmp_path)
    with pytest.raises(ValueError, match="frozen"):
        settings.connection.port = 1  # type: ignore[misc]


# --- INV-13 -----------------------------------------------------------------------------------------------------------


def test_a_password_appears_in_no_listing_repr_note_or_error(ini: Path) -> None:
    ini.write_text("[connection]\npassword = s3cr3t%x\n")
    ini.chmod(0o644)
    settings = load_settings(ini, environ={})
    assert settings.connection.password.get_secret_value() == "s3cr3t%x"
    listing = " ".join(str(row.to_dict()) for row in settings.describe())
    assert "********" in listing
    seen = [listing, repr(settings), str(settings), repr(settings.connection), str(settings.notes)]
    seen.append(str(settings.connection.model_dump()))
    seen.append(settings.connection.model_dump_json())
    with pytest.raises(ConfigurationError) as caught:
        load_settings(overrides={"password": ["s3cr3t%x"]}, environ={})
    seen += [str(caught.value), repr(caught.value), str(caught.value.to_dict()), repr(caught.value.__cause__)]
    assert not any("s3cr3t" in text for text in seen)
    if os.name == "posix":
        assert "chmod 600" in settings.notes[0]


@pytest.mark.parametrize(
    ("key", "section", "value"),
    [
        ("max_order_size", "risk_limits", "1_000"),
        ("max_order_size", "risk_limits", "１０"),
        ("daily_loss_limit", "risk_limits", "٥٠٠"),
        ("port", "paper_trading", "7_497"),
        ("port", "paper_trading", "７４９７"),
        ("request_timeout", "connection", "3_0"),
        ("handshake_timeouts", "connection", "8, 5_0, 3"),
        ("connect_attempts", "connection", "3, ２, 1"),
    ],
)
def test_a_number_is_written_with_plain_digits_in_every_source(
    tmp_path: Path, key: str, section: str, value: str
) -> None:
    path = tmp_path / "a.ini"
    path.write_text(f"[{section}]\n{key} = {value}\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="digits 0-9"):
        load_settings(path, environ={})
    with pytest.raises(ConfigurationError, match="digits 0-9"):
        load_settings(None, environ={}, overrides={key: value}, cwd=tmp_path / "nowhere")


def test_text_may_hold_any_script_and_underscores() -> None:
    settings = load_settings(None, environ={}, overrides={"username": "jürgen_１"}, cwd=Path("/nowhere"))
    assert settings.connection.username == "jürgen_１"
