"""The command line, as a shell sees it: what it prints, how it ends, and files that tshark reads."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import wintun
from children import environment
from packets import echo_request
from wintun import _native, pcapng

_LIMIT = 60  # seconds: a safety net, no test waits for it


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "wintun", *arguments]


def cli(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(_command(*arguments), capture_output=True, text=True, timeout=_LIMIT, check=False, **options)


def result(done: subprocess.CompletedProcess[str]) -> Any:
    """The one JSON value on standard output."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def tshark(path: Path, *arguments: str) -> list[str]:
    """What tshark makes of a file; a complaint is a failure."""
    program = shutil.which("tshark")
    assert program is not None, "tshark is not installed: tools/setup test"
    done = subprocess.run(
        [program, "-r", str(path), *arguments], capture_output=True, text=True, timeout=_LIMIT, check=False
    )
    assert done.returncode == 0, done.stderr
    complaints = [line for line in done.stderr.splitlines() if line and not line.startswith("Running as user")]
    assert not complaints
    return done.stdout.splitlines()


class Capture:
    """A running `capture`, ended whatever the test does."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            _command("capture", "Captured", "-a", "10.77.1.1/24", *arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.first_line = self.process.stdout.readline()

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def finish(self) -> tuple[int, str]:
        out, error = self.process.communicate(timeout=_LIMIT)
        assert "Traceback" not in error
        return self.process.returncode, out


def send_datagrams(count: int, peer: str = "10.77.1.2") -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
        for number in range(count):
            flow.sendto(b"wintun-datagram-%d" % number, (peer, 4000))


def test_demo_receives_all_that_the_kernel_sends() -> None:
    all_of_it = result(cli("demo", "--quick", "--json"))
    shown = all_of_it["kernel"]
    assert (all_of_it["ok"], all_of_it["kernel_missing"], shown["ok"]) == (True, None, True)
    assert shown["datagrams_received"] == shown["datagrams_sent"] > 0
    assert shown["pings_answered"] >= 1


def test_demo_prints_a_line_for_each_packet_and_says_how_it_ended() -> None:
    done = cli("demo", "--quick")
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^Received \d+$", done.stdout, re.MULTILINE)) >= 6
    assert "bytes from 10.2.0.2" in done.stdout
    assert re.search("^all came through; the device is gone$", done.stdout, re.MULTILINE)


@pytest.mark.skipif(not _native.has_stack, reason="this build has no embedded driver")
def test_demo_shows_both_backends_where_both_can_be_had() -> None:
    done = cli("demo", "--quick")
    assert done.returncode == 0, done.stderr
    kernel, embedded = done.stdout.index("kernel: "), done.stdout.index("embedded: ")
    assert kernel < done.stdout.index("the device is gone") < embedded
    assert done.stdout.count("every byte as it was sent") == 2


def test_demo_leaves_this_network_namespace_alone() -> None:
    before = socket.if_nameindex()
    assert cli("demo", "--quick").returncode == 0
    assert socket.if_nameindex() == before


def test_list_shows_a_device_with_its_addresses_and_holder(tun: wintun.TunDevice) -> None:
    (shown,) = result(cli("list", "--json"))
    assert shown["name"] == tun.interface
    assert shown["index"] == tun.index
    assert shown["mtu"] == tun.mtu
    assert shown["up"] is True
    assert shown["persistent"] is False
    assert {"10.77.0.1/24", "fd77::1/64"} <= set(shown["addresses"])
    assert shown["holder"].split()[0] == str(os.getpid())


def test_list_without_devices_says_so() -> None:
    assert result(cli("list", "--json")) == []
    done = cli("list")
    assert (done.returncode, done.stdout) == (0, "no TUN interface here\n")


def test_list_leaves_out_a_tap_device() -> None:
    subprocess.run(["ip", "tuntap", "add", "dev", "tap9", "mode", "tap"], check=True)
    subprocess.run(["ip", "tuntap", "add", "dev", "kept9", "mode", "tun"], check=True)
    (shown,) = result(cli("list", "--json"))
    assert (shown["name"], shown["persistent"], shown["holder"]) == ("kept9", True, None)


def test_version_tells_the_same_as_the_package() -> None:
    shown = result(cli("version", "--json"))
    number = wintun.get_driver_version()
    assert shown["driver"] == f"{number >> 16}.{number & 0xFFFF}"
    assert shown["python"].endswith(sys.version.split()[0])
    assert re.match(r"\d+\.\d+", shown["wintun"])


def test_stats_counts_packets_in_both_directions(tun: wintun.TunDevice) -> None:
    (before,) = result(cli("stats", tun.interface, "--json", "--interval", "0.01"))
    send_datagrams(7, "10.77.0.2")
    packets = [packet for packet in tun.read_many() if packet[0] >> 4 == 4]
    assert len(packets) == 7
    tun.write(packets[0])
    (after,) = result(cli("stats", tun.interface, "--json", "--interval", "0.01"))
    assert after["interface"] == tun.interface
    assert after["to_user_packets"] - before["to_user_packets"] >= 7
    assert after["to_network_packets"] - before["to_network_packets"] == 1


def test_stats_takes_as_many_samples_as_asked(tun: wintun.TunDevice) -> None:
    done = cli("stats", "--json", "--interval", "0.01", "--count", "3")
    assert done.returncode == 0
    samples = [json.loads(line) for line in done.stdout.splitlines()]
    assert [sample[0]["interface"] for sample in samples] == [tun.interface] * 3


def test_stats_of_an_unknown_interface_fails_and_names_those_there_are(tun: wintun.TunDevice) -> None:
    done = cli("stats", "nosuchlink", "--json")
    assert done.returncode == 1
    error = json.loads(done.stdout)["error"]
    assert "nosuchlink" in error["message"]
    assert tun.interface in error["message"]
    assert done.stderr.startswith("wintun: ")


def test_ctrl_c_is_the_ordinary_end_of_stats(tun: wintun.TunDevice) -> None:
    with subprocess.Popen(
        _command("stats", "--count", "100000", "--interval", "0.01"), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("interface")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=_LIMIT)
        assert process.returncode == 0


def test_doctor_finds_a_machine_that_runs_these_tests_well() -> None:
    shown = result(cli("doctor", "--json"))
    assert shown["ok"] is True
    checks = {check["name"]: check for check in shown["checks"]}
    assert {"/dev/net/tun", "driver", "rights", "namespaces", "IPv6", "memory", "packets"} <= set(checks)
    assert all(check["status"] == "ok" or check["remedy"] for check in checks.values())


@pytest.mark.no_device
def test_doctor_tells_an_ordinary_user_what_is_missing_and_what_to_do() -> None:
    # Imported first, so that it works where the checkout is not readable for everybody.
    code = (
        "import sys; import wintun._cli, wintun._cli_doctor; from children import give_up_rights; "
        "wintun._cli.build_parser(); give_up_rights(); sys.exit(wintun._cli.main(['doctor', '--json']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=_LIMIT, check=False, env=environment()
    )
    shown = json.loads(done.stdout)
    checks = {check["name"]: check for check in shown["checks"]}
    assert checks["rights"]["status"] == "warn"
    assert "sudo" in checks["rights"]["remedy"]
    assert done.returncode == (0 if shown["ok"] else 1)
    assert all(check["status"] == "ok" or check["remedy"] for check in checks.values())


def test_capture_of_a_count_is_read_by_tshark(tmp_path: Path) -> None:
    file = tmp_path / "packets.pcapng"
    with Capture("-w", str(file), "--count", "5") as capture:
        assert "capturing" in capture.first_line
        send_datagrams(5)
        code, out = capture.finish()
    assert code == 0
    assert "5 packets written" in out
    assert len(tshark(file)) == 5
    assert "Raw IP" in "\n".join(tshark(file, "-V", "-c", "1"))


def test_capture_interrupted_by_ctrl_c_ends_well_with_a_valid_file(tmp_path: Path) -> None:
    file = tmp_path / "packets.pcapng"
    with Capture("-w", str(file)) as capture:
        send_datagrams(3)
        _wait_for_datagrams(file, 3)
        capture.process.send_signal(signal.SIGINT)
        code, _out = capture.finish()
    assert code == 0
    assert len(tshark(file, "-Y", "udp.port == 4000")) == 3


def test_capture_ends_after_so_many_seconds_with_nothing_to_read(tmp_path: Path) -> None:
    file = tmp_path / "packets.pcapng"
    with Capture("-w", str(file), "--seconds", "0.2", "--json") as capture:
        code, _out = capture.finish()
    assert code == 0
    assert tshark(file, "-Y", "udp") == []


def test_capture_answers_pings_and_records_the_answers(tmp_path: Path) -> None:
    file = tmp_path / "packets.pcapng"
    with Capture("-w", str(file), "--answer") as capture:
        ping = subprocess.run(
            ["ping", "-n", "-c", "2", "-i", "0.2", "10.77.1.2"], capture_output=True, timeout=_LIMIT, check=False
        )
        assert ping.returncode == 0
        capture.process.send_signal(signal.SIGTERM)
        code, _out = capture.finish()
    assert code == 0
    bad = "icmp.checksum.status == bad or ip.checksum.status == bad"
    assert tshark(file, "-o", "ip.check_checksum:TRUE", "-Y", bad) == []
    outbound = tshark(file, "-Y", "icmp.type == 0 and frame.packet_flags_direction == 2")
    assert len(outbound) == 2


@pytest.mark.no_device
def test_a_capture_that_is_ended_records_the_answer_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    from wintun import _cli, _cli_capture

    request = echo_request("10.77.1.1", "10.77.1.2", 1, 1)

    class Device:
        def wait_read_event(self, _timeout: float) -> bool:
            return True

        def read_many(self) -> list[bytes]:
            return [request, request]

        def write(self, packet: bytes) -> int:
            os.kill(os.getpid(), signal.SIGTERM)
            return len(packet)

    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    ending = _cli_capture._Ending()
    ending.listen()
    try:
        writer = pcapng.PcapngWriter(io.BytesIO(), "tun", "a device")
        arguments = _cli.build_parser().parse_args(["capture", "Captured", "--answer", "-w", "-"])
        _cli_capture._record(Device(), writer, arguments, mock.Mock(), ending)  # type: ignore[arg-type]
    finally:
        for number, handler in zip((signal.SIGTERM, signal.SIGINT), before):
            signal.signal(number, handler)
    assert writer.packets == 2


def test_capture_to_standard_output_is_nothing_but_packets(tmp_path: Path) -> None:
    file = tmp_path / "packets.pcapng"
    with file.open("wb") as out:
        process = subprocess.Popen(
            _command("capture", "Captured", "-a", "10.77.1.1/24", "--write", "-", "--count", "2"),
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        assert "capturing" in process.stderr.readline()
        send_datagrams(2)
        process.communicate(timeout=_LIMIT)
    assert process.returncode == 0
    assert len(tshark(file)) == 2


def test_capture_to_an_impossible_path_fails_before_an_interface_appears(tmp_path: Path) -> None:
    done = cli("capture", "Captured", "-w", str(tmp_path / "no" / "such" / "folder"))
    assert done.returncode == 1
    assert "No such file" in done.stderr
    assert "Traceback" not in done.stderr


def test_capture_refuses_an_address_that_is_none(tmp_path: Path) -> None:
    done = cli("capture", "Captured", "-w", str(tmp_path / "x"), "-a", "10.0.0.300")
    assert done.returncode == 1
    assert "10.0.0.300" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.no_device
@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nosuchcommand",),
        ("capture", "x"),
        ("stats", "--interval", "0"),
        ("stats", "--interval", "inf"),
        ("stats", "--count", "-1"),
        ("capture", "x", "-w", "y", "--seconds", "soon"),
    ],
)
def test_wrong_arguments_end_with_2_and_say_how_to_use_it(arguments: tuple[str, ...]) -> None:
    done = cli(*arguments)
    assert done.returncode == 2
    assert "usage: python -m wintun" in done.stderr
    assert done.stdout == ""


@pytest.mark.no_device
@pytest.mark.parametrize("command", ["demo", "list", "version", "capture", "stats", "doctor"])
def test_every_command_explains_itself_and_its_exit_codes(command: str) -> None:
    done = cli(command, "--help")
    assert done.returncode == 0
    assert "--json" in done.stdout
    assert "exit codes:" in done.stdout


@pytest.mark.no_device
def test_no_rights_end_with_3_and_point_to_the_doctor(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from wintun import _cli, _cli_list

    def refuse() -> list[object]:
        raise PermissionError(1, "making the device Demo: not permitted")

    monkeypatch.setattr(_cli_list._cli_links, "tun_links", refuse)
    assert _cli.main(["list", "--json"]) == 3
    shown = capsys.readouterr()
    assert json.loads(shown.out)["error"]["exit_code"] == 3
    assert "doctor" in shown.err


@pytest.mark.no_device
def test_no_device_node_ends_with_3() -> None:
    from wintun import _cli_exit

    assert _cli_exit.exit_code_of(FileNotFoundError(2, "asking the driver: there is no /dev/net/tun")) == 3
    assert _cli_exit.exit_code_of(FileNotFoundError(2, "No such file", "x.pcapng")) == 1


@pytest.mark.no_device
def test_tables_line_up_without_rich() -> None:
    from wintun._cli_output import plain_table

    text = plain_table(("name", "packets"), [("a", 5), ("longer", 12345)])
    assert text.splitlines() == ["name    packets", "a             5", "longer   12,345"]


@pytest.mark.no_device
@pytest.mark.parametrize("length", [0, 1, 19, 20, 27, 28, 40, 47, 48])
def test_echo_reply_leaves_broken_packets_alone(length: int) -> None:
    from wintun._cli_ping import echo_reply

    for first in (0x45, 0x4F, 0x60, 0x00):
        packet = bytearray(length)
        if length:
            packet[0] = first
        assert echo_reply(packet) is None


def _wait_for_datagrams(file: Path, count: int) -> None:
    """Until the capture has flushed so many datagrams' text to the file."""
    for _ in range(_LIMIT * 100):
        if file.read_bytes().count(b"wintun-datagram-") >= count:
            return
        time.sleep(0.01)
    raise AssertionError("the packets never came into the file")


Maker = Callable[..., wintun.TunDevice]


def test_capture_of_a_name_in_use_fails_with_words(tmp_path: Path, make_tun: Maker) -> None:
    device = make_tun("taken9")
    done = cli("capture", "taken9", "-w", str(tmp_path / "x"))
    assert done.returncode == 1
    assert device.interface in done.stderr
    assert "Traceback" not in done.stderr
