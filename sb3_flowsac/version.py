"""The version of both packages, stated once."""

__version__ = "0.1.0"
