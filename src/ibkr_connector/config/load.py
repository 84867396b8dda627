"""Finding the settings: arguments > `IBKR_*` environment > `ibkr_config.ini` > defaults.

Every value remembers where it came from. What cannot be right is refused, all of it at once, naming the place to
correct: unknown sections and keys, values outside their bounds, an environment that would loosen a risk limit.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from ibkr_connector.config.findings import Findings
from ibkr_connector.config.ini import Entry, read_ini
from ibkr_connector.config.origin import DEFAULT, Origin, OriginKind
from ibkr_connector.config.section import Section, loosens
from ibkr_connector.config.settings import APP_NAME, LIVE_PORT, SECTIONS, FieldSpec, Settings, field_specs, show
from ibkr_connector.config.sub_sections import SubSections
from ibkr_connector.errors import ConfigurationError

CONFIG_NAME = "ibkr_config.ini"
CONFIG_VARIABLE = "IBKR_CONFIG"

_ENDPOINT_SECTIONS = {"paper_trading": "paper", "live_trading": "live"}
# Keys of the flat files of older programs: read from no section at all, or from [ibkr].
_FLAT_SECTIONS = ("", "ibkr")
_FLAT_KEYS = {"paper_host": "host", "paper_port": "port"}
_OWN_PREFIXES = ("IBKR_DEV_", "IBKR_BENCH_", "IBKR_TEST_")
_RISK_PREFIX = "IBKR_RISK_LIMITS_"


@dataclass(frozen=True, slots=True)
class _Candidate:
    value: object
    origin: Origin


_Layer = dict[str, _Candidate]
"""`section.key` -> the value one source gives it."""


_SPECS: dict[str, FieldSpec] = {spec.path: spec for spec in field_specs()}
_BY_ENV: dict[str, FieldSpec] = {spec.env: spec for spec in _SPECS.values() if spec.env}
_ALSO: dict[str, FieldSpec] = {spec.info.also: spec for spec in _SPECS.values() if spec.info.also}
_FILES = ("paths.state_dir", "paths.audit_file", "web.ca_file", "oauth.signature_key_file", "oauth.encryption_key_file")
_IN_FILE = "file:"
"""Begins a secret that is kept in a file."""
_REFERENCES = (_IN_FILE, "env:", "keyring:", "vault:")


def load_settings(
    config_path: str | os.PathLike[str] | None = None,
    *,
    overrides: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Settings:
    """Read the configuration.

    `overrides` are a program's arguments: keys of the connection, or any key that exists once (`port=4002`,
    `state_dir=…`), where None means "not given", and sections as mappings (`risk_limits={"max_order_size": 5}`),
    where None means `none`. Raises ConfigurationError with `context` field, origin and suggestion; a file named
    explicitly (argument or IBKR_CONFIG) must exist, the default places need not.
    """
    environ = os.environ if environ is None else environ
    cwd = Path.cwd() if cwd is None else cwd
    findings = Findings()
    path = find_config(config_path, environ=environ, cwd=cwd)
    subs = SubSections()
    entries = subs.from_file(read_ini(path) if path else [], path, findings)
    arguments = _argument_layer(subs.from_arguments(overrides or {}, findings), findings)
    environment = _environment_layer(environ, findings)
    mode = _choose_mode(arguments, environment, entries)
    in_file = _file_layer(entries, path, mode, findings) if path else {}
    for layer, base in ((arguments, cwd), (environment, cwd), (in_file, path.parent if path else cwd)):
        _expand_paths(layer, base, environ, findings)
    findings.raise_if_any()

    merged: _Layer = {**in_file, **environment, **arguments}
    if mode == "live" and "connection.port" not in merged:
        merged["connection.port"] = _Candidate(LIVE_PORT, DEFAULT)
    sections = {name: _validate(name, merged, mode, findings) for name in SECTIONS}
    agents, symbols = subs.agents.sections(findings), subs.symbols.sections(findings)
    _guard_risk_limits(in_file, environment, findings)
    findings.raise_if_any()

    settings = Settings(
        **{name: section for name, section in sections.items() if section is not None},  # type: ignore[arg-type]
        agents=agents,
        symbols=symbols,
        origins={key: candidate.origin for key, candidate in merged.items()}
        | subs.agents.origins
        | subs.symbols.origins,
        notes=tuple(findings.notes),
        source=path,
    )
    _check_together(settings, findings)
    findings.raise_if_any()
    return settings


def find_config(
    config_path: str | os.PathLike[str] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Path | None:
    """The settings file to read: the argument, IBKR_CONFIG, ./config/, ./, the user's configuration folder.

    None when no default place has one; ConfigurationError when a file named explicitly does not exist.
    """
    environ = os.environ if environ is None else environ
    cwd = Path.cwd() if cwd is None else cwd
    named = [
        (config_path, Origin(OriginKind.ARGUMENT, "config_path")),
        (environ.get(CONFIG_VARIABLE) or None, Origin(OriginKind.ENVIRONMENT, CONFIG_VARIABLE)),
    ]
    for given, origin in named:
        if given is None:
            continue
        path = cwd / Path(given).expanduser()
        if not path.is_file():
            raise ConfigurationError(
                f"There is no settings file {path} ({origin}).",
                remedy="Correct the path, or write one with `ibkr-connector init`.",
                field=origin.where,
                origin=str(origin),
            )
        return path
    for path in (cwd / "config" / CONFIG_NAME, cwd / CONFIG_NAME):
        if path.is_file():
            return path
    from platformdirs import user_config_path

    path = user_config_path(APP_NAME, appauthor=False) / CONFIG_NAME
    return path if path.is_file() else None


# --- the three sources ------------------------------------------------------------------------------------------------


def _argument_layer(overrides: Mapping[str, object], findings: Findings) -> _Layer:
    layer: _Layer = {}
    for name, value in overrides.items():
        if name in SECTIONS and isinstance(value, Mapping):
            for key, inner in value.items():
                _argument(layer, f"{name}.{key}", f"{name}[{key!r}]", inner, findings)
        elif value is not None:
            matches = [spec.path for spec in _SPECS.values() if spec.key == name]
            _argument(layer, matches[0] if matches else name, name, value, findings)
    return layer


def _argument(layer: _Layer, path: str, shown: str, value: object, findings: Findings) -> None:
    origin = Origin(OriginKind.ARGUMENT, shown)
    if path in _SPECS:
        layer[path] = _Candidate(value, origin)
        return
    hint = _closest(path.rpartition(".")[2], [spec.key for spec in _SPECS.values()])
    findings.refuse(f"There is no setting {shown}.", _did_you_mean(hint), path, origin, hint)


def _environment_layer(environ: Mapping[str, str], findings: Findings) -> _Layer:
    layer: _Layer = {}
    for name, value in sorted(environ.items()):
        if not name.startswith("IBKR_") or name == CONFIG_VARIABLE or not value.strip():
            continue
        spec = _BY_ENV.get(name)
        origin = Origin(OriginKind.ENVIRONMENT, name)
        if spec is not None:
            # A password may begin or end with a space; nothing else does.
            layer[spec.path] = _Candidate(value if spec.secret else value.strip(), origin)
        elif not name.startswith(_OWN_PREFIXES):
            hint = _closest(name, list(_BY_ENV))
            if name == f"{_RISK_PREFIX}ENV_MAY_LOOSEN":
                findings.refuse(
                    f"The {origin} is not allowed.",
                    "Only the settings file may say env_may_loosen = yes.",
                    "risk_limits.env_may_loosen",
                    origin,
                )
            elif name.startswith(_RISK_PREFIX):
                # A risk limit with a typing error would be a limit that is not there.
                findings.refuse(f"There is no risk limit for the {origin}.", _did_you_mean(hint), name, origin, hint)
            elif hint:
                findings.notes.append(f"The {origin} is not a setting and was ignored. {_did_you_mean(hint)}")
    for name, spec in _ALSO.items():
        value = environ.get(name, "").strip()
        if value:
            _add_other_name(layer, spec, name, value, findings)
    return layer


def _add_other_name(layer: _Layer, spec: FieldSpec, name: str, value: str, findings: Findings) -> None:
    """A variable of another library, which means the same as ours; ours may be set beside it, but not differ."""
    ours = layer.setdefault(spec.path, _Candidate(value, Origin(OriginKind.ENVIRONMENT, name)))
    if str(ours.value).strip().rstrip("/") != value.rstrip("/"):
        findings.refuse(
            f"The environment variables {ours.origin.where} and {name} both set {spec.path}, and differ.",
            f"Which one is meant is not guessed: unset {name}, or make them equal.",
            spec.path,
            ours.origin,
        )


def _choose_mode(arguments: _Layer, environment: _Layer, entries: list[Entry]) -> str:
    """The mode decides which endpoint section counts, so it is needed first; its value is validated with the rest."""
    in_file = [entry.value for entry in entries if (entry.section, entry.key) == ("connection", "mode")]
    for layer in (arguments, environment):
        if "connection.mode" in layer:
            return str(layer["connection.mode"].value)
    return in_file[0] if in_file and in_file[0] else "paper"


def _file_layer(entries: list[Entry], path: Path, mode: str, findings: Findings) -> _Layer:
    layer: _Layer = {}
    flat: list[str] = []
    for entry in entries:
        section, key = entry.section, entry.key
        origin = Origin(OriginKind.FILE, f"{path}:{entry.line}", f"{section}.{key}" if section else key)
        if section in _FLAT_SECTIONS or (section == "paper_trading" and key in _FLAT_KEYS):
            flat.append(f"{key} (line {entry.line})")
            key = _FLAT_KEYS.get(key, key)
            spec = _SPECS.get(f"connection.{key}")
            section = "paper_trading" if spec is None or spec.info.endpoint else "connection"
        if section not in SECTIONS and section not in _ENDPOINT_SECTIONS:
            hint = _closest(section, [*SECTIONS, *_ENDPOINT_SECTIONS])
            findings.refuse(
                f"{origin}: there is no section [{section}].",
                _did_you_mean(hint and f"[{hint}]"),
                section,
                origin,
                hint,
            )
            continue
        spec = _SPECS.get(f"{'connection' if section in _ENDPOINT_SECTIONS else section}.{key}")
        if spec is None or spec.info.endpoint is not (section in _ENDPOINT_SECTIONS):
            hint = _closest_key(section, key, mode)
            findings.refuse(
                f"{origin}: there is no key {entry.key} in [{entry.section}].",
                _did_you_mean(hint),
                f"{section}.{key}",
                origin,
                hint,
            )
            continue
        if not entry.value or _ENDPOINT_SECTIONS.get(section, mode) != mode:
            continue
        if spec.path in layer:
            findings.refuse(
                f"{origin}: {entry.key} says again what {layer[spec.path].origin} says.",
                "Keep one of the two lines.",
                spec.path,
                origin,
            )
        layer[spec.path] = _Candidate(entry.value, origin)
        if spec.secret and not entry.value.startswith(_REFERENCES):
            findings.notes.extend(_permission_notes(path, entry.key))
    if flat:
        findings.notes.append(
            f"{path} uses the old flat form: {', '.join(flat)}. It still works; "
            "write host, port, client_id and account_currency under [paper_trading]."
        )
    return layer


def _permission_notes(path: Path, key: str) -> list[str]:
    if os.name != "posix" or not stat.S_IMODE(path.stat().st_mode) & 0o077:
        return []
    return [f"{path} holds {key} and other users of this machine may read it: run `chmod 600` on it."]


# --- judging the values -----------------------------------------------------------------------------------------------


def _expand_paths(layer: _Layer, base: Path, environ: Mapping[str, str], findings: Findings) -> None:
    for key in _FILES:
        candidate = layer.get(key)
        if candidate is not None and str(candidate.value).strip().lower() not in ("", "none"):
            layer[key] = _Candidate(_expanded(key, candidate, base, environ, findings), candidate.origin)
    for key, candidate in layer.items():
        given = candidate.value.strip() if isinstance(candidate.value, str) else ""
        if _SPECS[key].secret and _SPECS[key].section == "oauth" and given.startswith(_IN_FILE) and given != _IN_FILE:
            path = _expanded(key, _Candidate(given.removeprefix(_IN_FILE), candidate.origin), base, environ, findings)
            layer[key] = _Candidate(f"{_IN_FILE}{path}", candidate.origin)


def _expanded(key: str, candidate: _Candidate, base: Path, environ: Mapping[str, str], findings: Findings) -> Path:
    def variable(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in environ:
            findings.refuse(
                f"{key} ({candidate.origin}) names the variable {name}, which is not set.",
                "Set it, or write the path out.",
                key,
                candidate.origin,
            )
        return environ.get(name, "")

    text = re.sub(r"\$(?:\{(\w+)\}|(\w+))", variable, str(candidate.value))
    return base / Path(text).expanduser()


def _validate(name: str, merged: Mapping[str, _Candidate], mode: str, findings: Findings) -> Section | None:
    model = SECTIONS[name]
    given = {spec.key: merged[path] for path, spec in _SPECS.items() if spec.section == name and path in merged}
    try:
        return model.model_validate({key: _plain(_SPECS[f"{name}.{key}"], item) for key, item in given.items()})
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_input=False, include_context=False):
            key = str(detail["loc"][0]) if detail["loc"] else ""
            _report(name, key, given.get(key), detail["msg"], mode, findings)
        return None


def _plain(spec: FieldSpec, candidate: _Candidate) -> object:
    """`none` in a file or a variable is None where a setting can be switched off."""
    value = candidate.value
    return None if spec.optional and isinstance(value, str) and value.lower() == "none" else value


def _report(name: str, key: str, candidate: _Candidate | None, text: str, mode: str, findings: Findings) -> None:
    spec = _SPECS.get(f"{name}.{key}")
    origin = candidate.origin if candidate else DEFAULT
    problem = text.removeprefix("Value error, ").removeprefix("Input ")
    if spec is None:  # a rule over several keys of the section
        findings.refuse(f"[{name}]: {problem}.", "Correct the section.", name, origin)
        return
    shown = "" if spec.secret or candidate is None else f" = {_short(candidate.value)}"
    remedy = f"{key}: {spec.info.help}{f' ({spec.info.unit})' if spec.info.unit else ''}."
    if origin.kind is OriginKind.FILE and candidate and re.search(r"\s[;#]", str(candidate.value)) and not spec.secret:
        remedy += " A comment needs a line of its own."
    said = origin.name or spec.name(mode)
    findings.refuse(f"{said}{shown} ({origin}) {problem}.", remedy, said, origin)


def _short(value: object) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    text = re.sub(r"//[^/@\s]*@", "//********@", text)  # user and password of an address
    return text if len(text) <= 80 else f"{text[:77]}…"


def _guard_risk_limits(in_file: _Layer, environment: _Layer, findings: Findings) -> None:
    """The environment may tighten limits, not loosen them, unless the file allows it."""
    touched = [path for path in environment if _SPECS[path].info.looser]
    if not touched or findings.problems:
        return
    base = _validate("risk_limits", in_file, "", findings)
    changed = _validate("risk_limits", {**in_file, **environment}, "", findings)
    if base is None or changed is None or getattr(base, "env_may_loosen", False):
        return
    for path in touched:
        spec = _SPECS[path]
        before, after = getattr(base, spec.key), getattr(changed, spec.key)
        if loosens(spec.info.looser, before, after):
            limit = in_file[path].origin if path in in_file else DEFAULT
            origin = environment[path].origin
            findings.refuse(
                f"{path} = {show(after)} ({origin}) would loosen the limit {show(before)} ({limit}).",
                "The environment may only tighten risk limits: change the settings file, "
                "or write env_may_loosen = yes under [risk_limits] there.",
                path,
                origin,
            )


def _check_together(settings: Settings, findings: Findings) -> None:
    """Rules over more than one section."""
    if settings.mode == "live" and settings.time.time_scale != 1:
        origin = settings.origin_of("time.time_scale")
        findings.refuse(
            f"time.time_scale = {settings.time.time_scale:g} ({origin}) with mode = live.",
            "Market time runs at its own speed only at a paper gateway: remove the key.",
            "time.time_scale",
            origin,
        )


# --- suggestions ------------------------------------------------------------------------------------------------------


def _closest(word: str, choices: list[str]) -> str | None:
    from difflib import get_close_matches

    found = get_close_matches(word, choices, n=1, cutoff=0.7)
    return found[0] if found else None


def _closest_key(section: str, key: str, mode: str) -> str | None:
    """The likeliest meaning of an unknown key: a neighbour in its section, else the same or a similar key elsewhere."""

    def header(spec: FieldSpec) -> str:
        return section if spec.info.endpoint and section in _ENDPOINT_SECTIONS else spec.header(mode)

    here = [spec.key for spec in _SPECS.values() if header(spec) == section]
    near = _closest(key, here)
    if near:
        return f"[{section}] {near}"
    match = key if any(spec.key == key for spec in _SPECS.values()) else _closest(key, [s.key for s in _SPECS.values()])
    return next((f"[{header(spec)}] {spec.key}" for spec in _SPECS.values() if spec.key == match), None)


def _did_you_mean(hint: str | None) -> str:
    if hint:
        return f"Did you mean {hint}?"
    return "`ibkr-connector config show` lists what exists."
