"""Ways to reach IBKR. `base` says what a backend is; each folder beside it is one."""
