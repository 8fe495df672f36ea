"""Decoding in child processes that can be killed. The server process itself never decodes an upload.

Each child runs `crossmodal.apps.serve.decoder_process` and communicates through its standard input and output.
`pebble`, which prepares a corpus, is not used here. Its children share one pipe, so a child that is killed while it
writes leaves half a message to the others. Its results are pickles, so a decoder that a hostile file has taken over
could run code in the server.
"""

import asyncio
import json
import os
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmodal.apps.serve.limits import Limits, RequestError

_PROGRAM = "crossmodal.apps.serve.decoder_process"
_SECRETS = ("CROSSMODAL_TOKEN",)
_BUFFER = 1 << 20  # bytes that asyncio reads ahead
_START_SECONDS = 30.0
_PAUSE = 1.0  # s between attempts to start a child


class Decoders:
    """Decoder processes, each of which decodes one upload at a time.

    Args:
        limits: Limits on requests.
        sample_rate: Sample rate of the waveforms in Hz.
        count: Number of processes.
    """

    def __init__(self, limits: Limits, sample_rate: int, count: int) -> None:
        self._limits = limits
        self._rate = sample_rate
        self._all = [_Decoder(limits, sample_rate) for _ in range(count)]
        self._idle: asyncio.Queue[_Decoder] = asyncio.Queue()
        self._restarts: set[asyncio.Task[None]] = set()

    @property
    def is_healthy(self) -> bool:
        """True if at least one child is running or can be started."""
        return len(self._restarts) < len(self._all)

    async def start(self) -> None:
        """Start the children and wait until they are ready.

        Raises:
            OSError: A child does not start.
        """
        await asyncio.gather(*(decoder.start() for decoder in self._all))
        for decoder in self._all:
            self._idle.put_nowait(decoder)

    async def stop(self) -> None:
        """Stop the children."""
        for restart in self._restarts:
            restart.cancel()
        await asyncio.gather(*self._restarts, return_exceptions=True)
        await asyncio.gather(*(decoder.kill() for decoder in self._all))

    async def decode(self, encoded: bytes, longest: float) -> NDArray[np.float32]:
        """Decode one upload in the next free child.

        Args:
            encoded: The content of a file.
            longest: Maximum duration in seconds.

        Returns:
            (T,), one channel at the sample rate.

        Raises:
            RequestError: The upload is not sound, is damaged, exceeds a limit, or takes too long to decode.
        """
        decoder = await self._idle.get()
        if not decoder.alive:  # killed while idle, for example by a system without free memory
            self._replace(decoder)
            decoder = await self._idle.get()
        try:
            result = await asyncio.wait_for(decoder.decode(encoded, longest), self._limits.decode_seconds)
        except (asyncio.TimeoutError, asyncio.LimitOverrunError, OSError, EOFError, ValueError) as error:
            self._replace(decoder)
            raise self._failure(error) from error
        except BaseException:  # cancelled: the child would answer the next upload with the sound of this one
            self._replace(decoder)
            raise
        self._idle.put_nowait(decoder)
        if isinstance(result, RequestError):
            raise result
        return result

    def _failure(self, error: Exception) -> RequestError:
        if isinstance(error, asyncio.TimeoutError):
            limit = self._limits.decode_seconds
            return RequestError(422, "decoding_too_slow", f"decoding did not end within {limit:g} seconds")
        return RequestError(422, "decoder_crashed", "the decoder crashed: the file is damaged or malicious")

    def _replace(self, decoder: "_Decoder") -> None:
        restart = asyncio.get_running_loop().create_task(self._restart(decoder))
        self._restarts.add(restart)
        restart.add_done_callback(self._restarts.discard)

    async def _restart(self, decoder: "_Decoder") -> None:
        await decoder.kill()
        while True:
            try:
                await decoder.start()
            except OSError:  # no memory or no process is available now
                await asyncio.sleep(_PAUSE)
            else:
                self._idle.put_nowait(decoder)
                return


class _Decoder:
    """One child process."""

    def __init__(self, limits: Limits, sample_rate: int) -> None:
        self._limits = limits
        self._rate = sample_rate
        self._process: asyncio.subprocess.Process | None = None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        settings = {"sample_rate": self._rate, "channels": self._limits.channels}
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            _PROGRAM,
            json.dumps(settings),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,  # messages of a decoder may contain parts of the upload
            env={name: value for name, value in os.environ.items() if name not in _SECRETS},
            limit=_BUFFER,
        )
        try:
            await asyncio.wait_for(self._read_line(), _START_SECONDS)
        except (asyncio.TimeoutError, EOFError, ValueError) as error:
            await self.kill()
            raise OSError("a decoder does not start") from error

    async def decode(self, encoded: bytes, longest: float) -> NDArray[np.float32] | RequestError:
        assert self._process is not None, "start() was called"
        assert self._process.stdin is not None, "it is a pipe"
        assert self._process.stdout is not None, "it is a pipe"
        request = {"bytes": len(encoded), "longest": longest}
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.write(encoded)
        await self._process.stdin.drain()
        answer = await self._read_line()
        if "status" in answer:
            return RequestError(int(answer["status"]), str(answer["code"]), str(answer["reason"]))
        samples = int(answer["samples"])
        if not 0 < samples <= longest * self._rate + 1:
            raise ValueError("a decoder returned an impossible number of samples")
        sound = await self._process.stdout.readexactly(samples * np.float32().nbytes)
        return np.frombuffer(sound, np.float32)

    async def _read_line(self) -> dict[str, Any]:
        assert self._process is not None, "start() was called"
        assert self._process.stdout is not None, "it is a pipe"
        line = await self._process.stdout.readuntil(b"\n")
        answer = json.loads(line)
        if not isinstance(answer, dict):
            raise ValueError("a decoder must return an object")
        return answer

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
