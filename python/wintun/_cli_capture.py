"""The command capture: makes a device (or opens a persistent one) and writes its packets as pcapng. One thread.

Ends after so many packets or seconds, at Ctrl-C or SIGTERM, or when the reader of the output leaves; the file is valid
in every case. The device is gone afterwards.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import time
from collections.abc import Iterator
from types import FrameType
from typing import BinaryIO

import wintun
from wintun._cli_output import Output
from wintun._cli_ping import echo_reply
from wintun.pcapng import INBOUND, OUTBOUND, PcapngWriter

_POLL = 0.25  # seconds between two looks at the clock and two progress lines


class _Ending:
    """Ctrl-C and SIGTERM: behind the packet at hand, so that it is recorded with its answer; at once if asked again."""

    def __init__(self) -> None:
        self.asked = self.at_hand = False

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        again, self.asked = self.asked, True
        if again or not self.at_hand:
            raise KeyboardInterrupt

    def listen(self) -> None:
        signal.signal(signal.SIGTERM, self)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where a shell has it ignored
            signal.signal(signal.SIGINT, self)


@contextlib.contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    if path == "-":
        yield sys.stdout.buffer
    else:
        with open(path, "wb") as file:
            yield file


def capture(arguments: argparse.Namespace, output: Output) -> int:
    """Captures what the system sends to a device, as build_parser() describes the arguments."""
    to_stdout = arguments.write == "-"
    # Lines for people must not get among the packets.
    say = Output(as_json=True).line if to_stdout else output.line
    written, broken = 0, False
    ending = _Ending()
    ending.listen()
    # The file first: a path that cannot be written is found before an interface appears.
    with _opened(arguments.write) as file, wintun.TunDevice(arguments.name, "wintun capture") as device:
        if arguments.mtu is not None:
            device.mtu = arguments.mtu
        for address in arguments.address:
            device.add_address(address)
        device.up()
        say(f"{device.interface}: capturing to {arguments.write}, Ctrl-C ends it")
        try:
            writer = PcapngWriter(file, device.interface, f"{device.name}, {device.tunnel_type}")
            writer.flush()
            try:
                _record(device, writer, arguments, output, ending)
            except KeyboardInterrupt:
                pass
            written = writer.packets
            statistics = dict(device.statistics)
            writer.finish(statistics.get("received_packets", written), statistics.get("received_drops", 0))
        except BrokenPipeError:
            broken = True
        output.progress_done()
    if broken:
        raise BrokenPipeError
    if not to_stdout:
        output.result({"file": arguments.write, "packets": written, "statistics": statistics})
    say(f"{written} packets written to {arguments.write}")
    return 0


def _record(
    device: wintun.TunDevice, writer: PcapngWriter, arguments: argparse.Namespace, output: Output, ending: _Ending
) -> None:
    count = arguments.count
    end = None if arguments.seconds is None else time.monotonic() + arguments.seconds
    shown = 0.0
    while True:
        now = time.monotonic()
        if end is not None and now >= end:
            return
        if now - shown >= _POLL:
            output.progress(f"{writer.packets} packets")
            shown = now
        if not device.wait_read_event(_POLL if end is None else min(_POLL, end - now)):
            continue
        ending.at_hand = True
        for packet in device.read_many():
            writer.write(packet, INBOUND)
            reply = echo_reply(packet) if arguments.answer else None
            if reply is not None and (count is None or writer.packets < count):
                with contextlib.suppress(BlockingIOError):  # a full ring: the answer is dropped, and not recorded
                    device.write(reply)
                    writer.write(reply, OUTBOUND)
            if count is not None and writer.packets >= count:
                writer.flush()
                return
            if ending.asked:
                return
        writer.flush()
        ending.at_hand = False
        if ending.asked:
            return
