"""HTTP from a process without a single capability, through the stack, to the kernel of another namespace.

The test, which has the rights, makes a kernel device in its namespace and runs http.server behind it. The client is a
child that lives in an empty namespace, gives up all rights, and has nothing but a socket on which packets go.
"""

from __future__ import annotations

import contextlib
import http.server
import socket
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from cable import Plug
from wintun import _native

pytestmark = pytest.mark.skipif(not _native.has_stack, reason="this build has no embedded driver")

KERNEL4, KERNEL6 = "10.9.1.2", "fd09:1::2"
SIZE = 3_000_000
CONTENT = bytes(range(250)) * (SIZE // 250)
HERE = Path(__file__).resolve().parent

# Before anything else the rights go; a thread would have kept its own.
CHILD = """
import errno, os, socket, sys
sys.path[:0] = {path!r}
import wintun, wintun._stack_asyncio, http.client, urllib.request, asyncio, ssl  # the checkout may be closed to nobody
from cable import Plug
from namespaces import enter_network_namespace
from powerless import drop_all_rights, rights

enter_network_namespace()
drop_all_rights()
assert {{name: value for name, value in rights().items() if name != "NoNewPrivs"}} == dict.fromkeys(
    ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"], 0), rights()
assert rights()["NoNewPrivs"] == 1
try:
    wintun.TunDevice("notallowed")
    raise AssertionError("this process still has rights")
except PermissionError as error:
    assert "embedded" in str(error)

CONTENT = bytes(range(250)) * ({size} // 250)
wire = socket.socket(fileno={wire})
with wintun.TunDevice("free", backend="embedded") as tun:
    tun.mtu = {mtu}
    tun.addr4, tun.addr6 = "10.9.1.1/24", "fd09:1::1/64"
    tun.up()
    with Plug(tun, wire):
        assert [name for _, name in socket.if_nameindex()] == ["lo"]
{body}
"""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(CONTENT)

    def do_PUT(self):
        self.answer(b"same" if self.rfile.read(int(self.headers["Content-Length"])) == CONTENT else b"different")

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Web(http.server.ThreadingHTTPServer):
    request_queue_size = 100  # beyond which a kernel forgets connections that their clients take for made

    def __init__(self, address, context=None):
        self._connections = []
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, Handler)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True)

    def __enter__(self):
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def get_request(self):
        connection, address = super().get_request()
        self._connections.append(connection)
        return connection, address

    def __exit__(self, *_):
        self.shutdown()
        for connection in self._connections:  # the client's device may have gone before its last words
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self.server_close()


@pytest.fixture
def without_rights(make_tun):
    """Runs code in the child; its packets go to this namespace's kernel."""
    kernel = make_tun("kernelside")
    kernel.addr4, kernel.addr6 = f"{KERNEL4}/24", f"{KERNEL6}/64"

    def run(body, mtu=9000):
        kernel.mtu = mtu
        kernel.up()
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        path = [str(HERE), *filter(None, sys.path)]
        code = CHILD.format(
            path=path, size=SIZE, wire=far.fileno(), mtu=mtu, body=textwrap.indent(textwrap.dedent(body), " " * 8)
        )
        child = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code],
            pass_fds=[far.fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        far.close()
        try:
            with Plug(kernel, near):
                out, _ = child.communicate(timeout=90)
        finally:
            child.kill()
            child.communicate()
        assert child.returncode == 0, out

    return run


@pytest.mark.parametrize("mtu", [1500, 16000])
@pytest.mark.parametrize("host", [KERNEL4, KERNEL6])
def test_http_client_downloads_and_uploads(without_rights, host, mtu):
    with Web((host, 8080)):
        without_rights(
            f"""
            assert tun.ping({host!r}, 30) > 0
            client = http.client.HTTPConnection({host!r}, 8080, timeout=60)
            client._create_connection = tun.create_connection  # what its connect() calls
            for _ in range(2):  # on one connection
                client.request("GET", "/")
                assert client.getresponse().read() == CONTENT
                client.request("PUT", "/", body=CONTENT)
                assert client.getresponse().read() == b"same"
            client.close()
            """,
            mtu,
        )


def test_urllib_opens_urls_through_the_stack(without_rights):
    with Web((KERNEL6, 8080)):
        without_rights(
            f"""
            class Connection(http.client.HTTPConnection):
                def connect(self):
                    self.sock = tun.create_connection((self.host, self.port), self.timeout)

            class ThroughTheStack(urllib.request.HTTPHandler):
                def http_open(self, request):
                    return self.do_open(Connection, request)

            opener = urllib.request.build_opener(ThroughTheStack, urllib.request.ProxyHandler({{}}))
            with opener.open("http://[{KERNEL6}]:8080/file") as answer:
                assert answer.read() == CONTENT
            upload = urllib.request.Request("http://[{KERNEL6}]:8080/", data=CONTENT, method="PUT")
            with opener.open(upload) as answer:
                assert answer.read() == b"same"
            """
        )


def test_asyncio_streams_do_it_many_at_once(without_rights):
    with Web((KERNEL4, 8080)):
        without_rights(
            f"""
            async def download():
                reader, writer = await tun.open_connection({KERNEL4!r}, 8080)
                writer.write(b"GET / HTTP/1.0\\r\\n\\r\\n")
                head, _, body = (await reader.read(-1)).partition(b"\\r\\n\\r\\n")
                assert b" 200 " in head and body == CONTENT
                writer.close()
                await writer.wait_closed()

            async def upload():
                reader, writer = await tun.open_connection({KERNEL4!r}, 8080)
                writer.write(b"PUT / HTTP/1.0\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(CONTENT))
                writer.write(CONTENT)
                await writer.drain()
                assert (await reader.read(-1)).endswith(b"\\r\\n\\r\\nsame")
                writer.close()
                await writer.wait_closed()

            async def main():
                await asyncio.gather(*(download() for _ in range(5)), *(upload() for _ in range(5)))

            asyncio.run(asyncio.wait_for(main(), 80))
            """
        )


def test_https_by_asyncio(without_rights, certificate):
    with Web((KERNEL6, 8443), certificate.server):
        without_rights(
            f"""
            async def main():
                context = ssl.create_default_context(cadata={certificate.pem!r})
                reader, writer = await tun.open_connection({KERNEL6!r}, 8443, ssl=context, server_hostname="phone.test")
                writer.write(b"GET / HTTP/1.1\\r\\nConnection: close\\r\\n\\r\\n")
                assert (await reader.read(-1)).endswith(CONTENT)
                writer.close()
                await writer.wait_closed()

            asyncio.run(asyncio.wait_for(main(), 80))
            """
        )
