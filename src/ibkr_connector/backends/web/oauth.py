"""ibind's OAuth 1.0a configuration, made of our settings: from arguments alone, and only after everything was checked.

ibind's own class reads its defaults from the environment when it is imported, and shows every secret in its repr. Here
each field is given, and the class made from it shows none.
"""

from __future__ import annotations

import functools
from typing import Any, NoReturn

from ibkr_connector.backends.web.library import load_ibind
from ibkr_connector.backends.web.oauth_checks import Examination, examine
from ibkr_connector.backends.web.oauth_keys import crypto
from ibkr_connector.backends.web.options import OAuthSource
from ibkr_connector.config.oauth import OAuthSettings
from ibkr_connector.config.settings import Settings
from ibkr_connector.secrets import Secret, Secrets

BY = "web backend"


def oauth_source(settings: Settings, secrets: Secrets) -> OAuthSource | None:
    """What a `WebBackend` is given as `oauth`; None where a gateway holds the login.

    Each call of the source reads every secret anew, so a rotated one counts from the next login on. It blocks: a worker
    thread's business. Hand `secrets` the audit trail (`secrets.attach`) once there is one.
    """
    if not settings.oauth.in_use:
        return None
    return functools.partial(ibind_config, settings.oauth, secrets)


def ibind_config(oauth: OAuthSettings, secrets: Secrets, *, by: str = BY) -> Any:
    """Ibind's `OAuth1aConfig`. Sends nothing, and has ibind do nothing by itself (no login, no tickler, no logout).

    Blocks for as long as the places of the secrets do.

    Raises:
        ConfigurationError: something is missing or cannot work: every parameter is named, with what to do. `retryable`
            where only a source of secrets did not answer.
    """
    crypto("PublicKey.RSA")
    found = examine(oauth, secrets, by=by)
    found.raise_if_failed()
    return made_of(oauth, found)


def made_of(oauth: OAuthSettings, found: Examination) -> Any:
    """The configuration of an examination in which nothing failed."""
    if found.signature is None or found.encryption is None:
        raise ValueError("an examination that failed")
    # Keys go in as text: they were read and judged once, and a file swapped since is not read after them.
    for pem in (found.signature.pem, found.encryption.pem):
        Secret(pem)
    return _quiet_class()(
        init_oauth=False,
        init_brokerage_session=False,
        maintain_oauth=False,
        shutdown_oauth=False,
        oauth_rest_url=oauth.rest_url,
        live_session_token_endpoint=oauth.live_session_token_endpoint,
        access_token=found.access_token,
        access_token_secret=found.access_token_secret,
        consumer_key=found.consumer_key,
        dh_prime=found.prime,
        dh_generator=str(oauth.dh_generator),
        encryption_key_fp=None,
        encryption_key=found.encryption.pem,
        signature_key_fp=None,
        signature_key=found.signature.pem,
        realm=oauth.realm,
    )


@functools.cache
def _quiet_class() -> Any:
    load_ibind()
    from ibind.oauth.oauth1a import OAuth1aConfig

    class QuietOAuth1aConfig(OAuth1aConfig):  # type: ignore[misc]
        """`OAuth1aConfig` without secrets in its repr; it is not pickled."""

        def __repr__(self) -> str:
            return f"<OAuth1aConfig for {self.oauth_rest_url}>"

        __str__ = __repr__

        def __copy__(self) -> QuietOAuth1aConfig:
            copied = object.__new__(type(self))
            copied.__dict__.update(self.__dict__)
            return copied

        def __reduce_ex__(self, protocol: object) -> NoReturn:
            # A pickle is a file or a message somewhere: the keys would be in it.
            raise TypeError("A configuration with keys is not pickled: make it where it is used.")

    return QuietOAuth1aConfig
