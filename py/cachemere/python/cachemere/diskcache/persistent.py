"""What `diskcache.persistent` has, under that name."""

from cachemere.diskcache.cache import Cache
from cachemere.diskcache.constants import ENOVAL
from cachemere.diskcache.deque import Deque
from cachemere.diskcache.index import Index

__all__ = ["ENOVAL", "Cache", "Deque", "Index"]
