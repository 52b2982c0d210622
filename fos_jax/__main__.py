"""The `fos` command: `fos COMMAND --flags` runs a program of `fos_jax.launch`, which is imported when it is run."""

import ast
import importlib
import importlib.util
import sys
from pathlib import Path

from fos_jax.program import EXIT_INPUT_ERROR, HELP_FLAGS, end_unread, run_program

# Group -> its commands; "gallery build" is launch/gallery_build.py.
GROUPS: dict[str, tuple[str, ...]] = {
    "Search your pictures": ("demo", "search", "search reverse", "serve", "keys", "gallery build", "gallery info"),
    "Change a gallery": (
        "gallery add",
        "gallery replace",
        "gallery remove",
        "gallery compact",
        "gallery verify",
        "gallery history",
        "gallery rollback",
        "gallery migrate",
        "gallery push",
    ),
    "Make patterns": ("cutouts", "propose", "verify", "dataset build", "demo patterns"),
    "Train and measure": ("train", "experts train", "evaluate"),
    "The paper's tables": ("results", "results render", "tune"),
    "The rendered world": (
        "demo gallery",
        "scenes sheet",
        "scenes photographs",
        "probe",
        "simulate annotation",
        "simulate verification",
    ),
}
COMMANDS = tuple(command for commands in GROUPS.values() for command in commands)


def module_of(command: str) -> str:
    """Name of the module of `fos_jax.launch` that a command runs."""
    return command.replace(" ", "_")


def overview(first_word: str = "") -> str:
    """The commands with a line each; all of them in groups, or those of two words that begin with `first_word`."""
    if first_word:
        return "\n".join(map(_line, (c for c in COMMANDS if c.split()[0] == first_word)))
    sections = ("\n".join([group, *map(_line, commands)]) for group, commands in GROUPS.items())
    head = "fos COMMAND --flags: foreground object search, which cut-outs fit a rectangle of a photograph, and why."
    return "\n\n".join([head, *sections, "fos COMMAND --help explains a command and its flags."])


def _line(command: str) -> str:
    spec = importlib.util.find_spec(f"fos_jax.launch.{module_of(command)}")
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).read_text("utf-8")  # not imported: the list appears at once
    summary = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
    return f"  fos {command:23}{summary}"


def main() -> None:
    """Runs the command that `sys.argv` names, or lists the commands."""
    words = sys.argv[1:]
    if not words or words[0] in HELP_FLAGS:
        _show(overview())
        return
    for length in (2, 1):
        command = " ".join(words[:length])
        if command in COMMANDS:
            sys.argv = [f"fos {command}", *words[length:]]
            run_program(importlib.import_module(f"fos_jax.launch.{module_of(command)}").main)
            return
    is_first_of_two = any(command.startswith(f"{words[0]} ") for command in COMMANDS)
    if is_first_of_two and (not words[1:] or words[1].startswith("-")):
        _show(overview(words[0]))
        return
    unknown = " ".join(words[:2]) if is_first_of_two else words[0]
    from difflib import get_close_matches

    typed = " ".join(word for word in words[:2] if not word.startswith("-"))
    near = get_close_matches(typed, COMMANDS, 1, 0.5) or get_close_matches(unknown, COMMANDS, 1, 0.5)
    hint = f", did you mean {near[0]!r}?" if near else ""
    print(f"error: unknown command {unknown!r}{hint} (fos --help lists all)", file=sys.stderr)
    sys.exit(EXIT_INPUT_ERROR)


def _show(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:
        end_unread()


if __name__ == "__main__":
    main()
