"""All options as text, for `--help` and for the documents: `python -m stata_jax.config.table > docs/options.md`."""

import textwrap

from stata_jax.config.option import Option
from stata_jax.config.options import GROUPS

_HEAD = """\
# Options

Every option, with its default and what it may be. Set one on the command line, `--config.sparsity.keep_rate=0.4`, or in
a config file of your own, as `configs/common.py` shows. The last column says whether a run that has begun may go
on with another value: `may change, recorded` says so in a line and in the run's record; `fixed, as is the network`
means that other values make another network of the same weights, and so holds wherever weights are used again.

This page is written by `python -m stata_jax.config.table`.
"""


def _default(option: Option) -> str:
    return "unset" if option.default is None else str(option.default).replace(" ", "") or '""'


def as_help() -> str:
    """One line an option: its key and default, and the first sentence of its comment."""
    lines = []
    for group in GROUPS:
        lines += ["", f"{str(group.__doc__).partition('. ')[0].removesuffix('.')}:"]
        for key, option in group.OPTIONS.items():
            first, *rest = textwrap.wrap(option.summary, 80)
            lines += [f"  {f'{key}={_default(option)}':<40}{first}", *(" " * 42 + line for line in rest)]
    return "\n".join(lines) + "\n"


def as_markdown() -> str:
    """A table a group: key, default, what is possible, what it does, and whether it may change at resume."""
    parts = [_HEAD]
    for group in GROUPS:
        title, _, more = str(group.__doc__).partition(". ")
        parts += [f"\n## {title.removesuffix('.')}\n\n" + (f"{more}\n\n" if more else "")]
        parts += ["| option | default | must be | what it does | at resume |\n|---|---|---|---|---|\n"]
        for key, option in group.OPTIONS.items():
            possible = option.rule.possible.removeprefix("must be ")
            cells = (f"`{key}`", f"`{_default(option)}`", possible, option.comment, option.resume.value)
            parts.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |\n")
    return "".join(parts)


if __name__ == "__main__":
    print(as_markdown(), end="")
