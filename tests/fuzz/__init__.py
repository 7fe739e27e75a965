"""
Properties of everything that reads what others send, each as a function of some bytes.

`test_targets.py` tries a few inputs of each in the ordinary suite; `python -m tests.fuzz NAME`
tries any number, guided by coverage where Atheris is installed.  CONTRIBUTING.md says how.
"""
