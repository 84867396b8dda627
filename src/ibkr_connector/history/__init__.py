"""Historical bars: what may be asked, and the asking."""
