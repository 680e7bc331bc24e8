"""What functions and classes are called, however the program was started.

A module goes by the name it is imported under, also when it is the program itself: `python qa.py` and `import qa` have
the same functions. Where the files are is no part of it, so that a project can be moved.
"""

from __future__ import annotations

import os
import re
import sys
import types
from collections.abc import Mapping
from json.encoder import encode_basestring
from typing import Any

from . import code_digest
from .carried import inner, is_method_of_builtin

#: A program that has neither a file nor a name: of `python -c`, a terminal or a notebook.
NAMELESS = "__main__"

#: Of packages, names and `<locals>`.
_PLAIN = re.compile(r"[\w.<>]+")


def is_program(module: Any) -> bool:
    """Whether it is the program itself, which each process calls something else."""
    return module in ("__main__", "__mp_main__")


def module_name(module: str, names: Mapping[str, Any] | None = None) -> str:
    """A module's name, by its import; that of the program by what it would be imported as.

    Args:
        module: What the module calls itself.
        names: Its globals, if they are at hand.
    """
    if not is_program(module):
        return module
    if names is None:
        names = vars(sys.modules.get(module, types))
    spec = names.get("__spec__")
    # Of a directory or a zip file, Python calls the program's module what it always calls it.
    if spec is not None and not is_program(spec.name):
        return str(spec.name)
    file = names.get("__file__")
    # Of a program that comes through a pipe, Python calls the file "<stdin>".
    return NAMELESS if file is None or file.startswith("<") else _imported_as(file)


def _imported_as(file: str) -> str:
    folder, name = os.path.split(os.path.abspath(file))
    parts = [os.path.splitext(name)[0]]
    while os.path.exists(os.path.join(folder, "__init__.py")):
        folder, name = os.path.split(folder)
        parts.append(name)
    return ".".join(reversed(parts))


def shown_name(it: Any) -> str:
    """Module and qualified name of a function or class, as messages have them."""
    module: Any = getattr(it, "__module__", None)
    if module is None:
        # A method of a builtin class.
        module = getattr(getattr(it, "__objclass__", None), "__module__", "builtins")
    return f"{module_name(module, getattr(it, '__globals__', None) if is_program(module) else None)}.{it.__qualname__}"


def shown_function(function: Any) -> str:
    """As :func:`shown_name`, of whatever can be called: a bound method and a partial have their function's name."""
    plain = inner(function)
    if is_method_of_builtin(plain):
        return f"{shown_name(type(plain.__self__))}.{plain.__name__}"
    return shown_name(plain)


def function_name(function: Any) -> str:
    """As :func:`shown_name`; of a function of the program itself, with a digest of its code."""
    name = shown_name(function)
    return f"{name}#{code_digest.of_function(function)}" if is_program(function.__module__) else name


def type_name(kind: type) -> str:
    """Module and qualified name of a class, which nothing else in a canonical form looks like.

    Of a program without a name, with a digest of the class.
    """
    module = module_name(kind.__module__) if type(kind.__module__) is str else "builtins"
    whole = f"{quoted(module)}:{quoted(kind.__qualname__)}"
    return f"{whole}#{code_digest.of_class(kind)}" if module == NAMELESS else whole


def quoted(name: str) -> str:
    """A name as it is; in quotes if it could be taken for something else."""
    plain = str.__str__(name)
    return plain if _PLAIN.fullmatch(plain) else encode_basestring(plain)
