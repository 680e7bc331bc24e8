"""From the arguments of the process to its exit status."""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from types import ModuleType

from .. import cli
from .._version import __version__
from ..errors import CacheError, InvalidOptionError
from . import status
from .shown import one_line

#: The order in which the help lists commands. Others follow.
_ORDER = ("stats", "ls", "get", "sweep", "verify", "repair", "compact", "backup", "export", "import")

_EPILOG = """\
exit status: 0 done; 1 a problem was found, the key is absent, or something failed; 2 the command line makes no sense.
`%(prog)s COMMAND --help` tells of a command."""


def commands() -> dict[str, ModuleType]:
    """The modules of the commands, by the names of these."""
    found = [module.name for module in pkgutil.iter_modules(cli.__path__) if module.name.endswith("_command")]
    names = sorted(name.removesuffix("_command") for name in found)
    names.sort(key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))
    return {name: importlib.import_module(f"{cli.__name__}.{name}_command") for name in names}


def parser() -> argparse.ArgumentParser:
    """What knows all commands and their options."""
    made = argparse.ArgumentParser(
        prog=_name(),
        description="Looks into stores of Cachemere, and looks after them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("--version", action="version", version=f"cachemere {__version__}")
    subparsers = made.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    for name, module in commands().items():
        line = (module.__doc__ or "").strip()
        added = subparsers.add_parser(name, help=line.rstrip("."), description=line, allow_abbrev=False)
        module.add_arguments(added)
        added.set_defaults(run=module.run)
    return made


def _name() -> str:
    """How the user called the program."""
    started = os.path.basename(sys.argv[0]) if sys.argv else ""
    return "python -m cachemere" if started in ("", "-c", "__main__.py") else started


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what the arguments say; the exit status."""
    if sys.stdout is None or sys.stderr is None:
        # They were closed before this program began.
        return status.PROBLEM
    try:
        # A terminal that cannot show a character gets its number; half a surrogate pair is written so everywhere.
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        given = parser().parse_args(arguments)
        done = int(given.run(given))
        # Here and not at the end of the interpreter, where nobody could tell what went wrong.
        sys.stdout.flush()
        return done
    except InvalidOptionError as error:
        return _failed(error, status.USAGE)
    except BrokenPipeError:
        _forget_output()
        return status.BROKEN_PIPE
    except (CacheError, OSError) as error:
        return _failed(error, status.PROBLEM)
    except KeyboardInterrupt:
        _forget_output()
        return status.INTERRUPTED
    except Exception as error:
        # Nothing that is known of; but a traceback would tell nobody more who looks at a store.
        return _failed(RuntimeError(f"{type(error).__name__}, which was not expected: {error}"), status.PROBLEM)


def _failed(error: Exception, ended: int) -> int:
    try:
        sys.stdout.flush()
    except OSError:
        _forget_output()
    # The message can have a path or a key in it.
    print(f"cachemere: {one_line(str(error))}", file=sys.stderr)
    return ended


def _forget_output() -> None:
    """Lets the interpreter end without another attempt to write what is left."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        pass
