"""What the process ends with."""

from __future__ import annotations

#: Done, and nothing is wrong.
OK = 0
#: A problem was found, what was asked for is not there, or something failed. The standard error says which.
PROBLEM = 1
#: The command line makes no sense. Nothing was done.
USAGE = 2
#: Ended by Ctrl-C, as a shell would say it: 128 and the number of the signal.
INTERRUPTED = 130
#: Whoever read the output closed it, `head` for example.
BROKEN_PIPE = 141
