"""The peer's task that does nothing: it returns its argument, and when it began, in microseconds."""

import os
import time

from streaq import Worker

worker = Worker(redis_url=os.environ["REDIS_URL"], concurrency=32)


@worker.task()
async def noop(number: int) -> tuple[int, int]:
    return number, time.time_ns() // 1000
