"""The paper, as functions on tensors.

Read in this order: locations, regions, losses, selection, assignment. `assignment.assign` puts the
others together.
"""
