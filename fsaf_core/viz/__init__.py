"""Pictures: one palette, SVG of our own for what tests compare, matplotlib for curves and photographs.

Nothing outside this package and the command line imports it: a detector can be built, trained and evaluated without matplotlib.
"""
