"""Decoding in child processes that can be killed: what a stranger sends never meets a decoder in the server itself.

Each child is a program of its own, `crossmodal.inference.serve.decoder_process`, spoken to through its standard input
and output. `pebble`, by which a corpus is prepared, is not used here: its children share one pipe, so that one that is
killed while it writes leaves half a message to the others; its timeouts are looked at five times a second; and what it
sends back is a pickle, which a decoder that was taken over by a hostile file could make into anything.
"""

import asyncio
import json
import os
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmodal.inference.serve.limits import Limits, RefusalError

_PROGRAM = "crossmodal.inference.serve.decoder_process"
_SECRETS = ("CROSSMODAL_TOKEN",)
_BUFFER = 1 << 20  # bytes that asyncio reads ahead
_START_SECONDS = 30.0
_PAUSE = 1.0  # s before a child that did not start is tried again


class Decoders:
    """Some children that decode, one upload each at a time.

    Args:
        limits: What is refused.
        sample_rate: Of the waveforms, in Hz.
        count: How many children.
    """

    def __init__(self, limits: Limits, sample_rate: int, count: int) -> None:
        self._limits = limits
        self._rate = sample_rate
        self._all = [_Decoder(limits, sample_rate) for _ in range(count)]
        self._idle: asyncio.Queue[_Decoder] = asyncio.Queue()
        self._restarts: set[asyncio.Task[None]] = set()

    @property
    def are_well(self) -> bool:
        """Whether any child is there to decode, or can be."""
        return len(self._restarts) < len(self._all)

    async def start(self) -> None:
        """Start the children, and wait until they are ready.

        Raises:
            OSError: One does not start.
        """
        await asyncio.gather(*(decoder.start() for decoder in self._all))
        for decoder in self._all:
            self._idle.put_nowait(decoder)

    async def stop(self) -> None:
        """End the children."""
        for restart in self._restarts:
            restart.cancel()
        await asyncio.gather(*self._restarts, return_exceptions=True)
        await asyncio.gather(*(decoder.kill() for decoder in self._all))

    async def decode(self, encoded: bytes, longest: float) -> NDArray[np.float32]:
        """Decode one upload; waits for its turn.

        Args:
            encoded: The content of a file.
            longest: Seconds of sound that are accepted.

        Returns:
            (T,), one channel at the sample rate.

        Raises:
            RefusalError: It is not sound, is damaged, beyond a limit, or took too long.
        """
        decoder = await self._idle.get()
        if not decoder.alive:  # killed while it waited, as systems do that lack memory: no fault of this upload
            self._replace(decoder)
            decoder = await self._idle.get()
        try:
            answer = await asyncio.wait_for(decoder.ask(encoded, longest), self._limits.decode_seconds)
        except (asyncio.TimeoutError, asyncio.LimitOverrunError, OSError, EOFError, ValueError) as error:
            self._replace(decoder)
            raise self._failure(error) from error
        except BaseException:  # cancelled half-way: the child would answer the next one with this one's sound
            self._replace(decoder)
            raise
        self._idle.put_nowait(decoder)
        if isinstance(answer, RefusalError):
            raise answer
        return answer

    def _failure(self, error: Exception) -> RefusalError:
        if isinstance(error, asyncio.TimeoutError):
            limit = self._limits.decode_seconds
            return RefusalError(422, "decoding_too_slow", f"decoding did not end within {limit:g} seconds")
        return RefusalError(422, "decoder_crashed", "the decoder crashed on it: it is damaged, or made to do so")

    def _replace(self, decoder: "_Decoder") -> None:
        restart = asyncio.get_running_loop().create_task(self._restart(decoder))
        self._restarts.add(restart)
        restart.add_done_callback(self._restarts.discard)

    async def _restart(self, decoder: "_Decoder") -> None:
        await decoder.kill()
        while True:
            try:
                await decoder.start()
            except OSError:  # no memory or no process to be had: perhaps later
                await asyncio.sleep(_PAUSE)
            else:
                self._idle.put_nowait(decoder)
                return


class _Decoder:
    """One child."""

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
            stderr=asyncio.subprocess.DEVNULL,  # what a decoder complains of may be what it was sent
            env={name: value for name, value in os.environ.items() if name not in _SECRETS},
            limit=_BUFFER,
        )
        try:
            await asyncio.wait_for(self._read_line(), _START_SECONDS)
        except (asyncio.TimeoutError, EOFError, ValueError) as error:
            await self.kill()
            raise OSError("a decoder does not start") from error

    async def ask(self, encoded: bytes, longest: float) -> NDArray[np.float32] | RefusalError:
        assert self._process is not None, "it was started"
        assert self._process.stdin is not None, "as a pipe"
        assert self._process.stdout is not None, "as a pipe"
        question = {"bytes": len(encoded), "longest": longest}
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        self._process.stdin.write(encoded)
        await self._process.stdin.drain()
        answer = await self._read_line()
        if "status" in answer:
            return RefusalError(int(answer["status"]), str(answer["code"]), str(answer["reason"]))
        samples = int(answer["samples"])
        if not 0 < samples <= longest * self._rate + 1:
            raise ValueError("a decoder answers what it cannot have found")
        sound = await self._process.stdout.readexactly(samples * np.float32().nbytes)
        return np.frombuffer(sound, np.float32)

    async def _read_line(self) -> dict[str, Any]:
        assert self._process is not None, "it was started"
        assert self._process.stdout is not None, "as a pipe"
        line = await self._process.stdout.readuntil(b"\n")
        answer = json.loads(line)
        if not isinstance(answer, dict):
            raise ValueError("a decoder answers with an object")
        return answer

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
