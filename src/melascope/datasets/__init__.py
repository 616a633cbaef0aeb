"""Data sets: reading, identity, groups, splitting and packing."""
