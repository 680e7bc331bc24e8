"""What `diskcache.recipes` has, under that name."""

from cachemere.diskcache.averager import Averager
from cachemere.diskcache.call_keys import args_to_key, full_name
from cachemere.diskcache.constants import ENOVAL
from cachemere.diskcache.locks import BoundedSemaphore, Lock, RLock
from cachemere.diskcache.stampede import memoize_stampede
from cachemere.diskcache.throttled import barrier, throttle

__all__ = [
    "ENOVAL",
    "Averager",
    "BoundedSemaphore",
    "Lock",
    "RLock",
    "args_to_key",
    "barrier",
    "full_name",
    "memoize_stampede",
    "throttle",
]
