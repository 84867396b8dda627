"""Which changes are tried: one small change per mutant, found on the syntax tree and written into the text.

Annotations, decorators, docstrings, log calls, error messages and `raise X(...)` arguments are left alone: what they
say is for people, and a test that holds every word of them holds up every improvement.
"""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

_COMPARE: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE,),
    ast.LtE: (ast.Lt,),
    ast.Gt: (ast.GtE,),
    ast.GtE: (ast.Gt,),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
_CALLS = {"min": "max", "max": "min", "any": "all", "all": "any"}
_LOG = ("_log", "log", "logger")
_LONGEST = 110
"""Characters of code a key shows: enough to say which place is meant."""

Body = list[ast.stmt]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change. `key` names it by what it does, not where: it survives edits around it."""

    where: str
    """Class and function, or `<module>`."""
    was: str
    becomes: str
    number: int
    """1 for the first such change in `where`, 2 for the next."""
    operator: str
    first_line: int
    last_line: int
    start: int
    end: int
    text: str
    """What replaces the bytes from `start` to `end` of the file."""

    @property
    def key(self) -> str:
        """The name of this mutant within its module."""
        number = f" #{self.number}" if self.number > 1 else ""
        return f"{self.where}: {self.was} -> {self.becomes}{number}"

    def apply(self, source: bytes) -> bytes:
        """The file with this change."""
        return source[: self.start] + self.text.encode() + source[self.end :]


@dataclass(frozen=True, slots=True)
class _Change:
    operator: str
    node: ast.AST
    new: ast.AST


def mutants_of(source: bytes) -> list[Mutant]:
    """Every change to try in a file, top to bottom."""
    tree = ast.parse(source)
    starts = _line_starts(source)
    found: list[Mutant] = []
    counts: Counter[tuple[str, str, str]] = Counter()
    tried: set[tuple[int, int, str]] = set()
    for where, statement, change in _Walk(tree).changes():
        start, end = _span(change.node, starts)
        if (start, end, _text(change.new)) in tried:
            continue
        tried.add((start, end, _text(change.new)))
        was, becomes = _told(statement, change)
        counts[where, was, becomes] += 1
        found.append(
            Mutant(
                where=where,
                was=was,
                becomes=becomes,
                number=counts[where, was, becomes],
                operator=change.operator,
                first_line=min(_attribute(statement, "lineno"), _attribute(change.node, "lineno")),
                last_line=_attribute(change.node, "end_lineno"),
                start=start,
                end=end,
                text=_text(change.new),
            )
        )
    return found


def _text(node: ast.AST) -> str:
    text = ast.unparse(node)
    # Parentheses: the text lands in the middle of an expression, perhaps over several lines.
    return f"({text})" if isinstance(node, ast.expr) else text


def _line_starts(source: bytes) -> list[int]:
    starts, at = [0], 0
    for line in source.splitlines(keepends=True):
        at += len(line)
        starts.append(at)
    return starts


def _attribute(node: ast.AST, name: str) -> int:
    value = getattr(node, name)
    assert isinstance(value, int)
    return value


def _span(node: ast.AST, starts: list[int]) -> tuple[int, int]:
    begin = starts[_attribute(node, "lineno") - 1] + _attribute(node, "col_offset")
    return begin, starts[_attribute(node, "end_lineno") - 1] + _attribute(node, "end_col_offset")


def _told(statement: ast.stmt, change: _Change) -> tuple[str, str]:
    """The change as text: the widest expression around it that is not too long, before and after."""
    path = _path(_head(statement), change.node)
    for at, node in enumerate(path):
        if not isinstance(node, ast.expr | ast.stmt):
            continue
        was = " ".join(ast.unparse(node).split())
        if len(was) <= _LONGEST or node is change.node:
            after = _replaced(path[at:], change.new)
            return was[: 2 * _LONGEST], " ".join(ast.unparse(after).split())[: 2 * _LONGEST]
    raise AssertionError(ast.dump(change.node))


def _head(statement: ast.stmt) -> ast.stmt:
    """A compound statement without its body: a key must not change with what happens inside."""
    if not isinstance(statement, ast.If | ast.While | ast.For | ast.AsyncFor | ast.With | ast.AsyncWith):
        return statement
    head = copy.copy(statement)
    head.body = [ast.Expr(ast.Constant(...))]
    if isinstance(head, ast.If | ast.While | ast.For | ast.AsyncFor):
        head.orelse = []
    return head


def _path(top: ast.AST, node: ast.AST) -> list[ast.AST]:
    if top is node or _same_place(top, node):
        return [top]
    for child in ast.iter_child_nodes(top):
        rest = _path(child, node)
        if rest:
            return [top, *rest]
    return []


def _same_place(one: ast.AST, other: ast.AST) -> bool:
    """Whether `one` is the body-less copy of `other`."""
    return type(one) is type(other) and isinstance(one, ast.stmt) and _span_of(one) == _span_of(other)


def _span_of(node: ast.AST) -> tuple[object, ...]:
    return tuple(getattr(node, name, None) for name in ("lineno", "col_offset", "end_lineno", "end_col_offset"))


def _replaced(path: list[ast.AST], new: ast.AST) -> ast.AST:
    if len(path) == 1:
        return new
    parent, child, after = path[0], path[1], _replaced(path[1:], new)
    twin = copy.copy(parent)
    for name, value in ast.iter_fields(parent):
        if value is child:
            setattr(twin, name, after)
        elif isinstance(value, list) and any(one is child for one in value):
            setattr(twin, name, [after if one is child else one for one in value])
    return twin


class _Walk:
    """Goes through a file and yields (class and function, statement, change)."""

    def __init__(self, tree: ast.Module) -> None:
        self._tree = tree

    def changes(self) -> Iterator[tuple[str, ast.stmt, _Change]]:
        """Everything that can be changed, in the order of the file."""
        yield from self._body(self._tree.body, ())

    def _body(self, body: Body, names: tuple[str, ...]) -> Iterator[tuple[str, ast.stmt, _Change]]:
        where = ".".join(names) or "<module>"
        for statement in body:
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
                inner = (*names, statement.name)
                for default in (*statement.args.defaults, *(d for d in statement.args.kw_defaults if d)):
                    for change in _in_expression(default):
                        yield ".".join(inner), ast.copy_location(ast.Expr(default), default), change
                yield from self._body(statement.body, inner)
            elif isinstance(statement, ast.ClassDef):
                yield from self._body(statement.body, (*names, statement.name))
            elif not _is_left_alone(statement):
                for change in _in_statement(statement, in_function=bool(names)):
                    yield where, statement, change
                for inner_body in _bodies(statement):
                    yield from self._body(inner_body, names)


def _is_left_alone(statement: ast.stmt) -> bool:
    match statement:
        case ast.Import() | ast.ImportFrom() | ast.Assert() | ast.Pass() | ast.Global() | ast.Nonlocal():
            return True
        case ast.Expr(value=ast.Constant()):
            return True
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name)))) if name in _LOG:
            return True
        case ast.Assign(targets=[ast.Name(id=name)]) if name in ("__all__", "__slots__", "_log"):
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
    return False


def _bodies(statement: ast.stmt) -> Iterator[Body]:
    for name in ("body", "orelse", "finalbody"):
        yield getattr(statement, name, [])
    for handler in getattr(statement, "handlers", []):
        yield handler.body
    for case in getattr(statement, "cases", []):
        yield case.body


def _in_statement(statement: ast.stmt, *, in_function: bool) -> Iterator[_Change]:
    yield from _whole(statement, in_function=in_function)
    for expression in _expressions(statement):
        yield from _in_expression(expression)


def _whole(statement: ast.stmt, *, in_function: bool) -> Iterator[_Change]:
    """The statement left out, or its branches swapped."""
    gone = ast.copy_location(ast.Pass(), statement)
    match statement:
        case ast.Expr(value=ast.Call() | ast.Await()):
            yield _Change("removed call", statement, gone)
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]) if in_function:
            yield _Change("removed assignment", statement, gone)
        case ast.AugAssign():
            if type(statement.op) in _ARITHMETIC:
                other = copy.copy(statement)
                other.op = _ARITHMETIC[type(statement.op)]()
                yield _Change("arithmetic", statement, other)
            yield _Change("removed assignment", statement, gone)
        case ast.Raise() | ast.Delete():
            yield _Change("removed statement", statement, gone)
        case ast.Continue():
            yield _Change("removed statement", statement, gone)
        case ast.Break():
            yield _Change("removed statement", statement, gone)
        case ast.If() | ast.While() if not _is_not(statement.test):
            yield _Change("swapped branches", statement.test, ast.UnaryOp(ast.Not(), statement.test))
        case ast.Return(value=ast.expr() as value) if not _is_constant(value):
            yield _Change("returned None", value, ast.Constant(None))
        case ast.With(items=[item]) if item.optional_vars is None:
            yield _Change(
                "removed with", item.context_expr, ast.parse("__import__('contextlib').nullcontext()").body[0]
            )


def _is_not(node: ast.expr) -> bool:
    return isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)


def _is_constant(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, bool))


def _expressions(statement: ast.stmt) -> Iterable[ast.expr]:
    match statement:
        case ast.Raise():
            return ()  # the words of an error
        case ast.AnnAssign(value=value):
            return () if value is None else (value,)
        case ast.Match(subject=subject, cases=cases):
            return (subject, *(case.guard for case in cases if case.guard))
        case ast.With(items=items) | ast.AsyncWith(items=items):
            return tuple(item.context_expr for item in items)
        case ast.Try():
            return ()
    return tuple(child for child in ast.iter_child_nodes(statement) if isinstance(child, ast.expr))


def _in_expression(node: ast.expr) -> Iterator[_Change]:
    if isinstance(node, ast.JoinedStr):
        return  # text for people
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("cast", "TypeVar", "field"):
        return
    for rule in _RULES:
        yield from rule(node)
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.comprehension):
            yield from _in_expression(child.iter)
            for test in child.ifs:
                yield _Change("comprehension test", test, ast.Constant(value=True))
                yield from _in_expression(test)
        elif isinstance(child, ast.keyword):
            if child.arg not in ("remedy", "message", "legal", "strict"):  # words of an error; an assertion
                yield from _in_expression(child.value)
        elif isinstance(child, ast.expr):
            yield from _in_expression(child)


def _compare(node: ast.expr) -> Iterator[_Change]:
    if isinstance(node, ast.Compare):
        for at, operator in enumerate(node.ops):
            for other in _COMPARE[type(operator)]:
                new = copy.copy(node)
                new.ops = [other() if i == at else op for i, op in enumerate(node.ops)]
                yield _Change("comparison", node, new)


def _boolean(node: ast.expr) -> Iterator[_Change]:
    if isinstance(node, ast.BoolOp):
        new = copy.copy(node)
        new.op = ast.And() if isinstance(node.op, ast.Or) else ast.Or()
        yield _Change("boolean", node, new)
        for at in range(len(node.values)):
            rest = node.values[:at] + node.values[at + 1 :]
            yield _Change("boolean", node, rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield _Change("boolean", node, node.operand)
    elif isinstance(node, ast.IfExp) and not _is_not(node.test):
        yield _Change("swapped branches", node.test, ast.UnaryOp(ast.Not(), node.test))


def _arithmetic(node: ast.expr) -> Iterator[_Change]:
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC and not _is_text(node):
        new = copy.copy(node)
        new.op = _ARITHMETIC[type(node.op)]()
        yield _Change("arithmetic", node, new)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield _Change("arithmetic", node, node.operand)


def _is_text(node: ast.BinOp) -> bool:
    sides = (node.left, node.right)
    return any(
        isinstance(s, ast.JoinedStr) or (isinstance(s, ast.Constant) and isinstance(s.value, str)) for s in sides
    )


def _constant(node: ast.expr) -> Iterator[_Change]:
    if not isinstance(node, ast.Constant):
        return
    if isinstance(node.value, bool):
        yield _Change("constant", node, ast.Constant(not node.value))
    elif isinstance(node.value, int | float):
        yield _Change("constant", node, ast.Constant(node.value + 1))


def _call(node: ast.expr) -> Iterator[_Change]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _CALLS:
        yield _Change("call", node.func, ast.Name(_CALLS[node.func.id]))


_RULES: tuple[Callable[[ast.expr], Iterator[_Change]], ...] = (_compare, _boolean, _arithmetic, _constant, _call)
