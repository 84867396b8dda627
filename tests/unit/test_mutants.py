"""The mutants: each is another program, named by what it changes; explanations name changes that exist."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tools.mutants import explained
from tools.mutants.operators import mutants_of
from tools.mutants.plan import CORE, PACKAGE, core_of, modules, sample, selected
from tools.mutants.results import MARK, Result, Store, table, write_between

CODE = b'''
LIMIT = 3

class Box:
    """Words."""

    size: int = 4

    def put(self, n: int, *, hard: bool = False) -> int | None:
        with self.lock:
            if n > LIMIT and not hard:
                raise ValueError(f"{n} is more than {LIMIT + 1}")
        self.size = max(self.size, n)
        self.count += 1
        _log.info("put %s", n + 1)
        self.tell()
        return [one for one in self.all if one is not None] or None
'''


def keys(source: bytes) -> set[str]:
    return {mutant.key for mutant in mutants_of(source)}


def test_every_kind_of_change_is_tried_and_words_are_left_alone() -> None:
    found, given = keys(CODE), "return [one for one in self.all if one is not None] or None"
    assert found >= {
        "<module>: LIMIT = 3 -> LIMIT = 4",
        "Box: size: int = 4 -> size: int = 5",
        "Box.put: False -> True",
        "Box.put: with self.lock: ... -> with __import__('contextlib').nullcontext(): ...",
        "Box.put: if n > LIMIT and (not hard): ... -> if n >= LIMIT and (not hard): ...",
        "Box.put: if n > LIMIT and (not hard): ... -> if n > LIMIT and hard: ...",
        "Box.put: if n > LIMIT and (not hard): ... -> if n > LIMIT: ...",
        "Box.put: if n > LIMIT and (not hard): ... -> if n > LIMIT or not hard: ...",
        "Box.put: if n > LIMIT and (not hard): ... -> if not (n > LIMIT and (not hard)): ...",
        "Box.put: raise ValueError(f'{n} is more than {LIMIT + 1}') -> pass",
        "Box.put: self.size = max(self.size, n) -> pass",
        "Box.put: self.size = max(self.size, n) -> self.size = min(self.size, n)",
        "Box.put: self.count += 1 -> self.count -= 1",
        "Box.put: self.tell() -> pass",
        f"Box.put: {given} -> return None",
        f"Box.put: {given} -> return [one for one in self.all if True] or None",
    }
    assert not any("_log" in key or "Words" in key or "LIMIT + 1" in key.partition(" -> ")[2] for key in found)


def test_each_mutant_is_another_program_than_the_code_and_than_the_others() -> None:
    texts = [ast.dump(ast.parse(mutant.apply(CODE))) for mutant in mutants_of(CODE)]
    assert len({ast.dump(ast.parse(CODE)), *texts}) == len(texts) + 1


def test_a_key_survives_moved_lines_and_a_changed_body() -> None:
    moved = b"import os\n\n\n" + CODE.replace(b"self.tell()", b"self.tell()\n        self.tell_again(5)")
    assert keys(CODE) <= keys(moved)
    twice = CODE.replace(b"        self.tell()\n", b"        self.tell()\n        self.tell()\n")
    assert "Box.put: self.tell() -> pass #2" in keys(twice)


def test_only_names_a_module_a_folder_or_the_core(repo_dir: Path) -> None:
    core = [name for names in CORE.values() for name in names]
    assert selected(repo_dir, ["core"]) == core
    assert set(core) < set(selected(repo_dir, []))
    assert selected(repo_dir, ["resilience/window"]) == ["resilience/window.py"]
    assert all(core_of(name) for name in core)
    with pytest.raises(ValueError, match="no module matches"):
        selected(repo_dir, ["nonsense"])


def test_a_sample_takes_so_many_of_each_module_and_the_same_ones_again() -> None:
    waiting = [("a.py", number) for number in range(100)] + [("b.py", number) for number in range(3)]
    found = sample(waiting, 10, 1)
    assert found == sample(waiting, 10, 1) != sample(waiting, 10, 2)
    assert [module for module, _ in found] == ["a.py"] * 10 + ["b.py"] * 3
    assert set(found) <= set(waiting)
    assert found == sorted(found)


def test_every_explained_survivor_names_a_change_that_exists(repo_dir: Path) -> None:
    entries = explained.load(repo_dir / explained.FILE)
    known = {name: keys((repo_dir / PACKAGE / name).read_bytes()) for name in modules(repo_dir)}
    assert explained.stale(entries, known) == []
    assert explained.stale({("risk/engine.py", "gone: a -> b"): "why"}, known) == [("risk/engine.py", "gone: a -> b")]


def test_an_explanation_without_a_reason_or_twice_is_refused(tmp_path: Path) -> None:
    entry = '[["a.py"]]\nwhere = "f"\nwas = "x"\nbecomes = "y"\nwhy = "{why}"\n'
    path = tmp_path / "explained.toml"
    path.write_text(entry.format(why="nobody reads it"), "utf-8")
    assert explained.load(path) == {("a.py", "f: x -> y"): "nobody reads it"}
    for text, problem in ((entry.format(why="ok"), "no reason"), (2 * entry.format(why="nobody reads it"), "twice")):
        path.write_text(text, "utf-8")
        with pytest.raises(ValueError, match=problem):
            explained.load(path)


def test_a_kill_holds_while_the_module_is_the_same_and_a_survivor_only_while_the_tests_are(tmp_path: Path) -> None:
    store = Store(tmp_path / "results.jsonl")
    store.add(Result("a.py", "one", "survived", 1.0, "src1", "tests1"))
    store.add(Result("a.py", "one", "killed", 1.0, "src1", "tests2"))
    store.add(Result("a.py", "two", "survived", 1.0, "src1", "tests1"))
    again = Store(tmp_path / "results.jsonl")
    assert again.known == store.known
    assert again.still_true("a.py", "one", "src1", "tests9") is not None
    assert again.still_true("a.py", "one", "src2", "tests2") is None
    assert again.still_true("a.py", "two", "src1", "tests1") is not None
    assert again.still_true("a.py", "two", "src1", "tests2") is None
    assert again.still_true("a.py", "two", "src1", "tests2", explained=True) is not None
    assert again.still_true("a.py", "two", "src2", "tests2", explained=True) is None


def test_the_record_counts_each_fate_and_goes_between_the_marks(tmp_path: Path) -> None:
    module = CORE["breaker core"][0]
    fates = ("killed", "killed", "timeout", "survived", "survived", "unseen")
    results = [Result(module, str(n), verdict, 1.0, "s", "t") for n, verdict in enumerate(fates)]
    why = {(module, "3"): "nobody reads it", (module, "0"): "wrong, it was killed"}
    rows = table(results, why, {module: 8, "orders/other.py": 3})
    assert rows[2] == f"| `{module}` | breaker core | 8 | 2 | 1 | 1 | 1 | 1 | 2 |"
    assert rows[3] == "| `orders/other.py` |  | 3 | 0 | 0 | 0 | 0 | 0 | 3 |"
    page = tmp_path / "page.md"
    page.write_text(f"before\n{MARK[0]}\nold\n{MARK[1]}\nafter\n", "utf-8")
    write_between(page, rows)
    assert page.read_text("utf-8") == "\n".join(("before", MARK[0], *rows, MARK[1], "after", ""))
    page.write_text("no marks", "utf-8")
    with pytest.raises(ValueError, match="needs the lines"):
        write_between(page, rows)


FULL_DISK = """
import resource

import pytest


@pytest.fixture
def no_room():
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def test_full(no_room):
    pass


def test_talkative():
    print("x" * 200_000)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.timeout(60)
def test_a_test_that_plays_a_full_disk_kills_nothing_by_itself(repo_dir: Path, tmp_path: Path) -> None:
    """While it runs its process can write no file; were its report one, every mutant it meets would count as killed."""
    (tmp_path / "test_full.py").write_text(FULL_DISK + "    assert False\n", "utf-8")
    jobs = [
        {"kind": "mutant", "tests": [f"test_full.py{which}"], "limit": 20.0, "log": str(tmp_path / "log.txt")}
        for which in ("::test_full", "")
    ]
    done = subprocess.run(
        [sys.executable, "-m", "tools.mutants.worker"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(repo_dir)},
        input="".join(json.dumps(job) + "\n" for job in jobs),
        capture_output=True,
        text=True,
        check=True,
    )
    assert [json.loads(line)["verdict"] for line in done.stdout.splitlines()] == ["survived", "killed"]
    log = (tmp_path / "log.txt").read_text("utf-8")
    assert "x" * 200_000 in log
    assert "1 failed, 1 passed" in log
