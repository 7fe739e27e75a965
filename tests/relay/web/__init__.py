"""Tests of viewers by HTTP and TCP."""
