"""Decoding in child processes that can be killed. The server process itself never decodes an upload."""
# `pebble`, which prepares a corpus, is not used here. Its children share one pipe, so a child that is killed while it
# writes leaves half a message to the others. Its results are pickles, so a decoder that a hostile file has taken over
# could run code in the server.

import asyncio
import json
import os
import sys
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crossmodal.apps.serve.limits import Limits, RequestError

_PROGRAM = "crossmodal.apps.serve.decoder_process"
_SECRETS = ("CROSSMODAL_TOKEN",)
_BUFFER = 1 << 20  # bytes that asyncio reads ahead
_START_SECONDS = 30.0
_PAUSE = 1.0  # s between attempts to start a child


class Decoded(NamedTuple):
    """A decoded upload: samples, (T,), and sentences about what was not read or not as declared."""

    waveform: NDArray[np.float32]
    notes: list[str]


class Decoders:
    """Decoder processes, each of which decodes one upload at a time."""

    def __init__(self, limits: Limits, sample_rate: int) -> None:
        self._limits = limits
        self._all = [_Decoder(limits, sample_rate) for _ in range(limits.decoders)]
        self._idle: asyncio.Queue[_Decoder] = asyncio.Queue()
        self._restarts: set[asyncio.Task[None]] = set()

    @property
    def is_healthy(self) -> bool:
        """True if at least one child is running or can be started."""
        return len(self._restarts) < len(self._all)

    async def start(self) -> None:
        """Start the children and wait until they are ready, or raise OSError."""
        await asyncio.gather(*(decoder.start() for decoder in self._all))
        for decoder in self._all:
            self._idle.put_nowait(decoder)

    async def stop(self) -> None:
        """Stop the children."""
        for restart in self._restarts:
            restart.cancel()
        await asyncio.gather(*self._restarts, return_exceptions=True)
        await asyncio.gather(*(decoder.kill() for decoder in self._all))

    async def decode(self, encoded: bytes, longest: float) -> Decoded:
        """Decode one upload of at most `longest` seconds in the next free child, or raise RequestError."""
        decoder = await self._idle.get()
        if not decoder.is_running:  # killed while idle, for example by a system without free memory
            self._replace(decoder)
            decoder = await self._idle.get()
        seconds, is_usable = self._limits.decode_seconds, False
        try:
            result = await asyncio.wait_for(decoder.decode(encoded, longest), seconds)
            is_usable = True
        except asyncio.TimeoutError as error:
            raise RequestError(422, "decoding_too_slow", f"decoding did not end within {seconds:g} seconds") from error
        except (asyncio.LimitOverrunError, OSError, EOFError, ValueError) as error:
            reason = "the decoder crashed: the file is damaged or malicious"
            raise RequestError(422, "decoder_crashed", reason) from error
        finally:
            if is_usable:
                self._idle.put_nowait(decoder)
            else:  # also if cancelled: the child would answer the next upload with the sound of this one
                self._replace(decoder)
        if isinstance(result, RequestError):
            raise result
        return result

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

    _process: asyncio.subprocess.Process
    _requests: asyncio.StreamWriter
    _responses: asyncio.StreamReader

    def __init__(self, limits: Limits, sample_rate: int) -> None:
        self._settings = {"sample_rate": sample_rate, "channels": limits.channels}

    @property
    def is_running(self) -> bool:
        return self._process.returncode is None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", _PROGRAM, json.dumps(self._settings)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,  # messages of a decoder may contain parts of the upload
            env={name: value for name, value in os.environ.items() if name not in _SECRETS},
            limit=_BUFFER,
        )
        assert self._process.stdin and self._process.stdout, "both are pipes"
        self._requests, self._responses = self._process.stdin, self._process.stdout
        try:
            await asyncio.wait_for(self._read_line(), _START_SECONDS)
        except (asyncio.TimeoutError, EOFError, ValueError) as error:
            await self.kill()
            raise OSError("a decoder does not start") from error

    async def decode(self, encoded: bytes, longest: float) -> Decoded | RequestError:
        self._requests.write(json.dumps({"bytes": len(encoded), "longest": longest}).encode() + b"\n")
        self._requests.write(encoded)
        await self._requests.drain()
        answer = await self._read_line()
        if "status" in answer:
            return RequestError(int(answer["status"]), str(answer["code"]), str(answer["reason"]))
        samples = int(answer["samples"])
        if not 0 < samples <= longest * self._settings["sample_rate"] + 1:
            raise ValueError("a decoder returned an impossible number of samples")
        sound = await self._responses.readexactly(samples * np.float32().nbytes)
        return Decoded(np.frombuffer(sound, np.float32), [str(note) for note in answer["notes"]])

    async def _read_line(self) -> dict[str, Any]:
        answer = json.loads(await self._responses.readuntil(b"\n"))
        if not isinstance(answer, dict):
            raise ValueError("a decoder must return an object")
        return answer

    async def kill(self) -> None:
        if self.is_running:
            self._process.kill()
            await self._process.wait()
