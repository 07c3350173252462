"""The command line: python -m wintun demo | list | version | capture | stats | doctor.

Here stand the arguments and the exit codes; each command is a function in a _cli_*.py of its own, imported when it is
asked for. argparse and not a library: what helps people on a broken machine (doctor) must not need anything itself.

Exit codes: 0 done; 1 it did not work (the last line of standard error says why); 2 wrong arguments; 3 no driver, or no
rights for it; 130 ended by Ctrl-C before it was done.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

from wintun._cli_exit import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_NO_DRIVER, exit_code_of
from wintun._cli_output import Output

_EPILOG = "exit codes: 0 done, 1 failed, 2 wrong arguments, 3 no driver or no rights for it, 130 interrupted"


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def build_parser() -> argparse.ArgumentParser:
    """The whole command line, for main and for the documents' check."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="results as JSON, one value a line")
    parser = argparse.ArgumentParser(prog="python -m wintun", description="TUN devices from Python.", epilog=_EPILOG)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, summary: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=summary, description=summary, parents=[common], epilog=_EPILOG)

    demo = add("demo", "real packets: the kernel pings a device of ours; a stack in this process downloads")
    demo.add_argument("--quick", action="store_true", help="few packets and little data, about a second")
    demo.add_argument(
        "--backend",
        choices=("kernel", "embedded"),
        help="only this one; otherwise both, and the embedded one alone where the kernel's is not to be had",
    )
    add("list", "the TUN interfaces of this machine, and who holds them")
    add("version", "versions of the package, the driver, Python and the system")

    capture = add("capture", "makes a device and writes what the system sends to it as pcapng")
    capture.add_argument("name", help="the device's name")
    capture.add_argument("-w", "--write", required=True, metavar="FILE", help="the file; - for standard output")
    capture.add_argument(
        "-a", "--address", action="append", default=[], help="an address, with or without a prefix (may be repeated)"
    )
    capture.add_argument("--mtu", type=_count, metavar="BYTES", help="the device's MTU")
    capture.add_argument("-c", "--count", type=_count, metavar="N", help="stop after N packets")
    capture.add_argument("-s", "--seconds", type=_positive, help="stop after so many seconds")
    capture.add_argument("--answer", action="store_true", help="answer pings, and record the answers too")

    stats = add("stats", "packets, bytes and drops of each TUN interface, live")
    stats.add_argument("name", nargs="?", help="only this interface")
    stats.add_argument("-i", "--interval", type=_positive, default=1.0, metavar="SECONDS", help="default 1")
    stats.add_argument(
        "-c", "--count", type=_count, metavar="N", help="stop after N samples; without a terminal the default is 1"
    )
    add("doctor", "whether this machine can run TUN devices, and what to do if not")
    return parser


def _run(arguments: argparse.Namespace, output: Output) -> int:
    if arguments.command == "demo":
        from wintun._cli_demo import demo

        return demo(output, arguments.quick, arguments.backend)
    if arguments.command == "list":
        from wintun._cli_list import list_interfaces

        return list_interfaces(output)
    if arguments.command == "version":
        from wintun._cli_doctor import version

        return version(output)
    if arguments.command == "capture":
        from wintun._cli_capture import capture

        return capture(arguments, output)
    if arguments.command == "stats":
        from wintun._cli_list import stats

        return stats(output, arguments.name, arguments.interval, arguments.count)
    from wintun._cli_doctor import doctor

    return doctor(output)


def _explain(error: Exception, output: Output) -> int:
    code = exit_code_of(error)
    output.progress_done()
    if output.as_json:
        number = error.errno if isinstance(error, OSError) else None
        failure = {"type": type(error).__name__, "errno": number, "message": str(error), "exit_code": code}
        print(json.dumps({"error": failure}, ensure_ascii=False), flush=True)
    print(f"wintun: {error}", file=sys.stderr)
    if code == EXIT_NO_DRIVER:
        print("wintun: `python -m wintun doctor` tells what this machine lacks", file=sys.stderr)
    return code


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: The arguments; the process's own, if not given.

    Returns:
        The exit code.
    """
    arguments = build_parser().parse_args(argv)
    output = Output(arguments.json)
    try:
        return _run(arguments, output)
    except KeyboardInterrupt:
        output.progress_done()
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left. Python flushes once more at exit: give that nothing to fail on.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except (OSError, ValueError) as error:
        return _explain(error, output)
