"""`vault:mount/path#key`: HashiCorp Vault, secrets engine KV version 1 or 2, through hvac (extra `vault`).

Address and token come from the environment, as for every Vault client: VAULT_ADDR, VAULT_TOKEN, and where needed
VAULT_NAMESPACE and VAULT_CACERT. The certificate is always verified; without TLS only this machine is spoken to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ibkr_connector.config.web import is_loopback
from ibkr_connector.errors import ConfigurationError
from ibkr_connector.secrets.secret import Secret
from ibkr_connector.secrets.source import as_secret, bounded, import_extra, missing

_CONNECT_S = 5.0
_SEE_STATUS = "See `vault status`; VAULT_ADDR names the server."


class VaultSource:
    """Reads one key of one path at a time; `timeout` seconds for one question."""

    kind = "vault"

    def __init__(self, environ: Mapping[str, str], timeout: float = 15.0) -> None:
        self._environ = environ
        self._timeout = timeout

    def get(self, name: str) -> Secret:
        """See `SecretSource.get`."""
        where = f"vault:{name}"
        path, _, key = name.partition("#")
        hvac = import_extra("hvac", "vault", where)
        found = bounded(lambda: self._read(hvac, where, path), self._timeout, where)
        if key not in found:
            there = ", ".join(sorted(map(str, found))) or "nothing"
            raise missing(where, f"is not there; the path holds: {there[:300]}", "Correct the name after the #.")
        return as_secret(where, found[key])

    def _read(self, hvac: Any, where: str, path: str) -> Mapping[str, Any]:
        """What a path holds. In a thread."""
        import requests

        address, token = self._address(where), self._token(where)
        session = requests.Session()
        # Proxies and certificate bundles of the environment are for the network, not for this machine.
        session.trust_env = address.startswith("https:")
        session.verify = self._environ.get("VAULT_CACERT") or True
        try:
            client = hvac.Client(
                url=address,
                token=token.reveal(),
                timeout=min(_CONNECT_S, self._timeout),
                # A redirect would carry the token to wherever it points.
                allow_redirects=False,
                namespace=self._environ.get("VAULT_NAMESPACE") or None,
                session=session,
            )
            return _look(hvac, where, path, client.read)
        finally:
            session.close()

    def _address(self, where: str) -> str:
        address = self._environ.get("VAULT_ADDR", "").strip()
        example = "Set it, for example to https://vault.example.com:8200."
        if not address:
            raise missing(where, "needs the variable VAULT_ADDR", example)
        parts = urlsplit(address)
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.username or parts.password:
            raise missing(where, "cannot be asked for: VAULT_ADDR is no address of a server", example)
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise missing(where, "cannot be asked for: VAULT_ADDR is without TLS", "Use https, with its certificate.")
        if self._environ.get("VAULT_SKIP_VERIFY", "").strip().lower() in {"1", "t", "true", "yes"}:
            remedy = "Unset it, and name the server's certificate authority as VAULT_CACERT."
            raise missing(where, "cannot be asked for: VAULT_SKIP_VERIFY would let anybody answer", remedy)
        authority = self._environ.get("VAULT_CACERT", "")
        if authority and not Path(authority).is_file():
            raise missing(where, "cannot be asked for: VAULT_CACERT names no file", "Correct the path, or unset it.")
        return address

    def _token(self, where: str) -> Secret:
        token = self._environ.get("VAULT_TOKEN", "").strip()
        if not token:
            remedy = "Set it, for example to what `vault login -token-only` prints, or what your agent keeps for you."
            raise missing(where, "needs the variable VAULT_TOKEN", remedy)
        return Secret(token)


def _look(hvac: Any, where: str, path: str, read: Callable[[str], Any]) -> Mapping[str, Any]:
    """The path as the command line has it (version 2 keeps it under `mount/data/…`), then as it is written."""
    mount, _, rest = path.partition("/")
    forms = [path] if rest.startswith("data/") else [f"{mount}/data/{rest}", path]
    refusals: list[ConfigurationError] = []
    for form in forms:
        try:
            answer = read(form)
        except Exception as error:  # noqa: BLE001 - of hvac, requests and urllib3; their texts hold what was sent
            refusal, last = _told(hvac, where, error)
            refusals.append(refusal)
            if last:
                break
            continue
        data = answer.get("data") if isinstance(answer, dict) else None
        if isinstance(data, dict) and isinstance(data.get("metadata"), dict) and "data" in data:
            data = data["data"]
        if isinstance(data, dict):
            return data
        refusals.append(missing(where, "is not there", "Correct the path, or write the secret with `vault kv put`."))
    raise refusals[0]


def _told(hvac: Any, where: str, error: Exception) -> tuple[ConfigurationError, bool]:
    """What went wrong, and whether another form of the path would meet the same."""
    kinds = hvac.exceptions
    if isinstance(error, kinds.InvalidPath):
        return missing(where, "is not there", "Correct the path, or write the secret with `vault kv put`."), False
    if isinstance(error, kinds.Forbidden | kinds.Unauthorized):
        remedy = "Renew the token (VAULT_TOKEN); its policy must allow `read` on the path (KV 2: mount/data/path)."
        return missing(where, "may not be read with this token, or the token has expired", remedy), False
    if isinstance(error, kinds.VaultDown):
        return missing(where, "cannot be had: Vault is sealed or in standby", "Unseal it.", retryable=True), True
    names = {kind.__name__ for kind in type(error).__mro__}
    if "SSLError" in names:
        remedy = "Name the certificate authority as VAULT_CACERT."
        return missing(where, "cannot be had: Vault's certificate is not one that is trusted", remedy), True
    if names & {"Timeout", "ConnectTimeout", "ReadTimeout"}:
        return missing(where, "cannot be had: Vault does not answer", _SEE_STATUS, retryable=True), True
    if "ConnectionError" in names:
        return missing(where, "cannot be had: Vault cannot be reached", _SEE_STATUS, retryable=True), True
    return missing(where, f"cannot be had: {type(error).__name__} of Vault", _SEE_STATUS, retryable=True), True
