"""From the arguments of a call to the key of its result."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from inspect import Parameter
from json.encoder import encode_basestring
from types import MappingProxyType
from typing import Any

from ..errors import InvalidOptionError, KeyFormError
from . import code_digest
from .canonical import Formless, KeyTypes, digest, form, form_of_carried, shortened
from .carried import carried_names, inner
from .carried_forms import CarriedForms
from .names import quoted, shown_function, shown_name

#: A kind of result, the function's name with what it carries, its version or code, the arguments, the salt. Plain text,
#: so that it can be read.
CallKey = tuple[str, str, str, str, str]

#: Kinds of results, with the version of the rules that keys are made by. A stream is stored as its items and what it
#: returned.
PLAIN = "memoize/2"
STREAM = "memoize/2 stream"
#: Of an item of a batch.
ITEM = "memoize/2 item"

#: The length of a `CallKey`.
KEY_LENGTH = 5

#: The arguments together are replaced by their digest if they are longer than this, in characters.
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
        name: str | None = None,
        version: str,
        on_change: str | None = None,
        depends_on: tuple[Any, ...] = (),
        ignore: tuple[str, ...],
        key: Callable[..., Any] | None,
        key_types: KeyTypes = MappingProxyType({}),
        typed: bool,
    ) -> None:
        self.function = function
        self.kind = kind
        self.key = key
        self.typed = typed
        self.ignore = frozenset(ignore)
        self._given_name = name
        self._given_version = version
        #: What becomes of results of other code; `None`: as is usual.
        self.on_change = on_change
        self._depends_on = depends_on
        self._key_types = key_types
        parameters = self.ignore - carried_names(function)
        self._signature = None if key is not None else _signature(function, self.shown_name, parameters)
        if key is not None and parameters:
            raise InvalidOptionError(
                f"memoize: with key=, which decides alone, ignore= has no use in {self.shown_name}"
            )
        self.carried = CarriedForms(function, typed, key_types, self.ignore, self.shown_name)

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
        """The function's name in messages."""
        return shown_function(self.function)

    @functools.cached_property
    def own_name(self) -> str:
        """The function's name, without what it carries."""
        return self.shown_name if self._given_name is None else self._given_name

    @property
    def name(self) -> str:
        """The function's name with what it carries."""
        return self.own_name + self.carried.now()

    @functools.cached_property
    def code(self) -> str:
        """The digest of the function's code, and of what it depends on.

        Raises:
            KeyFormError: Something of that has no canonical form.
        """
        plain = inner(self.function)
        digests = [code_digest.of_function(plain)]
        for it in self._depends_on:
            if isinstance(it, type):
                digests.append(f"{shown_name(it)} {code_digest.of_class(it)}")
                continue
            try:
                digests.append(form_of_carried(it, True, self._key_types, self.function))
            except Formless as formless:
                raise KeyFormError(
                    f"what {self.shown_name} depends on has no canonical form: it is {formless}. depends_on= takes "
                    f"functions, classes and plain data"
                ) from None
        return digests[0] if len(digests) == 1 else digest(repr(digests)).removeprefix("sha256:")[:32]

    @property
    def has_code(self) -> bool:
        """Whether the code tells results apart, or the programmer does by a version."""
        return self.on_change is not None or not self._given_version

    @functools.cached_property
    def version(self) -> str:
        """What the programmer gave, and the code if that tells results apart."""
        return self.version_of(self.code) if self.has_code else self._given_version

    def version_of(self, code: str) -> str:
        """The version of results that other code has made."""
        return f"{self._given_version}#{code}"

    @property
    def head(self) -> tuple[str, str]:
        """How all keys of the function begin, of any version."""
        return self.kind, self.name

    def of(self, args: Values, options: Names, salt: str = "") -> CallKey:
        """The key of a call.

        Raises:
            KeyFormError: An argument, or what the function carries, has no canonical form.
            TypeError: The arguments are not those of the function.
        """
        return self.kind, self.name, self.version, self.arguments(args, options), salt

    def of_items(self, bound: inspect.BoundArguments, name: str, items: list[Any], salt: str = "") -> list[CallKey]:
        """The keys of the items of a batch, which is the argument `name` of a call: each as if it were the argument.

        Raises:
            KeyFormError: An argument, an item, or what the function carries, has no canonical form.
        """
        kind, own, version = self.kind, self.name, self.version
        if self._signature is None:
            made = [self._given(bound, name, item) for item in items]
        else:
            parameters = [it for it in self._signature.parameters.values() if it.name not in self.ignore]
            place = next(place for place, it in enumerate(parameters) if it.name == name)
            before = "".join(self._named(it, bound.arguments[it.name]) + ", " for it in parameters[:place])
            after = "".join(", " + self._named(it, bound.arguments[it.name]) for it in parameters[place + 1 :])
            before = f"{before}{name}="
            made = [self._whole(f"{before}{self._part(name, item)}{after}") for item in items]
        return [(kind, own, version, each, salt) for each in made]

    def _given(self, bound: inspect.BoundArguments, name: str, item: Any) -> str:
        assert self.key is not None
        single = inspect.BoundArguments(bound.signature, bound.arguments | {name: item})
        return self._whole("key=" + self._part("key", self.key(*single.args, **single.kwargs)))

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
        return self._whole(whole)

    def _whole(self, whole: str) -> str:
        if len(whole) > ARGUMENTS_LIMIT:
            whole = digest(whole)
        return "typed " + whole if self.typed else whole

    def _named(self, parameter: Parameter, value: Any) -> str:
        name = parameter.name
        if parameter.kind is Parameter.VAR_POSITIONAL:
            return f"*{name}={self._part(name, value)}"
        if parameter.kind is Parameter.VAR_KEYWORD:
            pairs = [
                f"{quoted(given)}={self._part(given, value[given])}"
                for given in sorted(value)
                if given not in self.ignore
            ]
            return f"**{name}({', '.join(pairs)})"
        return f"{name}={self._part(name, value)}"

    def _part(self, name: str, value: Any) -> str:
        if type(value) is str:
            # What `form` does with one, without what that needs for others.
            return shortened(encode_basestring(value))
        try:
            return shortened(form(value, self.typed, self._key_types))
        except Formless as formless:
            raise self._refusal(name, formless) from None

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
            f"does not depend on it, memoize with ignore=({name!r},); else say what it is with key_types={{...}} or a "
            f"method __cachemere_key__ of its class; or with key=, a function of the same arguments that makes plain "
            f"data of them"
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
