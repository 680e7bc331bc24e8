"""Adapters by which other libraries use a :class:`~cachemere.Cache`.

Each module is for one library and imports it; install it with the extra of the same name. The package itself imports
none of them.
"""
