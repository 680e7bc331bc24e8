"""Whose turn it is to compute, among tasks."""
