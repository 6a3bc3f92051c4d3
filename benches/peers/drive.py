"""Enqueues jobs for the peer's worker, waits until all are over, and verifies each result.

    drive.py many COUNT     all at once; prints the seconds until all were enqueued, and until all were over
    drive.py one COUNT      one after the other; prints the milliseconds from each enqueue to its start
"""

import json
import sys
import time

from anyio import run, sleep
from noop import noop, worker

BATCH = 1000


async def over(already: int, count: int) -> None:
    while await worker.redis.zcard(worker._results_set) < already + count:
        await sleep(0.02)


async def result(task) -> dict:
    # Not `task.result`, which subscribes to a channel for each, and takes longer than the job.
    return await worker.deserialize(await worker.redis.get(worker.results_key + task.id))


def verify(data: dict, number: int) -> int:
    assert data["s"] and data["t"] == 1 and data["r"][0] == number, (number, data)
    return data["r"][1]


async def many(count: int) -> dict:
    already = await worker.redis.zcard(worker._results_set)
    tasks = [noop.enqueue(number) for number in range(count)]
    began = time.monotonic()
    for at in range(0, count, BATCH):
        await worker.enqueue_many(tasks[at : at + BATCH])
    enqueued = time.monotonic() - began
    await over(already, count)
    drained = time.monotonic() - began
    for number, task in enumerate(tasks):
        verify(await result(task), number)
    return {"enqueued": enqueued, "drained": drained}


async def one(count: int) -> dict:
    waits = []
    for number in range(count):
        before = time.time_ns() // 1000
        task = await noop.enqueue(number)
        while not await worker.redis.exists([worker.results_key + task.id]):
            await sleep(0.005)
        waits.append((verify(await result(task), number) - before) / 1000)
        await sleep(0.005)
    return {"waits": waits}


async def main() -> None:
    what = {"many": many, "one": one}[sys.argv[1]]
    async with worker:
        print(json.dumps(await what(int(sys.argv[2]))))


run(main)
