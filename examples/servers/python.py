"""Python's logging into a pipe, from one process or from many.

    mkfifo -m 0660 /run/standpipe/app; chown app:standpipe /run/standpipe/app
    ln -s /run/standpipe/app /etc/standpipe/pipes.d/
    python3 python.py [PROCESSES [LINES]]

Start: holder, reader, this. Stop: this, reader, holder. Without a holder it waits when it opens its log.

FileHandler writes each record at once, and a record of at most 4,096 bytes stays whole, so any number of processes can
share the pipe without a lock. Let longer ones go through one process (QueueHandler, QueueListener). Not
RotatingFileHandler: what it rotates would be the FIFO.
"""

import logging
import multiprocessing
import sys

FORMAT = "%(asctime)s %(levelname)s %(process)d %(message)s"


def work(worker, lines):
    # Each process opens the pipe for itself, however it was started.
    logging.basicConfig(handlers=[logging.FileHandler("/run/standpipe/app")], format=FORMAT, level=logging.INFO)
    for line in range(lines):
        logging.info("worker %d line %d", worker, line)


def main():
    processes, lines = [int(word) for word in sys.argv[1:]] + [4, 1000][len(sys.argv) - 1:]
    workers = [multiprocessing.Process(target=work, args=(worker, lines)) for worker in range(processes)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    sys.exit(any(worker.exitcode for worker in workers))


if __name__ == "__main__":
    main()
