"""Exit codes, one-line errors and help of the wrapper that all programs share."""

import subprocess
import sys

import pytest

_PROGRAM = '''"""Does one thing.

Explains it.
"""
from absl import flags
from fos_jax.errors import InputError
from fos_jax.program import run_program

_WHAT = flags.DEFINE_string("what", None, "What to do.", required=True)
_MANY = flags.DEFINE_integer("many", 3, "How many.")

def main():
    if _WHAT.value == "code":
        return 7
    if _WHAT.value == "input":
        raise InputError("a.png: broken\\nin two")
    if _WHAT.value == "full":
        raise OSError(28, "No space left on device", "/out/file")
    if _WHAT.value == "stop":
        raise KeyboardInterrupt
    if _WHAT.value == "flood":
        for _ in range(100_000):
            print("line")
    if _WHAT.value == "defect":
        raise ZeroDivisionError
    print("done", _MANY.value)

if __name__ == "__main__":
    run_program(main)
'''


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    path = tmp_path_factory.mktemp("program") / "program.py"
    path.write_text(_PROGRAM)
    return path


def _run(program, *arguments):
    return subprocess.run([sys.executable, program, *arguments], capture_output=True, text=True, timeout=60)


def test_a_good_run(program):
    ended = _run(program, "--what=well", "--many=4")
    assert (ended.returncode, ended.stdout) == (0, "done 4\n")
    assert _run(program, "--what=code").returncode == 7


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--what=input"], 2, "error: a.png: broken in two"),
        (["--what=full"], 2, "error: /out/file: No space left on device"),
        (["--what=stop"], 130, "error: interrupted"),
        ([], 2, "error: --what: missing (--help explains)"),
        (["--what=well", "--many=x"], 2, "error: flag --many=x: invalid literal for int() with base 10: 'x'"),
        (["--what=well", "--mny=3"], 2, "error: Unknown command line flag 'mny'"),
        (["--what=well", "extra"], 2, "error: unexpected argument 'extra'"),
    ],
)
def test_what_the_user_can_mend_is_one_line(program, arguments, code, message):
    ended = _run(program, *arguments)
    assert ended.returncode == code
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.startswith(message)


def test_defects_keep_their_traceback(program):
    ended = _run(program, "--what=defect")
    assert ended.returncode == 1
    assert "ZeroDivisionError" in ended.stderr


@pytest.mark.parametrize("flag", ["--help", "-h", "--helpfull"])
def test_help_needs_no_required_flags(program, flag):
    ended = _run(program, flag)
    assert ended.returncode == 0
    assert ended.stdout.startswith("Does one thing.")
    assert "--many (default '3')" in ended.stdout
    assert "--what (required)\n" in ended.stdout
    assert "How many." in ended.stdout
    assert ended.stderr == ""


def test_a_reader_that_leaves_is_no_error(program):
    with subprocess.Popen(
        [sys.executable, program, "--what=flood"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout.readline() == "line\n"
        child.stdout.close()
        assert child.stderr.read() == ""
        assert child.wait(timeout=60) == 141
