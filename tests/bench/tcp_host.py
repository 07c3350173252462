"""One measurement of TCP, in a process of its own: a stack, the relay, and the peer's kernel behind a TUN.

    tcp_host.py JSON     {"stack", "direction", "connections", "mtu", "rtt", "loss", "warm", "seconds", "seed"}

    stack             the host                            its packets                   CPU counted
    sockets, streams  TunDevice(backend='embedded')       the relay, in this process    this process, relay included
    kernel            TunDevice(backend='kernel'), in a   the relay, in this process    this process, relay included
                      namespace of its own
    pytcp             pymobiledevice3's tunnel with its   a stream to the relay here    the tunnel's process alone
                      own userspace stack, in a process
    loopback          the peer's kernel, by its loopback  no relay                      this process
    tunnel            the same with our embedded device   a stream to the relay here    the tunnel's process alone

Prints one JSON object.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "python")]

import tcp_load  # noqa: E402
import wintun  # noqa: E402
from namespaces import enter_network_namespace  # noqa: E402
from relay import QUEUE, Relay, StreamEnd  # noqa: E402
from tcp_peer import LOOPBACK, grow, prepare  # noqa: E402

HOST, PEER, PORT = "fd09::1", "fd09::2", 4000
TUNNELS = ("pytcp", "tunnel")
WINDOW = 4 << 20  # bytes that the embedded stack and pymobiledevice3 have; the kernel is given as much
STREAM = 16 << 20  # bytes in the socket of a stream to a tunnel


@contextlib.contextmanager
def device(name: str, backend: str, mtu: int, address: str) -> Iterator[wintun.TunDevice]:
    with wintun.TunDevice(name, backend=backend) as tun:
        tun.mtu = mtu
        tun.addr = address
        tun.up()
        if backend == "kernel":
            subprocess.run(["ip", "link", "set", tun.interface, "txqueuelen", str(QUEUE)], check=True)
        yield tun


@contextlib.contextmanager
def peer_process(address: str, counter: int) -> Iterator[int]:
    command = [sys.executable, str(HERE / "tcp_peer.py"), address, str(PORT), str(counter)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=[counter]) as server:
        try:
            if server.stdout is None or server.stdout.readline() != b"listening\n":
                sys.exit("the peer's server has not begun")
            yield server.pid
        finally:
            server.kill()


def drops_of(process: int, interface: str) -> int:
    """Packets that found the transmit queue full, of an interface in that process's namespace."""
    for line in Path(f"/proc/{process}/net/dev").read_text().splitlines():
        name, _, counts = line.strip().partition(":")
        if name == interface:
            return int(counts.split()[11])
    raise LookupError(f"{interface} is not in the peer's namespace")


def kernel_socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    prepare(sock, WINDOW)
    return sock


def run_kernel(address: str, load: tcp_load.Load) -> dict[str, float]:
    def connect() -> socket.socket:
        sock = kernel_socket()
        sock.connect((address, PORT))
        return sock

    async def dial() -> Any:
        sock = kernel_socket()
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (address, PORT, 0, 0))
        return await asyncio.open_connection(sock=sock, limit=tcp_load.LIMIT)

    if load.connections == 1 and load.direction != "E":
        return tcp_load.blocking(connect, load)
    return asyncio.run(tcp_load.streams(dial, load))


def run_embedded(tun: wintun.TunDevice, stack: str, load: tcp_load.Load) -> dict[str, float]:
    if stack == "sockets":
        return tcp_load.blocking(lambda: tun.create_connection((PEER, PORT), timeout=30), load)
    return asyncio.run(tcp_load.streams(lambda: tun.open_connection(PEER, PORT, limit=tcp_load.LIMIT), load))


def run_tunnel(sock: socket.socket, config: dict[str, Any], counter: int) -> dict[str, float]:
    """In its own process: it does not share an interpreter's lock with the relay."""
    command = [sys.executable, str(HERE / "tcp_tunnel.py"), json.dumps(config), str(sock.fileno()), str(counter)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, pass_fds=[sock.fileno(), counter])
    return dict(json.loads(done.stdout))


def load_of(config: dict[str, Any], counter: int) -> tcp_load.Load:
    return tcp_load.Load(
        config["direction"], config["connections"], config["warm"], config["seconds"], counter, config.get("ahead", 0)
    )


def measure(config: dict[str, Any]) -> dict[str, float]:
    tcp_load.allow_many_descriptors()
    counter, stack, mtu = tcp_load.counter(), config["stack"], config["mtu"]
    load = load_of(config, counter)
    enter_network_namespace()
    if stack == "loopback":
        subprocess.run(["ip", "link", "set", "lo", "mtu", str(mtu)], check=True)
        with peer_process(LOOPBACK, counter):
            return run_kernel(LOOPBACK, load)
    with contextlib.ExitStack() as clean:
        peer = clean.enter_context(device("benchpeer", "kernel", mtu, PEER))
        server = clean.enter_context(peer_process(PEER, counter))
        enter_network_namespace()  # this thread leaves the peer's: what comes from here goes through the relay
        host: Any
        if stack in TUNNELS:
            near, far = socket.socketpair()
            for end in (clean.enter_context(near), clean.enter_context(far)):
                grow(end, STREAM)
            host = StreamEnd(near)
        else:
            backend = "kernel" if stack == "kernel" else "embedded"
            host = clean.enter_context(device("benchhost", backend, mtu, HOST))
        with Relay(host, peer, config["rtt"] / 2, config["loss"], config["seed"]) as relay:
            load.relay_cpu = relay.cpu
            if stack in TUNNELS:
                figures = run_tunnel(far, config, counter)
            elif stack == "kernel":
                figures = run_kernel(PEER, load)
            else:
                figures = run_embedded(host, stack, load)
            dropped = relay.dropped + drops_of(server, peer.interface)
            return {**figures, "packets": relay.packets, "lost": relay.lost, "dropped": dropped}


if __name__ == "__main__":
    print(json.dumps(measure(json.loads(sys.argv[1]))))
