"""What a notebook shows: devices, statistics and batches as tables, and nothing in a packet or a name is trusted."""

from __future__ import annotations

import re
import struct

import pytest

import wintun
from packets import udp
from wintun import _html, _native

pytestmark = pytest.mark.no_device

embedded = pytest.mark.skipif(not _native.has_stack, reason="this build has no embedded driver")


def cells(html):
    return [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in re.findall(r"<tr>(.*?)</tr>", html)]


def described(packet):
    return _html.describe(memoryview(packet))


@embedded
def test_a_batch_shows_its_first_packets_and_says_how_many_more_there_are():
    with wintun.TunDevice("batch", backend="embedded") as tun:
        tun.addr = "10.9.0.1"
        tun.up()
        with tun.datagram(remote=("10.9.0.2", 9)) as sender:
            for size in range(12):
                sender.send(bytes(size))
        port = sender_port(batch := tun.read_batch())
    html = batch._repr_html_()
    assert f"12 packets, {sum(range(28, 40))} bytes" in html and "and 2 more" in html
    assert cells(html)[0] == ["", "from", "to", "protocol", "bytes"]
    assert cells(html)[1:] == [
        [str(number), f"10.9.0.1:{port}", "10.9.0.2:9", "UDP", str(28 + number)] for number in range(10)
    ]


def sender_port(batch):
    return int.from_bytes(batch[0][20:22], "big")


@embedded
def test_an_empty_batch_and_one_of_one_packet_show_themselves():
    with wintun.TunDevice("batch", backend="embedded") as tun:
        tun.addr = "10.9.0.1"
        tun.up()
        assert "0 packets, 0 bytes" in tun.read_batch()._repr_html_()
        with pytest.raises(TimeoutError):
            tun.ping("10.9.0.2", 0)
        html = tun.read_batch()._repr_html_()
    assert "1 packet, 84 bytes" in html and "more" not in html
    assert cells(html)[1] == ["0", "10.9.0.1", "10.9.0.2", "ICMP", "84"]


def test_packets_are_described_by_their_headers():
    assert described(udp("10.0.0.1", "10.0.0.2", 1, 2, b"")) == ("10.0.0.1:1", "10.0.0.2:2", "UDP")
    assert described(udp("fd00::1", "fd00::2", 1, 2, b"")) == ("[fd00::1]:1", "[fd00::2]:2", "UDP")


def test_no_packet_however_it_is_cut_or_garbled_cannot_be_described():
    whole = udp("10.0.0.1", "10.0.0.2", 1, 2, bytes(40)), udp("fd00::1", "fd00::2", 1, 2, bytes(40))
    for packet in whole:
        for size in range(len(packet)):
            assert all(isinstance(text, str) for text in described(packet[:size]))
        for at in range(40):
            for value in (0, 6, 0xFF):
                described(packet[:at] + bytes([value]) + packet[at + 1 :])
    assert described(b"") == described(b"\x45") == described(b"<b>") == ("", "", "not an IP packet")


def test_a_packet_that_ends_before_its_ports_has_none():
    assert described(udp("10.0.0.1", "10.0.0.2", 1, 2, b"")[:27]) == ("10.0.0.1", "10.0.0.2", "UDP")


def test_a_later_fragment_has_no_ports():
    packet = bytearray(udp("10.0.0.1", "10.0.0.2", 1, 2, b""))
    struct.pack_into("!H", packet, 6, 5)
    assert described(packet)[:2] == ("10.0.0.1", "10.0.0.2")


@embedded
def test_statistics_and_devices_show_what_they_count_and_are():
    with wintun.TunDevice("<i>&", backend="embedded") as tun:
        tun.addr = "10.9.0.1"
        tun.up()
        with pytest.raises(TimeoutError):
            tun.ping("10.9.0.2", 0, size=1000)
        tun.read()
        html = tun.statistics._repr_html_()
        assert cells(html)[0] == ["", "packets", "bytes", "dropped"]
        assert cells(html)[1] == ["received: read by the program", "1", "1,028", "0"]
        assert cells(html)[2] == ["sent: written by the program", "0", "0", "0"]
        assert "waits" not in html
        shown = tun._repr_html_()
        assert ["addresses", "10.9.0.1/24"] in cells(shown) and ["state", "up"] in cells(shown)
        assert "&lt;i&gt;&amp;" in shown and "<i>" not in shown


def test_statistics_tell_of_waits_where_there_were_any():
    html = wintun.Statistics("waits", {"waits": 1200, "wakes": 7})._repr_html_()
    assert "1,200 waits for a packet, 7 of them" in html


def test_numbers_stand_to_the_right_and_their_column_name_too():
    html = _html.table("title", [("a<", 1000)], ("name", "count"), "note>")
    assert '<th style="text-align:right">count</th>' in html and '<td style="text-align:right">1,000</td>' in html
    assert '<td style="text-align:left">a&lt;</td>' in html and "note&gt;" in html
