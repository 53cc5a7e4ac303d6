"""Run a module as the main program under a clock that is off:  late_clock.py SECONDS MODULE

Only the wall clock is off; the monotonic one is the machine's, as it is with a wrongly set clock.
"""

import runpy
import sys
import time

_OFF_S = int(sys.argv[1])
_time, _time_ns = time.time, time.time_ns


def main() -> None:
    time.time = lambda: _time() + _OFF_S
    time.time_ns = lambda: _time_ns() + _OFF_S * 1_000_000_000
    module = sys.argv[2]
    sys.argv = sys.argv[2:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
