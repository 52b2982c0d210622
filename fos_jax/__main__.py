"""The `fos` command: `fos COMMAND --flags` runs a program of `fos_jax.launch`, loaded when it is asked for."""

import importlib
import sys

# The groups a user thinks in, and the commands of each: words of a command -> module of `fos_jax.launch`.
GROUPS: dict[str, tuple[str, ...]] = {
    "Search your pictures": ("search", "gallery build"),
    "Make patterns": ("cutouts", "propose", "verify", "dataset build"),
    "Train and measure": ("demo", "train", "evaluate"),
    "The paper's tables": ("results", "results render", "tune", "probe"),
    "The rendered world": (
        "scenes sheet",
        "scenes photographs",
        "simulate annotation",
        "simulate verification",
        "demo patterns",
    ),
}


def module_of(command: str) -> str:
    return "fos_jax.launch." + command.replace(" ", "_")


def main() -> None:
    commands = [command for group in GROUPS.values() for command in group]
    words = sys.argv[1:]
    for length in (2, 1):
        command = " ".join(words[:length])
        if command in commands:
            sys.argv = [f"fos {command}", *words[length:]]
            importlib.import_module(module_of(command)).run()
            return
    sys.exit(f"error: unknown command {words[:1]}")


if __name__ == "__main__":
    main()
