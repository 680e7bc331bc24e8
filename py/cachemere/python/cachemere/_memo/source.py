"""Where a function's source is: from its code object to its syntax tree.

A file can have been edited since the program read it. Its text is believed if the file is older than the process, or
if it compiles to the very code that is there; else there is no source. What the interpreter itself keeps (of a
notebook's cells, of zip files, of `python -c`) is looked up where it keeps it.
"""

from __future__ import annotations
import __future__

import ast
import functools
import linecache
import operator
import os
import sys
import time
from collections.abc import Iterator
from types import CodeType
from typing import Any

from .syntax import Function

#: A file that was changed this long before the process began, in seconds, was not changed while it ran: the clocks of
#: file systems and of processes tick some milliseconds apart.
_MARGIN = 0.05

#: The flags of `from __future__ import ...` among those of a code.
_FUTURES = functools.reduce(
    operator.or_, (getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)
)


def _process_began() -> float:
    """When this process began, by the clock of files."""
    try:
        with open("/proc/self/stat", "rb") as file:
            ticks = int(file.read().rpartition(b")")[2].split()[19])
        return time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, AttributeError, IndexError):
        # Later than it was: a file that was changed before this module was loaded is believed.
        return time.time()


_BEGAN = _process_began()


def find(code: CodeType, names: dict[str, Any]) -> Function | None:
    """The tree of a function's source, or `None` if there is none that is its code.

    Args:
        code: Of the function.
        names: The function's globals, in which its module's loader is.
    """
    lines = _lines(code, names)
    if lines is None or not 0 < code.co_firstlineno <= len(lines):
        return None
    try:
        if code.co_name == "<lambda>":
            return _lambda(code, lines)
        return _function(code, lines)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


# --- the text ---------------------------------------------------------------------------------------------------------


def _lines(code: CodeType, names: dict[str, Any]) -> list[str] | None:
    file = code.co_filename
    if file == "<string>":
        program = _program_of_command_line()
        return program if program is not None and _compiles_to(program, code) else None
    if file.startswith("<") and file.endswith(">"):
        # What a terminal or a notebook keeps; nobody edits that.
        return linecache.getlines(file, names) or None
    try:
        status = os.stat(file)
    except OSError:
        # In a zip file, or in what a loader of its own has, or gone.
        return linecache.getlines(file, names) or None
    known = linecache.cache.get(file)
    if known is not None and known[:2] != (status.st_size, status.st_mtime):
        linecache.checkcache(file)
    lines = linecache.getlines(file, names)
    if not lines:
        return None
    if max(status.st_mtime, status.st_ctime) < _BEGAN - _MARGIN or _compiles_to(lines, code):
        return lines
    return None


def _program_of_command_line() -> list[str] | None:
    """The program given to `python -c`."""
    words = sys.orig_argv
    for place, word in enumerate(words[1:], start=1):
        if not word.startswith("-"):
            return None
        # Options can be written together: `-uc`.
        if not word.startswith("--") and word.endswith("c") and place + 1 < len(words):
            return _dedented(words[place + 1]).splitlines(keepends=True)
    return None


def _dedented(program: str) -> str:
    """As Python itself does from version 3.14 on."""
    if sys.version_info < (3, 14):
        return program
    import textwrap

    return textwrap.dedent(program)


# Of each text that was compiled, by file: the codes in it. Some files in each process at most come here.
_compiled: dict[str, tuple[str, frozenset[CodeType]]] = {}


def _compiles_to(lines: list[str], code: CodeType) -> bool:
    text = "".join(lines)
    known = _compiled.get(code.co_filename)
    if known is None or known[0] != text:
        try:
            whole = compile(text, code.co_filename, "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
        known = _compiled[code.co_filename] = text, frozenset(_codes(whole))
    return code in known[1]


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


# --- the tree ---------------------------------------------------------------------------------------------------------


def _function(code: CodeType, lines: list[str]) -> Function | None:
    """By parsing no more than the function: from its first decorator to the line before one that is no more within."""
    start = code.co_firstlineno - 1
    indent = _indent(lines[start])
    last = min(max((line for it in _codes(code) for _, _, line in it.co_lines() if line), default=0), len(lines))
    end = max(last, start + 1)
    while True:
        # Within a text of several lines, or brackets, a line can begin anywhere.
        while end < len(lines) and not _ends_before(lines[end], indent):
            end += 1
        try:
            # What is indented stays as it is, since texts within it do.
            text = ("if 1:\n" if indent else "") + "".join(lines[start:end])
            tree = ast.parse(text)
            break
        except SyntaxError:
            if end >= len(lines):
                raise
            end += 1
    (statement,) = tree.body
    found: Any = statement.body[0] if isinstance(statement, ast.If) and indent else statement
    is_it = isinstance(found, (ast.FunctionDef, ast.AsyncFunctionDef)) and found.name == code.co_name
    return found if is_it else None


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _ends_before(line: str, indent: int) -> bool:
    stripped = line.lstrip()
    return bool(stripped) and not stripped.startswith("#") and len(line) - len(stripped) <= indent


# The trees of whole files, of those with lambdas: the last few.
_trees: dict[str, tuple[str, ast.Module]] = {}


def _lambda(code: CodeType, lines: list[str]) -> Function | None:
    """The lambda in the whole file that begins on the line, and is the same code if there are several."""
    text = "".join(lines)
    known = _trees.get(code.co_filename)
    if known is None or known[0] != text:
        if len(_trees) >= 8:
            _trees.clear()
        known = _trees[code.co_filename] = text, ast.parse(text)
    candidates = [
        node for node in ast.walk(known[1]) if isinstance(node, ast.Lambda) and node.lineno == code.co_firstlineno
    ]
    if len(candidates) > 1:
        candidates = [node for node in candidates if _is_same_code(node, code)]
    # Of several that are the same code, it does not matter which.
    return candidates[0] if candidates else None


def _is_same_code(node: ast.Lambda, code: CodeType) -> bool:
    """Whether it compiles to the code, as far as that can be told out of its place."""
    # With the variables of an enclosing function around it, so that they are what they were.
    free = [ast.arg(arg=name) for name in code.co_freevars]
    around = ast.Lambda(
        args=ast.arguments(posonlyargs=[], args=free, kwonlyargs=[], kw_defaults=[], defaults=[]), body=node
    )
    tree = ast.fix_missing_locations(ast.Expression(ast.copy_location(around, node)))
    whole = compile(tree, code.co_filename, "eval", flags=code.co_flags & _FUTURES, dont_inherit=True)
    return any(_alike(it, code) for it in _codes(whole))


def _alike(a: CodeType, b: CodeType) -> bool:
    ours = (a.co_code, a.co_names, a.co_varnames, a.co_freevars, a.co_cellvars, len(a.co_consts))
    return ours == (b.co_code, b.co_names, b.co_varnames, b.co_freevars, b.co_cellvars, len(b.co_consts)) and all(
        _alike(one, other)
        if isinstance(one, CodeType) and isinstance(other, CodeType)
        else (type(one), repr(one)) == (type(other), repr(other)) or (isinstance(one, str) and "<locals>" in one)
        for one, other in zip(a.co_consts, b.co_consts, strict=True)
    )
