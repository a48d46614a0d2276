"""Figures to grab: each is a state, its answer in Python and in JavaScript, and a still."""
