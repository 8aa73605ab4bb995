"""What the programs of stata_jax share: flags with config overrides, errors of one sentence, exit codes."""

import argparse
import difflib
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from ml_collections import ConfigDict

from stata_jax import config, speed
from stata_jax.config.table import as_help
from stata_jax.data.protocol import DataError
from stata_jax.errors import ConfigError
from stata_jax.stopping import EXIT_INTERRUPTED, EXIT_STOPPED, DivergedError, LostProcessError, Stopped, exit_code

CONFIG_HELP = "a file such as configs/digits.py, or the name of a shipped config such as digits (needed)"

_PREFIX = "--config."
_EPILOG = """\
--config.KEY=VALUE changes a value of the config, e.g. --config.sparsity.keep_rate=0.4 or
--config.sparsity.prune_at=2,5. Every key, and its default:
"""


class Parser(argparse.ArgumentParser):
    """An argument parser that raises ConfigError instead of printing its usage and leaving."""

    def __init__(self, *, prog: str, description: str) -> None:
        """Makes a parser with `--help` alone; `description` says what the program does."""
        super().__init__(
            prog=prog,
            usage="%(prog)s [FLAGS] [--config.KEY=VALUE ...]",
            description=description,
            epilog=_EPILOG + as_help(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Raises the message, a mistake in a known flag."""
        raise ConfigError(message)


def split_overrides(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separates the overrides from the other flags.

    Args:
      argv: a command line; an override is `--config.key=value` or `--config.key value`.

    Returns:
      The other arguments, and the overrides in the form `--config.key=value`.

    Raises:
      ConfigError: an override has no value.
    """
    others: list[str] = []
    overrides: list[str] = []
    rest = iter(argv)
    for argument in rest:
        if not argument.startswith(_PREFIX):
            others.append(argument)
        elif "=" in argument:
            overrides.append(argument)
        else:
            value = next(rest, None)
            if value is None or value.startswith("--"):
                raise ConfigError(f"{argument} needs a value: {argument}=VALUE")
            overrides.append(f"{argument}={value}")
    return others, overrides


def parse(parser: Parser, argv: Sequence[str], *, required: str) -> tuple[argparse.Namespace, list[str]]:
    """Parses a command line.

    Args:
      parser: the flags of the program; none of them `required=True`, so that a misspelt one is named first.
      argv: the command line.
      required: the flag that must be there, without its dashes.

    Returns:
      The values of the flags, and the overrides for `config.parse_overrides`.

    Raises:
      ConfigError: a flag is unknown, lacks its value, or is required and missing.
    """
    others, overrides = split_overrides(argv)
    flags, unknown = parser.parse_known_args(others)
    if unknown:
        name = unknown[0].partition("=")[0]
        known = [f"--{flag}" for flag in vars(flags)]
        near = difflib.get_close_matches(name, known, n=1) or [f"{', '.join(known)} or --config.KEY=VALUE"]
        raise ConfigError(f"unknown argument {unknown[0]}: did you mean {near[0]}?")
    if getattr(flags, required) is None:
        raise ConfigError(f"--{required} is missing; --help shows how to use {parser.prog}")
    return flags, overrides


def load_config(path: str, overrides: Sequence[str]) -> ConfigDict:
    """Loads the config that `--config` names, with the overrides of the command line, and checks it.

    Args:
      path: the config file, with its variant.
      overrides: as `parse` returns them.

    Returns:
      The locked config.

    Raises:
      ConfigError: the file, an override or a value is impossible.
    """
    settings = config.load(path)
    settings = config.apply_overrides(settings, config.parse_overrides(settings, overrides))
    config.check(settings)
    return settings


def numbers(flag: str, text: str, kind: type, expected: str, *, once: bool = False) -> list[Any]:
    """Reads the numbers of a list with commas.

    Args:
      flag: whose value it is, for messages.
      text: the list.
      kind: `int` or `float`.
      expected: what it must be, for the message.
      once: whether each may be there once.

    Raises:
      ConfigError: one is no such number, or is there twice.
    """
    try:
        found = [kind(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"{flag} is {text!r}, but it must be {expected}") from error
    if once:
        each_once(flag, text, found)
    return found


def each_once(flag: str, text: str, values: Sequence[object]) -> None:
    """Raises ConfigError where the value of a flag, a text that lists values, has one of them twice."""
    if len(set(values)) < len(values):
        raise ConfigError(f"{flag} is {text!r}, but each may be there once")


def at_least(flags: argparse.Namespace, **least: int) -> None:
    """Raises ConfigError where a flag is below its least value."""
    for name, value in least.items():
        if getattr(flags, name) < value:
            raise ConfigError(f"--{name} is {getattr(flags, name)}, but it must be at least {value}")


def show(name: str, result: Mapping[str, Any], markdown: str, *, folder: str | os.PathLike[str] | None) -> None:
    """Prints a result.

    Args:
      name: Of the files, without their endings.
      result: JSON values.
      markdown: The same as text.
      folder: Where to leave both, or None.
    """
    print(markdown)
    if folder is not None:
        from stata_jax.train.metrics import write_report

        write_report(folder, name, result, markdown)


def run(program: Callable[[Sequence[str]], int | None], argv: Sequence[str] | None, *, interrupted: str) -> int:
    """Runs a program on a command line; an error of config or data, or Ctrl-C, becomes one line on stderr.

    Args:
      program: takes the command line; returns an exit code, or nothing for 0.
      argv: the command line without the program's name; that of the process if None.
      interrupted: what to print after Ctrl-C.

    Returns:
      The exit code: the program's, 2 after such an error, 3 if a training has diverged, 75 after SIGTERM and where
      another process of a run is gone, where the same command goes on, 130 after Ctrl-C. Other exceptions are bugs and
      pass through.
    """
    speed.keep_memory()  # works best before JAX is imported
    try:
        return program(sys.argv[1:] if argv is None else argv) or 0
    except (ConfigError, DataError) as error:
        print("error:", *str(error).split(), file=sys.stderr)
        return exit_code(error)
    except (DivergedError, LostProcessError) as error:
        print("error:", error, file=sys.stderr)
        return exit_code(error)
    except Stopped as stop:
        print(stop, file=sys.stderr)
        return stop.code
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        return EXIT_INTERRUPTED


def command(program: Callable[[Sequence[str]], int | None], *, interrupted: str = "interrupted") -> Callable[..., int]:
    """A `main` of a command line, by default the process's, that returns the exit code of `run`."""

    def main(argv: Sequence[str] | None = None) -> int:
        return run(program, argv, interrupted=interrupted)

    return main


def leave(main: Callable[[], int]) -> NoReturn:
    """Runs a command, and ends the process with its exit code.

    At once where it was interrupted, for a thread may still be compiling what is needed no more; and where one of
    several processes has failed, for it would wait for the others, and they for it.

    Args:
      main: As `command` returned it.
    """
    try:
        code = main()
    except Exception as error:
        if not _is_one_of_several():
            raise
        traceback.print_exc()
        code = exit_code(error)
    if code in (EXIT_STOPPED, EXIT_INTERRUPTED) or (code and _is_one_of_several()):
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)
    sys.exit(code)


def _is_one_of_several() -> bool:
    jax = sys.modules.get("jax")
    return jax is not None and jax.distributed.is_initialized()
