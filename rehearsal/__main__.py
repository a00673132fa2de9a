"""`make rehearse`: the main job with no AWS account, on this machine: `python -m rehearsal [--keep]`."""

import argparse
import sys

from rehearsal.walk import rehearse


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="make rehearse", description=__doc__)
    parser.add_argument(
        "--keep",
        action="store_true",
        help="once both environments serve, leave them running and print how to use them, until Ctrl-C (make: KEEP=1)",
    )
    return rehearse(keep=parser.parse_args().keep, say=say)


if __name__ == "__main__":
    sys.exit(main())
