"""xmesh-sup systemd"""

import argparse
import os
import pwd
import sys
from pathlib import Path

from xmesh_mesh.errors import UsageError
from xmesh_mesh.paths import RuntimeDir
from xmesh_supervisor.output import print_json, write
from xmesh_supervisor.systemd import unit

HELP = """\
Prints a systemd unit that runs xmesh-sup up on these files: readiness and watchdog are sent by the
supervisor itself, a stop is ordered, and keys of models come from a file of their own. Nothing is
installed; the example does that."""
EXAMPLE = (
    "xmesh-sup systemd --user configs/*.toml > ~/.config/systemd/user/xmesh.service\n"
    "  systemctl --user daemon-reload && systemctl --user enable --now xmesh"
)
EXITS = "0 printed; 2 wrong usage"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="an agent.toml")
    parser.add_argument("--user", action="store_true", help="for a user's own systemd")
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(args: argparse.Namespace) -> int:
    missing = [str(path) for path in args.files if not path.is_file()]
    if missing:
        raise UsageError(f"there is no file {', '.join(missing)}", fix="name agent.toml files")
    files = [path.absolute() for path in args.files]
    account = "" if args.user else pwd.getpwuid(os.getuid()).pw_name
    text = unit(_program(), files, RuntimeDir.from_env().root, account)
    if args.json:
        print_json({"unit": text})
    else:
        write(text.rstrip("\n"))
    return 0


def _program() -> list[str]:
    """Return how to call xmesh-sup by absolute paths: as installed beside Python, or as module."""
    installed = Path(sys.executable).with_name("xmesh-sup")
    if os.access(installed, os.X_OK):
        return [str(installed)]
    return [sys.executable, "-m", "xmesh_supervisor.cli"]
