"""How the program ends: the exit status, and where that is not 0 one line that says why. Light to import."""

import os
import sys
import time
from collections.abc import Callable

from solvers.run.cores import bound_waiting

FIRST = os.environ.get("RANK", "0") == "0"  # of several processes


def fail(reason: object, status: int) -> int:
    """Say it in one line; of several processes the first says it, or where that is well, the one that is
    not."""
    if not FIRST:
        time.sleep(15)  # torchrun ends this process meanwhile if the first has failed, too
    say(reason)
    return status


def say(reason: object) -> None:
    print(f"error: {' '.join(str(reason).split())}", file=sys.stderr, flush=True)


def finish(work: Callable[[], int]) -> int:
    """Do the work, which gives an exit status; 1 where the run failed, 2 where the input was wrong, 130 or
    143 where a signal stopped it."""
    bound_waiting()
    from solvers import RUN_ERRORS, USER_ERRORS  # PyTorch is loaded only now
    from solvers.run import distributed, lost
    from solvers.run.signals import Interrupted, interrupting

    try:
        with interrupting():
            return work()
    except lost.LostProcess as error:
        if error.speaks:
            say(error)
        return 1
    except USER_ERRORS as error:
        lost.say_goodbye()
        return fail(error, 2)
    except RUN_ERRORS as error:
        lost.say_goodbye()
        return fail(error, 1)
    except Interrupted as error:
        return fail(error, error.status) if FIRST else error.status
    finally:
        distributed.stop()
