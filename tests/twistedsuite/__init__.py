"""Twisted's own tests, run on the reactor of this package and on Twisted's, and compared."""
