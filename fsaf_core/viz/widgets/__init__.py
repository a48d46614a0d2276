"""The assignment explorer and its parts."""
