"""Memoizing: the keys of calls, and the results they have."""
