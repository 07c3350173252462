"""asyncio: no thread a read, nothing lost by cancelling, several tasks, loops and threads at once."""

from __future__ import annotations

import asyncio
import errno
import os
import threading

import pytest

from packets import HOST4, PEER4, Sender, number, numbers, receiver, udp


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 60))


async def numbered(tun):
    """The next numbered packet's number."""
    while True:
        value = number(await tun.async_read())
        if value is not None:
            return value


async def drained(tun):
    while tun.read() is not None:
        pass


def test_async_read_gives_what_is_there_and_what_comes(tun):
    async def main():
        with Sender() as sender:
            sender.send_numbers(2)
            assert await numbered(tun) == 0
            assert await numbered(tun) == 1
            task = asyncio.create_task(numbered(tun))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not task.done()
            sender.send_numbers(1, 7)
            assert await task == 7

    run(main())


def test_async_read_uses_no_thread(tun):
    async def main():
        before = len(os.listdir("/proc/self/task"))
        await drained(tun)
        task = asyncio.create_task(numbered(tun))
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(os.listdir("/proc/self/task")) == before
        with Sender() as sender:
            sender.send_numbers(1)
        await task
        assert len(os.listdir("/proc/self/task")) == before

    run(main())


def test_cancelling_loses_no_packet(tun):
    """Reads are cancelled at each possible moment of their life; every packet is still read, once and in order."""

    async def main():
        got = []
        with Sender() as sender:
            for count in range(300):
                task = asyncio.create_task(tun.async_read())
                for _ in range(count % 4):
                    await asyncio.sleep(0)
                sender.send_numbers(1, count)
                for _ in range(count // 4 % 4):
                    await asyncio.sleep(0)
                task.cancel()
                try:
                    got += numbers([await task])
                except asyncio.CancelledError:
                    pass
        while (packet := tun.read()) is not None:
            got += numbers([packet])
        assert got == list(range(300))

    run(main())


def test_wait_for_that_times_out_loses_no_packet(tun):
    async def main():
        await drained(tun)
        for _ in range(20):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(numbered(tun), 0.001)
        with Sender() as sender:
            sender.send_numbers(1)
        assert await numbered(tun) == 0

    run(main())


def test_cancelling_a_batch_read_loses_no_packet(tun):
    async def main():
        got = []
        with Sender() as sender:
            for count in range(100):
                task = asyncio.create_task(tun.async_read_batch())
                for _ in range(count % 3):
                    await asyncio.sleep(0)
                sender.send_numbers(3, 3 * count)
                for _ in range(count // 3 % 3):
                    await asyncio.sleep(0)
                task.cancel()
                try:
                    got += numbers(await task)
                except asyncio.CancelledError:
                    pass
        while (packet := tun.read()) is not None:
            got += numbers([packet])
        assert got == list(range(300))

    run(main())


def test_async_for_yields_packets_until_the_device_closes(tun):
    async def main():
        with Sender() as sender:
            sender.send_numbers(10)
        got = []
        with pytest.raises(OSError) as caught:
            async for packet in tun:
                assert isinstance(packet, bytes)
                got += numbers([packet])
                if len(got) == 10:
                    tun.close()
        assert caught.value.errno == errno.EBADF
        assert got == list(range(10))

    run(main())


def test_async_with_closes(make_tun):
    async def main():
        async with make_tun("astun") as tun:
            tun.up()
            assert tun.is_up
        assert tun.closed

    run(main())


def test_async_read_batch_brings_all_that_is_there(tun):
    async def main():
        with Sender() as sender:
            sender.send_numbers(50)
        got = []
        while len(got) < 50:
            batch = await tun.async_read_batch()
            assert len(batch) > 0
            got += numbers(batch)
        assert got == list(range(50))

    run(main())


def test_several_tasks_are_all_served(tun):
    async def main():
        await drained(tun)
        tasks = [asyncio.create_task(numbered(tun)) for _ in range(10)]
        await asyncio.sleep(0)
        with Sender() as sender:
            sender.send_numbers(10)
        assert sorted(await asyncio.gather(*tasks)) == list(range(10))

    run(main())


@pytest.mark.parametrize("read", ["async_read", "async_read_batch"])
@pytest.mark.parametrize(("end", "code"), [("close", errno.EBADF), ("down", errno.ENETDOWN)])
@pytest.mark.parametrize("where", ["the loop", "another thread"])
def test_the_end_of_the_device_ends_every_read(tun, read, end, code, where):
    async def main():
        await drained(tun)
        tasks = [asyncio.create_task(getattr(tun, read)()) for _ in range(3)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if where == "the loop":
            getattr(tun, end)()
        else:
            thread = threading.Thread(target=getattr(tun, end))
            thread.start()
        for task in tasks:
            try:
                await task
            except OSError as error:
                assert error.errno == code
        with pytest.raises(OSError) as caught:
            await getattr(tun, read)()
        assert caught.value.errno == code
        if where != "the loop":
            thread.join()

    run(main())


def test_reading_goes_on_after_down_and_up(tun):
    async def main():
        for count in range(5):
            await drained(tun)
            task = asyncio.create_task(numbered(tun))
            await asyncio.sleep(0)
            with Sender() as sender:
                sender.send_numbers(1, count)
            assert await task == count
            tun.down()
            tun.up()

    run(main())


def test_one_device_serves_one_loop_after_another(tun):
    for count in range(3):

        async def main():
            await drained(tun)
            task = asyncio.create_task(numbered(tun))
            await asyncio.sleep(0)
            with Sender() as sender:
                sender.send_numbers(1, count)
            assert await task == count

        run(main())


def test_a_loop_that_ended_in_the_middle_of_a_read_leaves_the_device_usable(tun):
    async def leave():
        await drained(tun)
        asyncio.ensure_future(tun.async_read())
        await asyncio.sleep(0)

    asyncio.run(leave())
    with Sender() as sender:
        sender.send_numbers(1)

        async def main():
            assert await numbered(tun) == 0

        run(main())


def test_two_loops_in_two_threads_read_one_device(tun):
    total = 400
    got: list[list[int]] = [[], []]
    room = threading.Semaphore(100)

    def body(mine):
        async def main():
            try:
                while True:
                    value = number(await tun.async_read())
                    if value is not None:
                        mine.append(value)
                        room.release()
            except OSError:
                return

        asyncio.run(main())

    threads = [threading.Thread(target=body, args=(mine,)) for mine in got]
    for thread in threads:
        thread.start()
    with Sender() as sender:
        for value in range(total):
            assert room.acquire(timeout=60)
            sender.send_numbers(1, value)
        for _ in range(100):
            assert room.acquire(timeout=60)
    tun.close()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert sorted(got[0] + got[1]) == list(range(total))


def test_tasks_and_blocking_threads_share_one_device(tun):
    total = 200
    got = []
    room = threading.Semaphore(50)

    def thread_body():
        try:
            while True:
                value = number(tun.read(timeout=None))
                if value is not None:
                    got.append(value)
                    room.release()
        except OSError:
            return

    def send():
        with Sender() as sender:
            for value in range(total):
                assert room.acquire(timeout=60)
                sender.send_numbers(1, value)
            for _ in range(50):
                assert room.acquire(timeout=60)
        tun.close()

    async def main():
        with pytest.raises(OSError):
            while True:
                value = number(await tun.async_read())
                if value is not None:
                    got.append(value)
                    room.release()

    threads = [threading.Thread(target=thread_body), threading.Thread(target=send)]
    for thread in threads:
        thread.start()
    run(main())
    for thread in threads:
        thread.join(60)
    assert sorted(got) == list(range(total))


def test_the_loop_runs_on_while_a_task_reads(tun):
    async def main():
        await drained(tun)
        task = asyncio.create_task(tun.async_read())
        for _ in range(100):
            await asyncio.sleep(0)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())


def test_a_busy_device_does_not_starve_the_loop(tun):
    """A reader that always finds a packet must still let other tasks run."""

    async def main():
        stop = False
        turns = 0

        async def other():
            nonlocal turns, stop
            for _ in range(5):
                turns += 1
                await asyncio.sleep(0)
            stop = True

        task = asyncio.create_task(other())
        with Sender() as sender:
            count = 0
            while not stop and count < 5000:
                sender.send_numbers(1, count)
                await tun.async_read()
                count += 1
        await task
        assert turns == 5
        assert count < 5000

    run(main())


def test_cancel_read_wakes_waiting_tasks(tun):
    async def main():
        await drained(tun)
        tasks = [asyncio.create_task(tun.async_read()) for _ in range(3)]
        tasks.append(asyncio.create_task(tun.async_read_batch()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        tun.cancel_read()
        assert await asyncio.gather(*tasks) == [None, None, None, []]
        with Sender() as sender:
            sender.send_numbers(1)
        assert await numbered(tun) == 0

    run(main())


def test_many_devices_on_one_loop(make_tun):
    async def main():
        devices = [make_tun(f"loop{number}") for number in range(20)]
        for number, tun in enumerate(devices):
            tun.addr4 = f"10.79.{number}.1/24"
            tun.up()
        tasks = [asyncio.create_task(numbered(tun)) for tun in devices]
        await asyncio.sleep(0)
        for number in range(20):
            with Sender(f"10.79.{number}.2") as sender:
                sender.send_numbers(1, number)
        assert await asyncio.gather(*tasks) == list(range(20))

    run(main())


def test_writing_from_the_loop_reaches_the_kernel(tun):
    async def main():
        loop = asyncio.get_running_loop()
        with receiver() as sock:
            sock.setblocking(False)
            tun.write(udp(PEER4, HOST4, 1, sock.getsockname()[1], b"x"))
            assert await loop.sock_recv(sock, 10) == b"x"

    run(main())


@pytest.mark.parametrize("policy", ["uvloop-like", "selector"])
def test_each_selector_loop_serves(tun, policy):
    import selectors

    selector = selectors.SelectSelector() if policy == "selector" else selectors.PollSelector()
    loop = asyncio.SelectorEventLoop(selector)
    try:

        async def main():
            await drained(tun)
            task = asyncio.ensure_future(numbered(tun))
            await asyncio.sleep(0)
            with Sender() as sender:
                sender.send_numbers(1)
            assert await asyncio.wait_for(task, 60) == 0

        loop.run_until_complete(main())
    finally:
        loop.close()
