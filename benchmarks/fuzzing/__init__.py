"""Broken inputs: how files are changed, and the parsers that read them."""
