"""From the arguments of a call to the key of its result."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from inspect import Parameter
from typing import Any

from ..errors import InvalidOptionError, KeyFormError
from .canonical import Formless, digest, form, function_name, shown_name

#: A kind of result, the function's name, its version, the arguments, the salt. Plain text, so that it can be read.
CallKey = tuple[str, str, str, str, str]

#: Kinds of results. A stream is stored as its items and what it returned.
PLAIN = "memoize"
STREAM = "memoize stream"

#: The length of a `CallKey`.
KEY_LENGTH = 5

#: Forms longer than this, in characters, are replaced by their digest: that of an argument, and that of all arguments.
ARGUMENT_LIMIT = 256
ARGUMENTS_LIMIT = 1024

Values = tuple[Any, ...]
Names = Mapping[str, Any]


class CallKeys:
    """Makes the keys of one function.

    The arguments are bound as a call would bind them, with the defaults applied: `f(1)`, `f(x=1)` and `f(1, y=default)`
    are one call. About 5 µs and what the forms of the arguments take.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        kind: str,
        version: str,
        ignore: tuple[str, ...],
        key: Callable[..., Any] | None,
        typed: bool,
    ) -> None:
        self.function = function
        self.kind = kind
        self.name = function_name(function)
        self.version = version
        self.key = key
        self.typed = typed
        self.ignore = frozenset(ignore)
        self._signature = None if key is not None else _signature(function, self.shown_name, self.ignore)
        if key is not None and ignore:
            raise InvalidOptionError(
                f"memoize: with key=, which decides alone, ignore= has no use in {self.shown_name}"
            )

    @property
    def ignored_places(self) -> list[int]:
        """The places of the ignored parameters among those that are given by place."""
        if self._signature is None:
            return []
        by_place = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
        parameters = self._signature.parameters.values()
        return [place for place, it in enumerate(parameters) if it.kind in by_place and it.name in self.ignore]

    @property
    def shown_name(self) -> str:
        """The function's name in messages, without a digest."""
        return shown_name(self.function)

    @property
    def head(self) -> tuple[str, str]:
        """How all keys of the function begin, of any version."""
        return self.kind, self.name

    def of(self, args: Values, options: Names, salt: str = "") -> CallKey:
        """The key of a call.

        Raises:
            KeyFormError: An argument has no canonical form.
            TypeError: The arguments are not those of the function.
        """
        return self.kind, self.name, self.version, self.arguments(args, options), salt

    def salt(self, salt: object) -> str:
        """The form of a salt."""
        return "salt=" + self._part("salt", salt)

    def arguments(self, args: Values, options: Names) -> str:
        """The arguments of a call as they stand in its key."""
        if self._signature is None:
            assert self.key is not None
            whole = "key=" + self._part("key", self.key(*args, **options))
        else:
            bound = self._signature.bind(*args, **options)
            bound.apply_defaults()
            parts = [
                self._named(parameter, bound.arguments[name])
                for name, parameter in self._signature.parameters.items()
                if name not in self.ignore
            ]
            whole = ", ".join(parts)
        if len(whole) > ARGUMENTS_LIMIT:
            whole = digest(whole)
        return "typed " + whole if self.typed else whole

    def _named(self, parameter: Parameter, value: Any) -> str:
        name = parameter.name
        if parameter.kind is Parameter.VAR_POSITIONAL:
            return f"*{name}={self._part(name, value)}"
        if parameter.kind is Parameter.VAR_KEYWORD:
            pairs = [
                f"{given}={self._part(given, value[given])}" for given in sorted(value) if given not in self.ignore
            ]
            return f"**{name}({', '.join(pairs)})"
        return f"{name}={self._part(name, value)}"

    def _part(self, name: str, value: Any) -> str:
        try:
            made = form(value, self.typed)
        except Formless as formless:
            raise self._refusal(name, formless) from None
        return made if len(made) <= ARGUMENT_LIMIT else digest(made)

    def _refusal(self, name: str, formless: Formless) -> KeyFormError:
        if name == "salt":
            return KeyFormError(
                f"the salt of {self.shown_name} has no canonical form: it holds {formless}; use a number or str"
            )
        if self.key is not None:
            return KeyFormError(
                f"what key= made of a call of {self.shown_name} has no canonical form: it holds {formless}"
            )
        return KeyFormError(
            f"the argument '{name}' of {self.shown_name} has no canonical form: it holds {formless}. If the result "
            f"does not depend on it, memoize with ignore=({name!r},); else with key=, a function of the same arguments "
            f"that makes plain data of them"
        )


def _signature(function: Callable[..., Any], name: str, ignore: frozenset[str]) -> inspect.Signature:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as cause:
        raise InvalidOptionError(f"memoize: the parameters of {name} are not known; give key=") from cause
    takes_any = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in signature.parameters.values())
    unknown = ignore - signature.parameters.keys()
    if unknown and not takes_any:
        raise InvalidOptionError(
            f"memoize: ignore= names {sorted(unknown)}, which {name}{signature} does not have as parameters"
        )
    return signature
