"""The course's interactive figures."""
