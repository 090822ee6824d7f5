"""The fan-out by itself: no peer connection, little waiting."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from fractions import Fraction

import av
import numpy as np
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import Vp8Encoder
from av.video.codeccontext import VideoCodecContext

from realtime import fanout
from realtime.fanout import EncodedPicture, FanOut, MakeContext, Maker, PictureQueue, StreamEnded
from realtime.pacing import CLOCK_HZ
from realtime.rtc import keyframe_requests
from realtime.rtc.encoder import h264_context, vp8_context
from tests.fakes import read_stamp, stamp
from tests.peers import until

SIZE = 192


def picture(number: int) -> np.ndarray:
    made = np.full((SIZE * 3 // 2, SIZE), 128, np.uint8)
    stamp(made[:SIZE], number)
    return made


@asynccontextmanager
async def fanning_out(makers: dict[str, Callable[[int, int, int], VideoCodecContext]] | None = None) -> AsyncIterator[FanOut]:
    known = makers or {"VP8": vp8_context, "H264": h264_context}
    async with fanning_out_by(lambda codec, failed: known[codec]) as made:
        yield made


@asynccontextmanager
async def fanning_out_by(maker: Maker, on_failed: Callable[[], None] = lambda: None) -> AsyncIterator[FanOut]:
    made = FanOut(maker, 1_000_000, lambda milliseconds: None, on_failed)
    try:
        yield made
    finally:
        await made.aclose()


class Decoder:
    """What a viewer sees."""

    def __init__(self, codec: str) -> None:
        self._context = av.CodecContext.create({"VP8": "vp8", "H264": "h264"}[codec], "r")

    def numbers(self, encoded: EncodedPicture) -> list[int | None]:
        return [read_stamp(frame.to_ndarray(format="yuv420p")[:SIZE]) for frame in self._context.decode(av.Packet(encoded.data))]  # type: ignore[attr-defined]


@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_every_viewer_gets_the_same_pictures_encoded_once(codec: str) -> None:
    async with fanning_out() as fan:
        broadcast = fan.broadcast(codec)
        queues = [PictureQueue(broadcast) for _ in range(3)]
        fan.show(picture(0), 0.0)
        readers = [Decoder(codec) for _ in queues]
        seen: list[list[int | None]] = [[], [], []]
        for number in range(1, 8):
            firsts = await asyncio.gather(*(queue.get() for queue in queues))
            assert firsts[0] is firsts[1] is firsts[2]
            for reader, numbers, encoded in zip(readers, seen, firsts, strict=True):
                numbers += reader.numbers(encoded)
            fan.show(picture(number), number / 30)
        assert seen == [[0, 1, 2, 3, 4, 5, 6]] * 3
        assert 7 <= broadcast.encoded <= 8


async def test_without_viewers_nothing_is_encoded_and_the_newest_picture_is_what_the_first_one_gets() -> None:
    asked = []

    def make(width: int, height: int, bitrate: int) -> VideoCodecContext:
        asked.append((width, height, bitrate))
        return vp8_context(width, height, bitrate)

    async with fanning_out({"VP8": make}) as fan:
        broadcast = fan.broadcast("VP8")
        queue = PictureQueue(broadcast)
        for number in range(50):
            fan.show(picture(number), number / 30)
        await asyncio.sleep(0.05)
        assert (asked, broadcast.encoded, broadcast._task) == ([], 0, None)
        assert Decoder("VP8").numbers(await queue.get()) == [49]
        assert asked == [(SIZE, SIZE, 1_000_000)]
        queue.close()
        await until(lambda: broadcast._task is None)
        assert broadcast._context is None


async def test_the_newest_picture_wins() -> None:
    async with fanning_out() as fan:
        queue = PictureQueue(fan.broadcast("VP8"))
        decoder = Decoder("VP8")
        fan.show(picture(0), 0.0)
        assert decoder.numbers(await queue.get()) == [0]
        for number in range(1, 30):
            fan.show(picture(number), number / 30)
        assert decoder.numbers(await queue.get()) == [29]
        assert fan.broadcast("VP8").encoded == 2


async def test_a_viewer_that_does_not_keep_up_loses_pictures_and_goes_on_at_a_keyframe() -> None:
    async with fanning_out() as fan:
        broadcast = fan.broadcast("VP8")
        fast, slow = PictureQueue(broadcast), PictureQueue(broadcast, capacity=3)
        decoder = Decoder("VP8")
        fan.show(picture(0), 0.0)
        assert (await asyncio.gather(fast.get(), slow.get()))[1].keyframe
        kinds = []
        for number in range(1, 12):
            fan.show(picture(number), number / 30)
            kinds.append((await fast.get()).keyframe)
        assert not any(kinds), "a viewer that reads nothing must not cost the others a keyframe"
        assert slow.lost == 4
        assert slow not in broadcast._queues
        waiting = asyncio.create_task(slow.get())
        await asyncio.sleep(0)
        broadcast._gate._made_s = None
        fan.show(picture(12), 0.4)
        encoded = await waiting
        assert encoded.keyframe
        assert decoder.numbers(encoded) == [12]


async def test_one_that_joins_in_mid_stream_begins_at_a_keyframe_however_long_it_is_in_coming() -> None:
    async with fanning_out() as fan:
        broadcast = fan.broadcast("VP8")
        first, late = PictureQueue(broadcast), PictureQueue(broadcast)
        fan.show(picture(0), 0.0)
        await first.get()
        joining = asyncio.create_task(late.get())
        await asyncio.sleep(0)
        for number in range(1, 6):
            fan.show(picture(number), number / 30)
            assert not (await first.get()).keyframe, "there was one within the last half second"
        assert not joining.done()
        broadcast._gate._made_s = None
        fan.show(picture(6), 0.2)
        assert Decoder("VP8").numbers(await joining) == [6]


async def test_requests_of_several_viewers_are_one_keyframe() -> None:
    async with fanning_out() as fan:
        broadcast = fan.broadcast("VP8")
        queues = [PictureQueue(broadcast) for _ in range(3)]
        fan.show(picture(0), 0.0)
        kinds = []
        for number in range(1, 25):
            encoded = await asyncio.gather(*(queue.get() for queue in queues))
            kinds.append(encoded[0].keyframe)
            if number == 10:
                broadcast._gate._made_s = None
            for queue in queues:
                queue.request_keyframe()
            fan.show(picture(number), number / 30)
        assert kinds[0]
        assert sum(kinds) == 2


async def test_time_stamps_only_grow_also_through_repeats() -> None:
    async with fanning_out() as fan:
        queue = PictureQueue(fan.broadcast("VP8"))
        fan.show(picture(0), 5.0)
        stamps = [(await queue.get()).pts for _ in range(3)]
        fan.show(picture(1), 5.033)
        stamps.append((await queue.get()).pts)
        assert stamps == sorted(set(stamps))


async def test_another_size_is_encoded_at_once() -> None:
    async with fanning_out() as fan:
        queue = PictureQueue(fan.broadcast("H264"))
        fan.show(picture(0), 0.0)
        await queue.get()
        fan.show(np.full((96, 64), 99, np.uint8), 0.1)
        encoded = await queue.get()
        assert encoded.keyframe


def broken(width: int, height: int, bitrate: int) -> VideoCodecContext:
    raise ValueError("no such encoder")


@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_an_encoder_that_fails_is_replaced_by_its_spare_and_every_viewer_goes_on(codec: str, caplog: pytest.LogCaptureFixture) -> None:
    stock, failures, trouble = {"VP8": vp8_context, "H264": h264_context}[codec], list[int](), [False]

    def failed() -> None:
        failures.append(1)
        trouble[0] = len(failures) < 3

    def maker(name: str, after_failure: bool) -> MakeContext:
        return broken if trouble[0] or after_failure != bool(failures) else stock

    async with fanning_out_by(maker, failed) as fan:
        broadcast = fan.broadcast(codec)
        queues, decoders = [PictureQueue(broadcast) for _ in range(2)], [Decoder(codec) for _ in range(2)]
        fan.show(picture(0), 0.0)
        await asyncio.gather(*(queue.get() for queue in queues))
        trouble[0], broadcast._context = True, None
        fan.show(picture(1), 1 / 30)
        for queue, decoder in zip(queues, decoders, strict=True):
            encoded = await queue.get()
            assert encoded.keyframe, "the new encoder knows nothing of the old one's pictures"
            assert decoder.numbers(encoded) == [1]
        assert len(failures) == 3
        assert [record.getMessage() for record in caplog.records] == ["the viewers' encoder failed; a new one goes on in its place: no such encoder"]


async def test_when_no_encoder_works_its_viewers_are_let_go_and_may_come_again(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "GIVE_UP_S", 0.3)
    makers: dict[str, MakeContext] = {"VP8": broken, "H264": h264_context}
    async with fanning_out(makers) as fan:
        queue, other = PictureQueue(fan.broadcast("VP8")), PictureQueue(fan.broadcast("H264"))
        fan.show(picture(0), 0.0)
        with pytest.raises(StreamEnded):
            await queue.get()
        assert [record.getMessage() for record in caplog.records][1:] == ["encoding for viewers failed; they are let go"]
        assert (await other.get()).keyframe, "the other codec's are not"
        await until(lambda: fan.broadcast("VP8")._task is None)
        makers["VP8"] = vp8_context
        assert Decoder("VP8").numbers(await PictureQueue(fan.broadcast("VP8")).get()) == [0]


async def test_the_end_of_it_ends_waiting_viewers_and_later_ones() -> None:
    async with fanning_out() as fan:
        queue, late = PictureQueue(fan.broadcast("VP8")), PictureQueue(fan.broadcast("VP8"))
        waiting = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        await fan.aclose()
        await fan.aclose()
        with pytest.raises(StreamEnded):
            await waiting
        with pytest.raises(StreamEnded):
            await late.get()


async def test_contract_of_the_sender() -> None:
    """Requests for keyframes reach the fan-out, and pictures encoded elsewhere are packed as they are."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    sender = peer.addTransceiver("video").sender
    asked: list[int] = []
    assert keyframe_requests.pass_keyframe_requests(sender, lambda: asked.append(1))
    assert "self._send_keyframe()" in inspect.getsource(RTCRtpSender._handle_rtcp_packet)
    sender._send_keyframe()
    assert asked == [1]
    assert "self.__encoder.pack(data)" in inspect.getsource(RTCRtpSender._next_encoded_frame)
    packet = av.Packet(b"\0\0\0\1\x65" + bytes(3000))
    packet.pts, packet.time_base = 4500, Fraction(1, CLOCK_HZ)
    for stock in (Vp8Encoder(), H264Encoder()):
        payloads, timestamp = stock.pack(packet)
        assert len(payloads) == 3
        assert timestamp == 4500
    await peer.close()


def test_another_sender_is_left_alone_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert not keyframe_requests.pass_keyframe_requests(object(), lambda: None)  # type: ignore[arg-type]
    assert len(caplog.records) == 1
