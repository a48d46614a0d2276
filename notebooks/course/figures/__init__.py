"""The figures to grab: each module has the class of one, and `example()` as its chapter shows it."""
