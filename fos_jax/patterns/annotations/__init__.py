"""Attributes of objects, read from what annotations already say."""
