"""Helpers for files and for several processes."""
