"""Checks that print one line each, and the exit code of a script of them."""

import sys

_failures = 0


def check(what, is_right, seen=None):
    """Prints `ok` or `FAIL`; a failure shows what was seen."""
    global _failures
    if is_right:
        print(f"ok   {what}", flush=True)
    else:
        _failures += 1
        print(f"FAIL {what}: {seen!r}", flush=True)


def finish():
    """Ends the script: 0 if nothing failed."""
    sys.exit(1 if _failures else 0)
