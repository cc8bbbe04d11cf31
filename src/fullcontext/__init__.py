"""Teach language models to use every position of a long context, and measure whether they do."""

__version__ = "0.2.0"
