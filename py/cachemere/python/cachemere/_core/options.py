"""From the options of the faces to an opened store of the native half."""

from __future__ import annotations

import enum
import os
import pickle
import re
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from .._engine import Store
from .._forms.forms import Forms
from ..errors import ClosedError, InvalidOptionError
from . import checks
from .handed_out import write_all_back
from .secrets import Secret, SecretSource, check_secret, of_environment
from .which_engine import require_rocksdb


class NotGiven(enum.Enum):
    """What tells an option that is left out from one that came to be `None`."""

    NOT_GIVEN = "not given"

    def __repr__(self) -> str:
        return "<not given>"


NOT_GIVEN: Final = NotGiven.NOT_GIVEN
Serializers = tuple[Callable[[Any], Any], Callable[[Any], Any]]

#: Bytes of decoded objects that a handle keeps in memory unless told otherwise.
MEMORY_BYTES = 128 << 20

#: The least limit of the files' size that the engine can keep.
LEAST_MAX_BYTES = 4 << 20

# Without a lock, which a fork could copy while it is held: each use is a single one of the dict's own operations.
_secrets: dict[Path, Secret] = {}


@dataclass(frozen=True)
class Options:
    """All that describes how a namespace of a store is opened. Never the secret, so that it can be pickled."""

    #: `None`: the default one, found at first use.
    path: Path | None
    namespace: str = "default"
    backend: str | None = None
    ttl: float | None = None
    idle: float | None = None
    max_bytes: int | None = None
    max_entries: int | None = None
    compression: bool | None = None
    durability: str = "checkpoint"
    maintenance: str | None = None
    read_only: bool = False
    #: Where this process may not write, of a handle that writes if it can.
    read_only_if_unwritable: bool = False
    allow_foreign_owner: bool = False
    allow_unsupported_file_system: bool = False
    memory_bytes: int = MEMORY_BYTES
    allow_pickle: bool = False
    pickle_keys: bool = False
    value_serializers: Serializers | None = None
    key_serializers: Serializers | None = None
    #: With the classes their fields name.
    types: tuple[type, ...] = field(default=())
    #: Of an adapter, without.
    exact_types: tuple[type, ...] = field(default=())
    encrypted: bool = False
    #: Of the default store: the environment may have its secret, that of whichever process opens it.
    secret_of_environment: bool = False

    def __post_init__(self) -> None:
        checks.namespace(self.namespace)
        if self.backend is not None:
            checks.choice("backend", self.backend, ("lmdb", "rocksdb"))
            if self.backend == "rocksdb":
                require_rocksdb("backend='rocksdb'")
        checks.choice("durability", self.durability, ("checkpoint", "sync"))
        # The native half takes seconds and bytes.
        for name in ("ttl", "idle"):
            object.__setattr__(self, name, checks.seconds(name, getattr(self, name)))
        if self.max_bytes is not None:
            object.__setattr__(self, "max_bytes", checks.size("max_bytes", self.max_bytes, LEAST_MAX_BYTES))
        if self.max_entries is not None:
            checks.count("max_entries", self.max_entries)
        object.__setattr__(self, "memory_bytes", checks.size("memory_bytes", self.memory_bytes, 0))
        if self.compression is not None:
            checks.flag("compression", self.compression)
        for name in ("read_only", "allow_pickle", "allow_foreign_owner", "allow_unsupported_file_system"):
            checks.flag(name, getattr(self, name))

    @property
    def serializer(self) -> str:
        """What the store records, so that a handle with other serializers is told instead of misreading entries."""
        parts = ["python"]
        if self.key_serializers is not None:
            parts.append("own keys")
        if self.value_serializers is not None:
            parts.append("own values")
        return "+".join(parts)

    # How the handle tells objects from bytes. The command line has ways of its own, which build fewer objects.

    def forms(self) -> Forms:
        """How it tells objects from bytes."""
        return Forms(self.types, self.exact_types)

    def _pickle(self) -> Serializers | None:
        return (_dumps, pickle.loads) if self.allow_pickle else None

    def open(self, secret: Secret | None, origin: Store | None = None, forms: Forms | None = None) -> Store:
        """A store of these options. The files are opened at its first use.

        While `origin`, or another that was made of it, is open, the secret of the same path is not asked again.
        """
        if self.path is None:
            raise InvalidOptionError("path is missing")
        if secret is None and self.encrypted:
            secret = known_secret(self.path)
        secret_from = None
        if secret is None and self.secret_of_environment and (found := of_environment()) is not None:
            secret, secret_from = found
        forms = forms or self.forms()
        # By name, as `src/options.rs` takes them: those of this class, and what is made of them.
        described = {each.name: getattr(self, each.name) for each in fields(self)} | {
            "secret": secret,
            "secret_from": secret_from,
            "serializer": self.serializer,
            "pack": forms.pack,
            "unpack": forms.unpack,
            "canonical": forms.canonical,
            "pickle": self._pickle(),
        }
        store = Store(described, origin)
        _opened.add(store)
        return store


def _dumps(value: Any, protocol: int = 5) -> bytes:
    return pickle.dumps(value, protocol)


