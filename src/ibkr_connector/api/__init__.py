"""What a user calls: one class per resource.

Arguments are checked here, on the caller's thread; the work is done on the session's.
"""
