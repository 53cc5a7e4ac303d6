"""xmesh-sup start"""

import argparse

from xmesh_supervisor.verbs import act_on_names, take_names

HELP = """\
Starts peers that are stopped, parked or killed (a tombstone is lifted by it), and returns when each
is ready or has failed. A peer that was stopped or killed begins a new run; one that was parked or
ended for good goes on with its run and its budget."""
EXAMPLE = "xmesh-sup start reviewer-01"


def arguments(parser: argparse.ArgumentParser) -> None:
    take_names(parser)


def run(args: argparse.Namespace) -> int:
    return act_on_names(args, "start")
