"""Hands an image's blocks, in order, to a bounded number of threads that send them.

It decides how many blocks are in memory and which error is the first. It never tries anything again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from fleetswap.workflows.retry import Stopped


def send(
    blocks: Iterable[bytes],
    put: Callable[[int, bytes], None],
    *,
    connections: int,
    stop: threading.Event,
    sent: Callable[[int], None],
) -> None:
    """Call `put` with the index and the data of every block, in up to `connections` threads at once.

    At most `connections` blocks are with the threads, and one more is being read on the calling thread, which also
    gets the calls of `sent` with the number of blocks done. After a failure no further block is begun and `stop` is
    set; when all threads are done, the first error is raised.
    """
    slots = threading.Semaphore(connections)
    done: list[int] = []
    failures: list[BaseException] = []

    def work(index: int, block: bytes) -> None:
        try:
            put(index, block)
            done.append(index)
        except Stopped:
            pass  # whoever set `stop` has the reason
        except BaseException as error:  # noqa: BLE001 (raised below, by the calling thread)
            failures.append(error)
            stop.set()
        finally:
            slots.release()

    with ThreadPoolExecutor(connections, thread_name_prefix="send") as pool:
        try:
            for index, block in enumerate(blocks):
                slots.acquire()
                if failures:
                    slots.release()
                    break
                pool.submit(work, index, block)
                sent(len(done))
            for _ in range(connections):  # whoever holds all the slots knows that no thread is at work
                slots.acquire()
                sent(len(done))
        except Exception as error:  # noqa: BLE001 (raised below, unless a thread failed first)
            failures.append(error)
            stop.set()
        except BaseException:  # Ctrl-C is not hidden by what it caused
            stop.set()
            raise
    if failures:
        raise failures[0]
