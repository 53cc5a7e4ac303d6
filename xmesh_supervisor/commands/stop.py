"""xmesh-sup stop"""

import argparse

from xmesh_supervisor.verbs import act_on_names, take_names

HELP = """\
Stops peers and returns when they have ended. Each gets SIGTERM and its stop_timeout_s to finish
what it is doing; then its whole process tree is killed. A stopped peer stays stopped."""
EXAMPLE = "xmesh-sup stop reviewer-01 writer-01"


def arguments(parser: argparse.ArgumentParser) -> None:
    take_names(parser)


def run(args: argparse.Namespace) -> int:
    return act_on_names(args, "stop")
