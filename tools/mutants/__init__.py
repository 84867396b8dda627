"""Mutation testing: change one thing in the code, and see whether a test notices. Run with `./dev mutants`.

Why not mutmut or cosmic-ray (both good, both tried): mutmut 3 leaves decorated functions, class bodies and module
constants alone and breaks the tests that start a process; cosmic-ray starts a fresh interpreter for each mutant; both
name a mutant by its number in the file, so that a list of explained survivors dies with the next edit.
"""
