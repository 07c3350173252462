"""A cable between two network namespaces: what is sent into one device comes out of the other.

    sudo ip netns add other
    sudo python forwarder.py other &
    ping 10.68.0.2

The packets move in bursts that stay in native memory; Python never looks into them. `forward` is the part to copy.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading

import wintun


def forward(source: wintun.TunDevice, target: wintun.TunDevice) -> None:
    """Moves packets until one of the devices is closed. One thread a direction."""
    with contextlib.suppress(OSError):  # how a closed device ends its readers
        while True:
            source.wait_read_event()
            while batch := source.read_batch():
                target.write_batch(batch)


def enter_namespace(name: str) -> None:
    """Moves this thread into a network namespace, by its name or its path. (From Python 3.12 on: os.setns.)"""
    descriptor = os.open(name if "/" in name else f"/run/netns/{name}", os.O_RDONLY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(descriptor, 0) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), name)
    finally:
        os.close(descriptor)


def main(namespace: str) -> None:
    with wintun.TunDevice("here") as here:
        here.addr = "10.68.0.1/24"
        here.up()
        enter_namespace(namespace)  # a device stays in the namespace that it was made in
        with wintun.TunDevice("there") as there:
            there.addr = "10.68.0.2/24"
            there.up()
            threads = [threading.Thread(target=forward, args=pair) for pair in ((here, there), (there, here))]
            for thread in threads:
                thread.start()
            print("10.68.0.1 here is connected to 10.68.0.2 there; Ctrl-C ends", flush=True)
            try:
                threading.Event().wait()
            finally:
                here.close()
                there.close()
                for thread in threads:
                    thread.join()
                print(
                    f"there and back: {there.statistics['sent_packets']} and {here.statistics['sent_packets']} packets"
                )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with contextlib.suppress(KeyboardInterrupt):
        main(sys.argv[1])
