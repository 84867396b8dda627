"""Whose account is at the other end, and whether it may be touched (INV-07). Pure."""

from __future__ import annotations

from ibkr_connector.errors import LiveTradingRefused

PAPER_PREFIX = "D"
"""Accounts of IBKR's paper system begin with D (DU, DUP, DF …); live ones do not."""


def is_paper(account: str) -> bool:
    """Whether an account id is one of the paper system."""
    return account.startswith(PAPER_PREFIX)


def choose_account(accounts: tuple[str, ...], *, mode: str, pinned: str, allow_live: bool) -> str:
    """The account to use, or `LiveTradingRefused`.

    Paper mode: every account of the login must be a paper account. Live mode needs all three: `mode = live`, the
    account pinned as `account_id`, and `allow_live=True` in code; then the pinned account must be there.
    """
    if not accounts:
        raise LiveTradingRefused("the gateway reported no account.", accounts=[])
    if mode != "live":
        real = [account for account in accounts if not is_paper(account)]
        if real:
            raise LiveTradingRefused(
                f"SAFETY CHECK FAILED: not a paper trading account: {', '.join(_masked(account) for account in real)}.",
                accounts=[_masked(account) for account in accounts],
            )
    elif not allow_live:
        raise LiveTradingRefused("mode = live, but the program did not say allow_live=True.")
    elif not pinned:
        raise LiveTradingRefused("mode = live needs the account pinned as account_id.")
    if not pinned:
        if len(accounts) > 1:
            raise LiveTradingRefused(
                f"the login has {len(accounts)} accounts and none is chosen.",
                remedy="Set account_id to the one to use.",
                accounts=[_masked(account) for account in accounts],
            )
        return accounts[0]
    if pinned not in accounts:
        raise LiveTradingRefused(
            f"account_id {_masked(pinned)} is not among the accounts of this login.",
            remedy="Correct account_id, or log in as the right user.",
            accounts=[_masked(account) for account in accounts],
        )
    return pinned


def _masked(account: str) -> str:
    """Enough to recognise, not enough to use: `DU12***67`; paper accounts are shown whole."""
    return account if is_paper(account) else f"{account[:2]}***{account[-2:]}"
