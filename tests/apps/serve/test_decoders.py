import asyncio
import os
import re
import signal
import sys
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from crossmodal import media
from crossmodal.apps.serve import decoder_process
from crossmodal.apps.serve.decoders import Decoders
from crossmodal.apps.serve.limits import Limits, RequestError
from tests.apps.serve.client import wav

LINUX = pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="needs Linux's /proc")


def run(scenario, **limits):
    """Run a coroutine function with a decoder process."""

    async def running():
        decoders = Decoders(Limits(**limits, decoders=1), 16_000)
        await decoders.start()
        try:
            return await scenario(decoders)
        finally:
            await decoders.stop()

    return asyncio.run(running())


def pid(decoders):
    return decoders._all[0]._process.pid


async def refused(decoders, content, longest=10.0):
    with pytest.raises(RequestError) as raised:
        await decoders.decode(content, longest)
    return raised.value


@pytest.mark.parametrize("rate, channels", [(16_000, 1), (48_000, 2), (8_000, 1), (44_100, 8)])
def test_a_child_decodes_as_the_recognizer_does(rate, channels):
    content = wav(1.3, rate, channels=channels)
    expected = media.read_waveform(content, 16_000)
    decoded = run(lambda decoders: decoders.decode(content, 10.0))
    np.testing.assert_array_equal(decoded.waveform, expected)
    assert decoded.notes == []


def test_a_child_keeps_running_after_an_error():
    async def scenario(decoders):
        before = pid(decoders)
        for content in (b"hello" * 100, wav()[:-100], wav(2.0), wav(0.05), wav(channels=3), wav(rate=2_000)):
            await refused(decoders, content, longest=1.9)
        assert len((await decoders.decode(wav(2.0), 2.0)).waveform) == 32_000
        assert pid(decoders) == before

    run(scenario, channels=2)


@pytest.mark.parametrize("crashes, code", [(False, "decoding_too_slow"), (True, "decoder_crashed")])
def test_a_child_that_hangs_or_crashes_is_replaced(crashes, code):
    async def scenario(decoders):
        before = pid(decoders)
        os.kill(before, signal.SIGSTOP)
        waiting = asyncio.create_task(refused(decoders, wav(3.0)))
        await asyncio.sleep(0.1)
        if crashes:
            os.kill(before, signal.SIGKILL)
        refusal = await waiting
        assert len((await decoders.decode(wav(), 10.0)).waveform) == 8_000
        assert pid(decoders) != before
        with pytest.raises(ProcessLookupError):
            os.kill(before, 0)
        return refusal.status, refusal.code

    assert run(scenario, decode_seconds=1.0) == (422, code)


def test_it_is_unhealthy_while_no_child_can_be_started(monkeypatch):
    async def scenario(decoders):
        assert decoders.is_healthy
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", "/bin/false")
            patch.setattr("crossmodal.apps.serve.decoders._PAUSE", 0.1)
            os.kill(pid(decoders), signal.SIGKILL)
            await decoders._all[0]._process.wait()
            waiting = asyncio.create_task(decoders.decode(wav(), 10.0))
            await asyncio.sleep(0.5)
            assert not decoders.is_healthy
        assert len((await asyncio.wait_for(waiting, 10)).waveform) == 8_000
        await asyncio.sleep(0)
        assert decoders.is_healthy

    run(scenario)


def test_a_cancelled_upload_leaves_no_result_for_the_next_one():
    async def scenario(decoders):
        os.kill(pid(decoders), signal.SIGSTOP)
        waiting = asyncio.create_task(decoders.decode(wav(3.0), 10.0))
        await asyncio.sleep(0.1)
        waiting.cancel()
        return await asyncio.wait_for(decoders.decode(wav(0.5), 10.0), 10)

    assert len(run(scenario).waveform) == 8_000


def test_a_child_that_does_not_start_is_an_error(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(OSError, match="does not start"):
        run(lambda decoders: asyncio.sleep(0))


@LINUX
def test_a_child_has_resource_limits_and_no_secrets(monkeypatch):
    monkeypatch.setenv("CROSSMODAL_TOKEN", "a-secret")

    async def scenario(decoders):
        folder = Path(f"/proc/{pid(decoders)}")
        return (folder / "limits").read_text(), (folder / "environ").read_bytes()

    limits, environment = run(scenario)
    assert re.search(rf"Max data size +{decoder_process.MEMORY} ", limits)
    assert re.search(r"Max file size +0 ", limits)
    assert re.search(r"Max core file size +0 ", limits)
    assert b"PATH=" in environment
    assert b"a-secret" not in environment


def test_decoding_with_too_much_memory_is_an_error(monkeypatch):
    monkeypatch.setattr(media, "open_sound", Mock(side_effect=MemoryError))
    with pytest.raises(RequestError) as raised:
        decoder_process.decode(wav(), 10.0, 2, 16_000)
    assert (raised.value.status, raised.value.code) == (422, "decoding_too_large")
