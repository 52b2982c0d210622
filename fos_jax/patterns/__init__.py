"""Proposed patterns of cut-outs."""
