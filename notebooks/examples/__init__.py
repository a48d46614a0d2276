"""Parts and callbacks of your own, outside the package: see "Change one thing" in the README."""
