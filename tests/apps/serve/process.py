"""A server in a process of its own."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[3]

# Runs a command and prints every connection and name lookup that leaves this machine.
WATCHED = """
import sys

def watch(event, arguments):
    if event == "socket.connect" and isinstance(arguments[1], tuple) and arguments[1][0] not in ("127.0.0.1", "::1"):
        print("LEFT THE MACHINE:", arguments[1], flush=True)
    if event == "socket.getaddrinfo" and arguments[0] not in (None, "127.0.0.1", "localhost", b"127.0.0.1"):
        print("LOOKED UP:", arguments[0], flush=True)

sys.addaudithook(watch)
from crossmodal.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@dataclass
class Served:
    process: subprocess.Popen
    port: int
    announcement: str
    _log: IO[str]

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal; return the exit status, and the output since the announcement."""
        self.process.send_signal(number)
        output = self.process.communicate(timeout=30)[0]
        return self.process.returncode, output

    def log(self) -> str:
        self._log.seek(0)
        return self._log.read()

    def children(self) -> list[int]:
        """The child processes, on Linux."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(pid) for task in tasks for pid in task.read_text().split()]

    def resident(self) -> float:
        """The resident memory of the server and its children in MB, on Linux."""
        status = [Path(f"/proc/{pid}/status").read_text() for pid in (self.process.pid, *self.children())]
        return sum(int(re.search(r"VmRSS:\s+(\d+) kB", text)[1]) for text in status) / 1024


def served(*arguments: str, seconds: float = 0.0, **environment: str) -> AbstractContextManager[Served]:
    """Start a server with a fake model that takes some seconds for each batch."""
    return started("-m", "tests.apps.serve.fake_server", str(seconds), *arguments, **environment)


@contextlib.contextmanager
def started(*arguments: str, **environment: str) -> Iterator[Served]:
    """Start a server, wait until it is ready, and kill it at the end if it still runs."""
    command = [sys.executable, *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            announcement = process.stdout.readline()
            found = re.search(r" at http://127\.0\.0\.1:(\d+) ", announcement)
            assert found, Served(process, 0, announcement, log).log()
            yield Served(process, int(found[1]), announcement, log)
        finally:
            process.kill()
            process.communicate()
