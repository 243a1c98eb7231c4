"""Jobs that depend on each other, done by several processes of one thread each until the time is up."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import sys
import time
import traceback
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import torch


@dataclass(frozen=True)
class Job:
    """work: called in a process of its own.  needs: keys of jobs that have to be done before."""

    key: Hashable
    work: Callable[[], Any]
    needs: Sequence[Hashable] = field(default=())


def run(
    jobs: Sequence[Job],
    done: set[Hashable],
    finished: Callable[[Job, Any], None],
    workers: int,
    seconds: float,
) -> int:
    """Do the jobs, always the first that can be; how many were done.

    done: keys of what is there already; grows.  finished: told of every result, in this process, as it comes.  After
    `seconds` the processes are ended, whatever they are at. A job that fails is told of on stderr, and not done.
    """
    end = time.monotonic() + seconds
    context = multiprocessing.get_context("fork")
    waiting = [job for job in jobs if job.key not in done]
    count = 0
    idle, busy = list[Connection](), dict[Connection, Job]()
    processes = []
    for _ in range(workers):
        ours, theirs = context.Pipe()
        processes.append(context.Process(target=_serve, args=(theirs, {job.key: job for job in waiting}), daemon=True))
        processes[-1].start()
        theirs.close()
        idle.append(ours)
    try:
        while time.monotonic() < end:
            while idle and (job := next((job for job in waiting if done.issuperset(job.needs)), None)) is not None:
                waiting.remove(job)
                busy[pipe := idle.pop()] = job
                pipe.send(job.key)
            if not busy:
                break
            for pipe in multiprocessing.connection.wait(list(busy), min(max(end - time.monotonic(), 0), 1e6)):
                assert isinstance(pipe, Connection)
                fault, result = pipe.recv()
                job = busy.pop(pipe)
                idle.append(pipe)
                if fault:
                    print(f"{job.key}: {fault}", file=sys.stderr, flush=True)
                else:
                    done.add(job.key)
                    count += 1
                    finished(job, result)
    finally:
        for process in processes:
            process.terminate()
    return count


def _serve(pipe: Connection, jobs: Mapping[Hashable, Job]) -> None:
    """Do what is asked for, until nobody asks any more."""
    torch.set_num_threads(1)
    while True:
        try:
            key = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(("", jobs[key].work()))
        except Exception:  # noqa: BLE001 - told of in the process that asked
            pipe.send((traceback.format_exc(), None))
