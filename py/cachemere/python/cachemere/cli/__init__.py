"""The command line: `python -m cachemere COMMAND ...`, or `cachemere COMMAND ...`.

Each command is a module here whose name ends with `_command`. It has a docstring of one line, which is its help, and
two functions: `add_arguments(parser)`, and `run(arguments) -> int`, which returns one of the numbers in
:mod:`cachemere.cli.status`. A command raises a :class:`cachemere.CacheError` for what goes wrong: its message is shown
without a traceback, and the process ends with 1; for an :class:`~cachemere.errors.InvalidOptionError`, with 2.
"""
