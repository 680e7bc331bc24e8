"""The version of this package, which its two distributions have in common."""

__version__ = "0.1.0"