def given_secret(secret: object) -> Secret | None:
    """Returns the option `encryption_key` as given by the user; `None` if it was left out."""
    if secret is NOT_GIVEN:
        return None
    if secret is None:
        # Of a variable of the environment that is not set, say. Nobody should believe that such a store is encrypted.
        raise InvalidOptionError(
            "encryption_key is None, which would keep everything in plain text: give 32 bytes or a passphrase, or "
            "leave encryption_key out for a store that is not encrypted"
        )
    return check_secret(secret)


def unlock(path: str | os.PathLike[str], encryption_key: SecretSource) -> None:
    """Tells this process the secret of a store, for handles that come by pickle.

    A handle is pickled without its secret. In the process that made it the secret is known; another one is told with
    this function before it uses the handle::

        with ProcessPoolExecutor(initializer=cachemere.unlock, initargs=(path, key)) as pool: ...
    """
    _secrets[resolve(path)] = check_secret(encryption_key)


def note_secret(path: Path, secret: Secret) -> None:
    """Keeps the secret of a store for handles that come by pickle in this process."""
    _secrets[path] = secret


def known_secret(path: Path) -> Secret | None:
    """The secret this process was told for a store."""
    return _secrets.get(path)


def check_tags(tags: Iterable[str]) -> tuple[str, ...] | None:
    """The tags of an entry, as given by the user; `None` for none."""
    if type(tags) is tuple and not tags:
        return None
    made = checks.items("tags", tags, "str, ('a tag',) for example")
    if not all(type(tag) is str for tag in made):
        raise InvalidOptionError(f"tags must be a collection of str, ('a tag',) for example, not {checks.shown(tags)}")
    return made or None


def resolve(path: str | os.PathLike[str]) -> Path:
    """The path as it will still be meant after a change of the working directory."""
    try:
        text = os.fspath(path)
    except TypeError:
        raise InvalidOptionError(f"path must be a str or path, not {type(path).__name__}") from None
    if isinstance(text, bytes):
        text = os.fsdecode(text)
    if not text or "\0" in text:
        # Python would take an empty one for the working directory.
        raise InvalidOptionError(f"path must name a directory, {checks.shown(text)} does not")
    try:
        os.fsencode(text)
    except UnicodeEncodeError as error:
        raise InvalidOptionError(f"path {text!r} cannot be the name of a file") from error
    _refuse_address(text, isinstance(path, os.PathLike))
    return Path(os.path.abspath(os.path.expanduser(text)))


# A path object has lost the second slash.
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_ADDRESS_AS_PATH = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")


def _refuse_address(text: str, is_path_object: bool) -> None:
    """A directory of its name, `./valkey:/`, is what nobody means by it."""
    found = (_ADDRESS_AS_PATH if is_path_object else _ADDRESS).match(text)
    if found is None:
        return
    # Of the address nothing but the scheme is told: behind it there can be a password.
    scheme = found[1]
    if scheme.lower() == "file":
        advice = "write the path without it"
    elif is_path_object:
        advice = "only directories on this machine are supported; one of such a name is given as an absolute path"
    else:
        advice = "only directories on this machine are supported; one of such a name is written with ./ before it"
    raise InvalidOptionError(
        f"path is an address that begins with {scheme}:{'/' if is_path_object else '//'}; {advice}"
    )


def change_secret(store: Store, options: Options, old: object, new: object, everything: bool) -> None:
    """Gives a store another secret, and notes it for handles that come by pickle."""
    checks.flag("reencrypt", everything)
    if old is None or new is None or options.path is None:
        raise InvalidOptionError("both the present and the new encryption_key must be given")
    before, after = check_secret(old), check_secret(new)
    store.change_secret(before, after, everything)
    _secrets[options.path] = after


def serializers(what: str, dumps: object, loads: object) -> Serializers | None:
    """A pair of callables, or none."""
    if dumps is None and loads is None:
        return None
    if not callable(dumps) or not callable(loads):
        raise InvalidOptionError(f"{what}_serializer and {what}_unserializer must both be given, as callables")
    return dumps, loads


def remember(options: Mapping[str, Any], secret: Secret | None) -> Options:
    """Options of a handle; notes its secret for copies of the handle that come by pickle."""
    made = Options(**options, encrypted=secret is not None)
    if secret is not None and made.path is not None:
        _secrets[made.path] = secret
    return made


_opened: weakref.WeakSet[Store] = weakref.WeakSet()


def _unless_closed(tell: Callable[[threading.ExceptHookArgs], object]) -> Callable[[threading.ExceptHookArgs], object]:
    """A daemon thread that goes on while the interpreter ends finds its store closed. Nobody is to hear of that."""

    def hook(args: threading.ExceptHookArgs, /) -> None:
        if not issubclass(args.exc_type, ClosedError):
            tell(args)

    return hook


def close_all() -> None:
    """Writes what handles have in memory (changes, access times), and closes them. Runs when the interpreter ends."""
    threading.excepthook = _unless_closed(threading.excepthook)
    write_all_back()
    for store in list(_opened):
        try:
            store.close()
        except Exception:  # Nobody is left to hear of it, and nothing is lost by it.
            pass
