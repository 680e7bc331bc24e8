"""A function's syntax tree as a text that is the same on all versions of Python, and what it takes from outside.

`ast.dump` writes what a version's grammar has: fields come and go. Here the fields are a closed table, in an order of
our own. Left out is what changes nothing in what the function does: positions, comments (which no tree has),
annotations of variables and parameters, the function's own docstring, its name, and its decorators, which take the
function as it is. In a class within a function annotations and docstrings stay: libraries make fields of them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

#: The fields of each kind of node, in this order for ever. Of one that is not here: as its own version has them.
_FIELDS: dict[str, tuple[str, ...]] = {
    "FunctionDef": ("name", "args", "body", "decorator_list"),
    "AsyncFunctionDef": ("name", "args", "body", "decorator_list"),
    "ClassDef": ("name", "bases", "keywords", "body", "decorator_list"),
    "Lambda": ("args", "body"),
    "arguments": ("posonlyargs", "args", "vararg", "kwonlyargs", "kw_defaults", "kwarg", "defaults"),
    "arg": ("arg",),
    "keyword": ("arg", "value"),
    "alias": ("name", "asname"),
    "withitem": ("context_expr", "optional_vars"),
    "comprehension": ("target", "iter", "ifs", "is_async"),
    "ExceptHandler": ("type", "name", "body"),
    "match_case": ("pattern", "guard", "body"),
    # Statements.
    "Return": ("value",),
    "Delete": ("targets",),
    "Assign": ("targets", "value"),
    "AugAssign": ("target", "op", "value"),
    "AnnAssign": ("target", "annotation", "value"),
    "For": ("target", "iter", "body", "orelse"),
    "AsyncFor": ("target", "iter", "body", "orelse"),
    "While": ("test", "body", "orelse"),
    "If": ("test", "body", "orelse"),
    "With": ("items", "body"),
    "AsyncWith": ("items", "body"),
    "Match": ("subject", "cases"),
    "Raise": ("exc", "cause"),
    "Try": ("body", "handlers", "orelse", "finalbody"),
    "TryStar": ("body", "handlers", "orelse", "finalbody"),
    "Assert": ("test", "msg"),
    "Import": ("names",),
    "ImportFrom": ("module", "names", "level"),
    "Global": ("names",),
    "Nonlocal": ("names",),
    "Expr": ("value",),
    # Expressions.
    "BoolOp": ("op", "values"),
    "NamedExpr": ("target", "value"),
    "BinOp": ("left", "op", "right"),
    "UnaryOp": ("op", "operand"),
    "IfExp": ("test", "body", "orelse"),
    "Dict": ("keys", "values"),
    "Set": ("elts",),
    "ListComp": ("elt", "generators"),
    "SetComp": ("elt", "generators"),
    "DictComp": ("key", "value", "generators"),
    "GeneratorExp": ("elt", "generators"),
    "Await": ("value",),
    "Yield": ("value",),
    "YieldFrom": ("value",),
    "Compare": ("left", "ops", "comparators"),
    "Call": ("func", "args", "keywords"),
    "FormattedValue": ("value", "conversion", "format_spec"),
    "JoinedStr": ("values",),
    "Attribute": ("value", "attr"),
    "Subscript": ("value", "slice"),
    "Starred": ("value",),
    "Name": ("id",),
    "List": ("elts",),
    "Tuple": ("elts",),
    "Slice": ("lower", "upper", "step"),
    # Patterns.
    "MatchValue": ("value",),
    "MatchSingleton": ("value",),
    "MatchSequence": ("patterns",),
    "MatchMapping": ("keys", "patterns", "rest"),
    "MatchClass": ("cls", "patterns", "kwd_attrs", "kwd_patterns"),
    "MatchStar": ("name",),
    "MatchAs": ("pattern", "name"),
    "MatchOr": ("patterns",),
}

#: Of versions that have more: who reads and who writes is in the tree already, the rest says nothing that runs.
_NEVER = frozenset({"ctx", "type_comment", "type_params", "kind", "returns", "str"})

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def dump(function: Function) -> str:
    """The text of a function: what it does, whatever it is called and wherever it stands."""
    parts = [type(function).__name__]
    if isinstance(function, ast.Lambda):
        _node(function.args, parts)
        _node(function.body, parts)
    else:
        _node(function.args, parts)
        _body(function, parts)
    return "".join(parts)


def _body(function: ast.FunctionDef | ast.AsyncFunctionDef, parts: list[str]) -> None:
    body = function.body
    if _is_docstring(body[0]):
        body = body[1:]
    _list(body, parts)


def _is_docstring(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _value(it: Any, parts: list[str]) -> None:
    if it.__class__ is str:
        # Names, which need no quotes.
        parts.append(f" {it}")
    elif it is None:
        parts.append(" -")
    elif it.__class__ is list:
        _list(it, parts)
    elif isinstance(it, ast.AST):
        _node(it, parts)
    else:
        parts.append(f" {it!r}")


def _list(items: list[Any], parts: list[str], in_class: bool = False) -> None:
    parts.append("[")
    for item in items:
        if item.__class__ is ast.AnnAssign and not in_class:
            # Without its annotation, which is nothing if nothing is assigned.
            if item.value is not None:
                parts.append("(Assign[")
                _node(item.target, parts)
                parts.append("]")
                _node(item.value, parts)
                parts.append(")")
        else:
            _value(item, parts)
    parts.append("]")


def _node(node: Any, parts: list[str]) -> None:
    name = node.__class__.__name__
    if name == "Name":
        parts.append(f"(Name {node.id})")
        return
    if name == "Constant":
        _constant(node.value, parts)
        return
    if name == "JoinedStr":
        _joined(node, parts)
        return
    parts.append(f"({name}")
    fields = _FIELDS.get(name)
    if fields is None:
        # An operator, which has none, or something newer than this table.
        fields = tuple(sorted(field for field in node._fields if field not in _NEVER))
    for field in fields:
        if field == "body" and isinstance(node, _FUNCTIONS):
            _body(node, parts)
        elif field == "body" and name == "ClassDef":
            _list(node.body, parts, in_class=True)
        else:
            _value(getattr(node, field, None), parts)
    parts.append(")")


def _constant(it: Any, parts: list[str]) -> None:
    kind = it.__class__
    if kind is str:
        parts.append(f"(s{len(it)}:{it})")
    elif kind is int:
        # Python refuses to write very long numbers in decimal.
        parts.append(f"(i{it:x})")
    else:
        parts.append(f"({kind.__name__} {it!r})")


def _joined(node: ast.JoinedStr, parts: list[str]) -> None:
    """An f-string. Versions differ in how they cut what stands between its fields."""
    parts.append("(f")
    text = ""
    for it in node.values:
        if isinstance(it, ast.Constant):
            text += str(it.value)
            continue
        if text:
            _constant(text, parts)
            text = ""
        _value(it, parts)
    if text:
        _constant(text, parts)
    parts.append(")")


# --- what is taken ----------------------------------------------------------------------------------------------------


class Uses(NamedTuple):
    """What a function does with variables of enclosing functions."""

    #: Those it reads.
    read: frozenset[str]
    #: Those it only tells something, without asking for an answer: `calls.append(x)`, `with lock:`.
    told: frozenset[str]


def uses(function: Function, names: Iterable[str]) -> Uses:
    """How the function uses these variables. Those in neither set are only written: `count += 1`, `seen[x] = 1`."""
    of_interest = frozenset(names)
    body: list[Any] = [function.args]
    body += [function.body] if isinstance(function, ast.Lambda) else function.body
    found = {use for node in body for use in _uses(node)}
    read = {name for name, is_told in found if not is_told} & of_interest
    return Uses(frozenset(read), frozenset({name for name, is_told in found if is_told} & of_interest - read))


def _uses(node: ast.AST) -> Iterator[tuple[str, bool]]:
    """Names, and whether they are only told something."""
    if isinstance(node, ast.Name):
        if isinstance(node.ctx, ast.Load):
            yield node.id, False
    elif isinstance(node, ast.Expr) and (call := _call_of_method(node.value)) is not None:
        yield call[0], True
        for inside in call[1]:
            yield from _uses(inside)
    elif isinstance(node, ast.withitem) and isinstance(node.context_expr, ast.Name) and node.optional_vars is None:
        yield node.context_expr.id, True
    elif isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load) and isinstance(node.value, ast.Name):
        yield node.value.id, True
        yield from _uses(node.slice)
    else:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super":
            yield "__class__", False
        for child in ast.iter_child_nodes(node):
            yield from _uses(child)


def _call_of_method(value: ast.expr) -> tuple[str, list[ast.AST]] | None:
    """Name and arguments of `name.method(...)`, awaited or not; `None` if it is something else."""
    call = value.value if isinstance(value, ast.Await) else value
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name):
        return call.func.value.id, [*call.args, *call.keywords]
    return None
