"""Figures: one palette, our own SVG for drawings that tests compare, matplotlib for charts.

Only the command line imports this folder. Detectors are built, trained and evaluated without
matplotlib.
"""
