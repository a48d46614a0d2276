"""Figures: one palette, our own SVG for drawings that tests compare, matplotlib for charts.

Only `cli` and `tools` import this folder. Detectors are built, trained and evaluated without
matplotlib.
"""
