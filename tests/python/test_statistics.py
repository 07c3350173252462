"""Statistics add up: what the kernel counts, what was read, and what was dropped are one account."""

from __future__ import annotations

from collections.abc import Mapping

from packets import HOST4, PEER4, Sender, receiver, udp


def kernel_counters(tun):
    """(packets, drops) that the kernel's stack sent into the interface, by /proc."""
    with open("/proc/thread-self/net/dev") as file:
        for line in file:
            name, _, fields = line.partition(":")
            if name.strip() == tun.interface:
                values = list(map(int, fields.split()))
                return values[9], values[11]
    raise AssertionError("no such interface")


def test_statistics_are_a_mapping_of_numbers(tun):
    statistics = tun.statistics
    assert isinstance(statistics, Mapping)
    assert {"received_packets", "received_bytes", "received_drops"} <= set(statistics)
    assert {"sent_packets", "sent_bytes", "sent_drops", "waits", "wakes"} <= set(statistics)
    assert all(isinstance(value, int) and value >= 0 for value in statistics.values())
    assert len(statistics) == len(list(statistics))


def test_every_packet_read_is_counted_in_every_way_of_reading(tun):
    while tun.read():
        pass
    before = tun.statistics
    with Sender() as sender:
        sender.send_numbers(60)
    sizes = [len(tun.read(timeout=30)) for _ in range(10)]
    sizes += [tun.read_into(bytearray(100)) for _ in range(10)]
    sizes += [len(packet) for packet in tun.read_many(limit=10)]
    for _ in range(10):
        with tun.receive() as packet:
            sizes.append(len(packet))
    sizes += [len(packet) for packet in tun.read_batch()]
    after = tun.statistics
    assert after["received_packets"] - before["received_packets"] == len(sizes) == 60
    assert after["received_bytes"] - before["received_bytes"] == sum(sizes)
    assert after["received_drops"] == before["received_drops"]


def test_every_packet_written_is_counted_in_every_way_of_writing(tun):
    before = tun.statistics
    packet = udp(PEER4, HOST4, 1, 2, b"x" * 100)
    tun.write(packet)
    tun.write(b"\0\0\x08\0" + packet)
    tun.write_many([packet] * 8)
    after = tun.statistics
    assert after["sent_packets"] - before["sent_packets"] == 10
    assert after["sent_bytes"] - before["sent_bytes"] == 10 * len(packet)
    assert after["sent_drops"] == before["sent_drops"]


def test_what_the_kernel_sent_is_what_was_read_or_dropped(tun):
    """A burst that no queue holds, and then an end with a full queue."""
    with Sender() as sender:
        for _ in range(5):
            sender.send_numbers(3000)
            for _ in range(500):
                tun.read()
        sender.send_numbers(20000)  # nobody reads these
        packets, drops = kernel_counters(tun)
        tun.down()
    read = tun.statistics["received_packets"]
    lost = tun.statistics["received_drops"]
    # The kernel counts packets only as they leave its queue, so those that down() found there are in neither number.
    assert read + lost >= packets
    assert read + lost + drops >= sender.sent


def test_statistics_go_on_over_down_and_up(tun):
    with Sender() as sender:
        sender.send_numbers(3)
        assert len(tun.read_many()) >= 3
        before = tun.statistics["received_packets"]
        tun.down()
        tun.up()
        assert tun.statistics["received_packets"] == before
        sender.send_numbers(3)
        while tun.statistics["received_packets"] < before + 3:
            tun.read(timeout=30)


def test_waits_that_slept_and_were_woken_are_counted(tun):
    import threading

    while tun.read():
        pass
    before = tun.statistics
    tun.wait_read_event(0.01)
    assert tun.statistics["waits"] > before["waits"]
    wakes = tun.statistics["wakes"]
    thread = threading.Thread(target=tun.wait_read_event)
    thread.start()
    waits = tun.statistics["waits"]
    with Sender() as sender:
        while thread.is_alive():
            sender.send_numbers(1)
    thread.join()
    assert tun.statistics["wakes"] >= wakes
    assert waits >= before["waits"]


def test_a_snapshot_does_not_change_later(tun):
    snapshot = tun.statistics
    before = dict(snapshot)
    tun.write(udp(PEER4, HOST4, 1, 2, b"x"))
    assert dict(snapshot) == before
    assert tun.statistics["sent_packets"] == before["sent_packets"] + 1


def test_statistics_stay_readable_after_close(tun):
    tun.write(udp(PEER4, HOST4, 1, 2, b"x"))
    tun.close()
    assert tun.statistics["sent_packets"] == 1


def test_a_packet_that_reached_the_kernel_was_counted_before(tun):
    with receiver() as sock:
        tun.write(udp(PEER4, HOST4, 1, sock.getsockname()[1], b"x"))
        sock.recv(10)
        assert tun.statistics["sent_packets"] == 1
