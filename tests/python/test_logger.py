"""The logger: called for what happens, whatever the callback does; and the same lines go to `logging`."""

from __future__ import annotations

import gc
import logging
import sys
import threading
import time
import weakref

import pytest

import wintun

TICKS_1970 = 116_444_736_000_000_000  # 100 ns since 1601-01-01


@pytest.fixture(autouse=True)
def no_logger_left():
    yield
    wintun.set_logger(None)


def make_lines():
    """Makes and closes a device, which the driver and the library have something to say about."""
    with wintun.TunDevice("logged") as tun:
        tun.up()


def test_the_callback_gets_level_ticks_and_text():
    lines = []
    wintun.set_logger(lambda *line: lines.append(line))
    before = time.time()
    make_lines()
    after = time.time()
    assert lines
    for level, timestamp, text in lines:
        assert level in (0, 1, 2)
        assert before - 1 <= (timestamp - TICKS_1970) / 1e7 <= after + 1
        assert isinstance(text, str)
        assert text
    assert any("logged" in text for _, _, text in lines)


def test_none_takes_the_callback_away():
    lines = []
    wintun.set_logger(lambda *line: lines.append(line))
    wintun.set_logger(None)
    make_lines()
    assert lines == []


def test_what_cannot_be_called_is_a_type_error_and_keeps_the_old_one():
    lines = []
    wintun.set_logger(lambda *line: lines.append(line))
    with pytest.raises(TypeError):
        wintun.set_logger("print")
    make_lines()
    assert lines


def test_the_callback_is_kept_alive_and_let_go():
    class Callback:
        def __init__(self):
            self.calls = 0

        def __call__(self, level, timestamp, text):
            self.calls += 1

    wintun.set_logger(Callback())
    gc.collect()
    make_lines()
    callback = Callback()
    gone = weakref.ref(callback)
    wintun.set_logger(callback)
    make_lines()
    assert callback.calls
    del callback
    wintun.set_logger(None)
    gc.collect()
    assert gone() is None


def test_exceptions_in_the_callback_are_reported_and_never_fatal(monkeypatch):
    reported = []
    monkeypatch.setattr(sys, "unraisablehook", lambda info: reported.append(info.exc_value))

    def callback(level, timestamp, text):
        raise RuntimeError("from the callback")

    wintun.set_logger(callback)
    make_lines()
    assert reported
    assert {str(error) for error in reported} == {"from the callback"}


def test_a_callback_with_a_wrong_signature_is_reported_and_never_fatal(monkeypatch):
    reported = []
    monkeypatch.setattr(sys, "unraisablehook", lambda info: reported.append(info.exc_type))
    wintun.set_logger(lambda: None)
    make_lines()
    assert set(reported) == {TypeError}


def test_the_callback_may_replace_itself_while_it_runs():
    lines = []

    def second(*line):
        lines.append(("second", *line))

    def first(*line):
        lines.append(("first", *line))
        wintun.set_logger(second)

    wintun.set_logger(first)
    make_lines()
    make_lines()
    assert [line[0] for line in lines].count("first") == 1
    assert lines[-1][0] == "second"


def test_the_callback_may_use_devices():
    seen = []
    with wintun.TunDevice("other") as tun:

        def callback(level, timestamp, text):
            tun.mtu = 1400 + len(seen)
            seen.append((tun.is_up, repr(tun)))

        wintun.set_logger(callback)
        tun.up()
        make_lines()
        wintun.set_logger(None)
    assert seen


def test_the_logger_can_be_replaced_while_others_make_lines():
    stop = threading.Event()
    errors = []

    def work(name):
        try:
            while not stop.is_set():
                with wintun.TunDevice(name) as tun:
                    tun.up()
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=work, args=(f"work{number}",)) for number in range(3)]
    for worker in workers:
        worker.start()
    counts = [0, 0]

    def make(index):
        def callback(level, timestamp, text):
            counts[index] += 1

        return callback

    for number in range(100):
        wintun.set_logger(make(number % 2) if number % 3 else None)
        time.sleep(0.001)
    stop.set()
    for worker in workers:
        worker.join()
    assert errors == []


def test_the_lines_go_to_logging_with_their_levels(caplog):
    lines = []
    wintun.set_logger(lambda *line: lines.append(line))
    with caplog.at_level(logging.DEBUG, logger="wintun"):
        make_lines()
    records = [record for record in caplog.records if record.name == "wintun"]
    assert [record.getMessage() for record in records] == [text for _, _, text in lines]
    names = {0: "INFO", 1: "WARNING", 2: "ERROR"}
    assert [record.levelname for record in records] == [names[level] for level, _, _ in lines]


def test_the_lines_go_to_logging_without_a_callback(caplog):
    with caplog.at_level(logging.DEBUG, logger="wintun"):
        make_lines()
    assert any("logged" in record.getMessage() for record in caplog.records if record.name == "wintun")


def test_a_callback_that_raises_does_not_keep_lines_from_logging(caplog, monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", lambda info: None)
    wintun.set_logger(lambda: None)
    with caplog.at_level(logging.DEBUG, logger="wintun"):
        make_lines()
    assert any("logged" in record.getMessage() for record in caplog.records if record.name == "wintun")


def test_a_line_with_a_percent_sign_is_no_format(caplog):
    with caplog.at_level(logging.DEBUG, logger="wintun"), wintun.TunDevice("100%d %s") as tun:
        tun.up()
    assert any("100%d %s" in record.getMessage() for record in caplog.records)
