"""The Web backend: IBKR's Client Portal Web API, spoken by the unmodified ibind.

ibind's clients are used for requests, signatures and websocket frames, and nothing else of them: its retries, its
answers to order questions, its tickler and its signal handlers would each do something to orders that nobody asked for.

Nothing is imported here: who does not use this backend does not load what it stands on.
"""
