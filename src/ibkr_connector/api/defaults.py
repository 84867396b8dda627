"""Defaults that can be told from the same word said by the caller.

`place_order` takes either the parts of an order or a whole `OrderRequest`. Beside a request every other argument would
be ignored, so it is refused; for that it must be known which arguments were given.
"""

from __future__ import annotations


class Default(str):
    """A text that nobody said."""

    __slots__ = ()


MARKET = Default("MKT")
BUY = Default("BUY")
