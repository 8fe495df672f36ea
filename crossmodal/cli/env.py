"""`crossmodal env`: print versions, devices, decoders and folders for a bug report."""

import argparse
import json
import locale
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from crossmodal.installation import TORCH_SET, explain_torch_set, installed_version, requirements
from crossmodal.version import __version__

_IMPORT_SECONDS = 120  # a cold disk takes half a minute
# Runs in another process, because a broken library may crash or hang the process that imports it.
_TORCH_PROBE = """
import json, torch, torchvision, torchaudio
gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
gpus += ["Apple MPS"] * torch.backends.mps.is_available()
print(json.dumps({
    "cuda": torch.version.cuda,
    "gpus": ", ".join(gpus) or "none",
    "threads": torch.get_num_threads(),
}))
"""
_DECORD_PROBE = 'import json, decord; print(json.dumps("decord " + decord.__version__))'
_PYAV_PROBE = """
import json, av
libraries = ", ".join(f"{name} {'.'.join(map(str, version))}" for name, version in sorted(av.library_versions.items()))
print(json.dumps(f"PyAV {av.__version__} with FFmpeg {getattr(av, 'ffmpeg_version_info', '')} ({libraries})"))
"""


def env_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `env`."""
    parser.description = (
        "Print versions, platform, devices, video decoders and locale for a bug report. The command works even "
        "if torch or another library is missing or broken."
    )
    parser.add_argument("--format", choices=("table", "json"), default="table", help="default: %(default)s")


def env_command(args: argparse.Namespace) -> int:
    """Run `crossmodal env`; the status is 1 if torch, torchvision and torchaudio cannot be imported."""
    report = describe_environment()
    if args.format == "json":
        print(json.dumps(report, indent=2))
    else:
        for section, entries in report.items():
            print(f"{section}:")
            for name, value in entries.items():
                lines = str(value).splitlines() or [""]
                print(f"  {name}: {lines[0]}", *(f"    {line}" for line in lines[1:]), sep="\n")
    return 0 if "error" not in report["torch"] else 1


def describe_environment() -> dict[str, dict[str, Any]]:
    """Return sections of names and values."""
    system = {
        "crossmodal": f"{__version__} in {Path(__file__).parents[1]}",
        "python": f"{platform.python_version()} ({platform.python_implementation()}), {sys.executable}",
        "platform": platform.platform(),
    }
    encodings = {
        "locale": ".".join(part or "none" for part in locale.getlocale()),
        "encoding": f"{locale.getpreferredencoding(False)}; file names {sys.getfilesystemencoding()}",
        "terminal": getattr(sys.stdout, "encoding", None),
    }
    torch = _probe(_TORCH_PROBE)
    return {
        "system": system,
        "libraries": {name: installed_version(name) or "not installed" for name in _libraries()},
        "torch": torch if isinstance(torch, dict) else {"error": explain_torch_set(torch)},
        "video": {"decord": _probe(_DECORD_PROBE), "PyAV": _probe(_PYAV_PROBE)},
        "locale": encodings,
    }


def _libraries() -> list[str]:
    """Return the distributions that crossmodal uses, torch first, without those for developers only."""
    used = [one for one in requirements() if not re.search(r"extra == .(test|dev)\b", str(one.marker))]
    names = {one.name for one in used} - {"crossmodal", *TORCH_SET}
    return [*TORCH_SET, *sorted(names, key=str.lower)]


def _probe(code: str) -> Any:
    """Return what a Python program prints as JSON, or the last line of its error."""
    command = [sys.executable, "-c", code]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_IMPORT_SECONDS)
    except subprocess.TimeoutExpired:
        return f"no answer within {_IMPORT_SECONDS} s"
    if done.returncode:
        return (done.stderr.strip().splitlines() or [f"the process ended with status {done.returncode}"])[-1]
    return json.loads(done.stdout.splitlines()[-1])
