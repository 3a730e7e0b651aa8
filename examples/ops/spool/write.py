#!/usr/bin/env python3
"""A short-lived process that logs into a spool: `write.py DIR` puts its standard input there as one file."""

import itertools
import os
import sys
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def spooled(directory, stem, durable=False):
    """A text file of a spool; it is complete when the block ends without an exception."""
    directory = Path(directory)
    # Never in place of another one's file: a process of our number may have left half of one.
    for again in itertools.count():
        name = f"{stem}.{os.getpid()}.{again}.log"
        try:
            log = open(directory / name, "x", encoding="utf-8")
            break
        except FileExistsError:
            pass
    # Opened once.
    with log:
        yield log
        log.flush()
        if durable:
            os.fsync(log.fileno())
    (directory / "done" / name).touch()


if __name__ == "__main__":
    with spooled(sys.argv[1], "job") as log:
        for line in sys.stdin:
            log.write(line)
