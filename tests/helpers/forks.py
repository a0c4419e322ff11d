"""Try what may crash, in a process of its own."""

import os
import resource
import signal
from pathlib import Path

GIB = 2**30
SECONDS = 60


def in_a_fork(function) -> str:
    """What a function returns, a text, in a process of its own; how that process died, if it did.

    It has 1 GiB more memory than this one, and a minute.
    """
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        said = 'raised what no reader may raise'
        try:
            os.close(read)
            used = int(Path('/proc/self/statm').read_text().split()[0]) * os.sysconf(
                'SC_PAGE_SIZE'
            )
            resource.setrlimit(resource.RLIMIT_AS, (used + GIB, used + GIB))
            signal.alarm(SECONDS)
            said = function()
        finally:
            os.write(write, said.encode()[:4000])
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    return said if status == 0 else f'died of {status}'
