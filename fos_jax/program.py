"""Start and end of every program: flags, help, one-line errors and exit codes.

Exit codes: 0 done, 1 a defect (with its traceback), 2 what the user can put right, 130 interrupted, 141 nobody reads
the output any more.
"""

import contextlib
import errno
import inspect
import os
import re
import shlex
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from absl import app, flags, logging

from fos_jax.errors import InputError

EXIT_INPUT_ERROR = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141

_WARNING = 30  # of Python's logging
_CHATTY = {"jax", "orbax"}
HELP_FLAGS = {"-h", "-help", "--help", "-?", "--helpshort", "--helpfull"}
# What the file system refuses and its user can mend; other OSErrors are defects and keep their traceback.
_MENDABLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG}


def run_program(main: Callable[..., int | None]) -> None:
    """Parses the flags, runs `main()` (or absl's `main(argv)`) and exits the process with what it returns.

    Flags are parsed by `absl.app.run`, as Grain's worker processes need; positional arguments are refused. The help
    text is the docstring of main's module and the flags defined in it.
    """
    try:
        app.run(lambda argv: _guarded(main, argv), flags_parser=lambda args: _parse(args, main))
    except KeyboardInterrupt:
        _fail("interrupted", EXIT_INTERRUPTED)


def command_prefix() -> str:
    """The words that start `fos` in the shell that started this program: its path, or `fos` where that is on PATH."""
    script = Path(sys.executable).with_name("fos")
    if not script.exists():
        return f"{shlex.quote(sys.executable)} -m fos_jax"
    on_path = shutil.which("fos")
    if on_path and Path(on_path).samefile(script):
        return "fos"
    relative = os.path.relpath(script)
    relative = relative if os.sep in relative else f".{os.sep}{relative}"
    return shlex.quote(min(relative, str(script), key=len))


def keep_compiled_programs() -> None:
    """Keeps what JAX compiles in the user's cache folder, so that the next run of the program starts at once.

    A folder that is set already (JAX_COMPILATION_CACHE_DIR) is used as it is.
    """
    import jax

    if jax.config.values["jax_compilation_cache_dir"]:
        return
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "fos_jax", "compiled")
    # A cache that cannot be written is no reason to stop.
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)  # one query's programs compile quickly


def help_text(main: Callable[..., int | None]) -> str:
    """The docstring of main's module and its flags with their defaults."""
    module = sys.modules[main.__module__]
    # absl files the flags of a module that runs as __main__ under the program's path
    owner = sys.argv[0] if main.__module__ == "__main__" else main.__module__
    # The examples can be pasted, also where `fos` is not on PATH.
    text = re.sub(
        r"^( *)fos ", lambda match: f"{match[1]}{command_prefix()} ", module.__doc__ or "", flags=re.MULTILINE
    )
    lines = [text.strip(), "", "Flags:"]
    for flag in sorted(flags.FLAGS.get_key_flags_for_module(owner), key=lambda flag: flag.name):
        default = "" if flag.default in (None, "", []) else f" (default {flag.default_as_str})"
        is_required = any("must have a value" in validator.message for validator in flag.validators)
        lines.append(f"  --{flag.name}{' (required)' if is_required else default}")
        text = re.sub(r";\s+repeat this option to specify a list of values", "", flag.help or "")
        lines += textwrap.wrap(text, 100, initial_indent="      ", subsequent_indent="      ")
    return "\n".join(lines)


def _parse(args: Sequence[str], main: Callable[..., int | None]) -> list[str]:
    options = args[1 : args.index("--")] if "--" in args else args[1:]
    if HELP_FLAGS.intersection(options):
        print(help_text(main))
        sys.exit(0)
    try:
        rest = flags.FLAGS(args)
    except flags.Error as error:
        missing = re.findall(r"(--\w+) must have a value other than None", str(error))
        _fail(f"{', '.join(missing)}: missing (--help explains)" if missing else str(error), EXIT_INPUT_ERROR)
    if rest[1:]:
        _fail(f"unexpected argument {rest[1]!r}, expected flags only (--help lists them)", EXIT_INPUT_ERROR)
    return rest


def _guarded(main: Callable[..., int | None], argv: Sequence[str]) -> int | None:
    logging.get_absl_handler().addFilter(_is_for_users)
    try:
        code = main(argv) if inspect.signature(main).parameters else main()
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        end_unread()
    except (InputError, flags.Error, app.UsageError) as error:
        _fail(str(error), EXIT_INPUT_ERROR)
    except OSError as error:
        if error.errno not in _MENDABLE:
            raise
        _fail(f"{error.filename or 'output'}: {error.strerror}", EXIT_INPUT_ERROR)


def end_unread() -> NoReturn:
    """Ends the process whose output nobody reads any more."""
    # The interpreter flushes stdout once more at its end: let that go nowhere.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(EXIT_BROKEN_PIPE)


def _is_for_users(record: Any) -> bool:
    """Leaves out the information (not the warnings) of JAX and Orbax: each step of a load, each missing accelerator."""
    return record.levelno >= _WARNING or not _CHATTY.intersection(Path(record.pathname).parts)


def _fail(message: str, code: int) -> NoReturn:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)
