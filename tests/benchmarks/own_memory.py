"""Peak memory of a process. There are no heavy imports, because their memory would count."""

import re
import resource
from pathlib import Path


def own_peak() -> float:
    """Return the peak memory of this process in MB; Linux's ru_maxrss includes the parent's peak before the exec."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s*(\d+) kB", status.read_text())[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS counts bytes
