"""xmesh-sup restart"""

import argparse

from xmesh_supervisor.verbs import act_on_names, take_names

HELP = """\
Stops peers and starts them again with a new run (and so a new budget per run); returns when each is
ready or has failed. A killed peer stays dead: only start lifts a tombstone."""
EXAMPLE = "xmesh-sup restart writer-01"


def arguments(parser: argparse.ArgumentParser) -> None:
    take_names(parser)


def run(args: argparse.Namespace) -> int:
    return act_on_names(args, "restart")
