"""Documents: commands that can be pasted, links that resolve, sizes, and words that are not used."""

import ast
import functools
import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from fos_jax.__main__ import GROUPS

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("README.md", "CHANGELOG.md", "docs/*.md", "datasets/*/README.md")
    for path in ROOT.glob(pattern)
)
SOURCES = sorted(
    path for room in ("fos_jax", "datasets", "launch", "benchmarks") for path in (ROOT / room).rglob("*.py")
)
COMMANDS = [command for group in GROUPS.values() for command in group]
FIGURES = ("docs/results.md", "docs/benchmarks.md", "docs/photographs.md")
MAX_README_LINES, MAX_FIGURES_BYTES = 120, 44 * 1024
QUESTIONS = {"What", "How", "Which", "Where", "Whether"}
# Files that are gone, and the console scripts that `fos COMMAND` replaced (fos-jax is the package's name).
GONE = re.compile(r"\bdesign\.md\b|\bRESULTS\.md\b|\bfos-(?!jax\b)[a-z]+")
BARE = re.compile(r"(?<!docs/)\b(?:field|method)\.md\b")  # in docstrings, which are read outside docs/


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def docstrings(path: Path) -> list[str]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, kinds))
    return [text for node in nodes if (text := ast.get_docstring(node))]


def commands(text: str) -> list[list[str]]:
    """The words of every `fos ...` in a document: in code blocks a line each, elsewhere between backticks."""
    without_blocks = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    found = re.findall(r"`(?:\.venv/bin/)?(fos [^`]*)`", without_blocks)
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        found += re.findall(r"^\s*(?:\$ )?(?:\.venv/bin/)?(fos [a-z].*)$", line)
    return [shlex.split(command, comments=True) for command in found if "COMMAND" not in command]


def named(words: list[str]) -> str | None:
    """The command that the words behind `fos` begin with, the longest one; None where there is none."""
    return next((name for n in (2, 1) if (name := " ".join(words[1 : n + 1])) in COMMANDS), None)


@functools.cache
def program_flags(command: str) -> set[str]:
    """Flags that the command's program defines or adopts, read in its source; those of a config need no name."""
    module = importlib.util.find_spec("fos_jax.launch." + command.replace(" ", "_"))
    assert module is not None, f"fos {command}: no program"
    assert module.origin is not None
    text = Path(module.origin).read_text("utf-8")
    for adopted in re.findall(r"adopt_module_key_flags\((\w+)\)", text):
        text += Path(module.origin).with_name(f"{adopted}.py").read_text("utf-8")
    names = re.findall(r"DEFINE_\w+\(\s*\"(\w+)\"", text)
    return {*names, "help", "helpfull"}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_commands_can_be_pasted(name):
    check_commands(name, read(name))


def test_commands_in_docstrings_can_be_pasted():
    for path in SOURCES:
        for text in docstrings(path):
            check_commands(path.relative_to(ROOT).as_posix(), text)


def check_commands(name: str, text: str) -> None:
    for words in commands(text):
        if words[1:] == ["--help"]:
            continue
        command = named(words)
        assert command is not None, f"{name}: {' '.join(words)}: no such command, expected one of {COMMANDS}"
        known = program_flags(command)
        flags = {word[2:].split("=")[0].split(".")[0] for word in words if word.startswith("--")}
        unknown = sorted(flag for flag in flags if flag not in known and flag.removeprefix("no") not in known)
        assert not unknown, f"{name}: {' '.join(words)}: no flag {unknown}, expected some of {sorted(known)}"
    programs = {command.replace(" ", "_") for command in COMMANDS} | {"configs"}
    modules = set(re.findall(r"\bfos_jax\.launch\.([a-z]\w*)", text))
    assert modules <= programs, f"{name}: fos_jax.launch.{modules - programs}: no such program"


def test_commands_are_found():
    """The reader of commands sees code blocks, continued lines, comments and backticks."""
    text = (
        'Use `fos tune --size=demo`.\n```sh\n. activate  # fos\nfos gallery build --a=1 \\\n    --b="x y"  # c\n```\n'
    )
    assert commands(text) == [["fos", "tune", "--size=demo"], ["fos", "gallery", "build", "--a=1", "--b=x y"]]
    assert named(["fos", "gallery", "build", "--a=1"]) == "gallery build"
    assert named(["fos", "results", "--size=demo"]) == "results"
    assert named(["fos", "search-all"]) is None
    assert {"gallery", "box", "level"} <= program_flags("search")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_resolve(name):
    for target in re.findall(r"\]\(([^)\s]+)\)", read(name)):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        linked = (ROOT / name).parent / path if path else ROOT / name
        assert linked.exists(), f"{name}: {target}: no such file"
        if anchor:
            titles = re.findall(r"^#+ (.*)$", linked.read_text("utf-8"), flags=re.M)
            anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert anchor in anchors, f"{name}: {target}: no such heading"


def test_sizes():
    assert len(read("README.md").splitlines()) <= MAX_README_LINES
    assert sum((ROOT / name).stat().st_size for name in FIGURES) <= MAX_FIGURES_BYTES


def test_benchmarks_are_named_in_a_document():
    programs = [path.name for path in (ROOT / "benchmarks").glob("*.py") if "__main__" in path.read_text("utf-8")]
    named_in = ("benchmarks", "photographs", "composites", "scale", "service")
    documents = (*(f"docs/{name}.md" for name in named_in), "datasets/fos_synthetic/README.md")
    text = "".join(map(read, documents))
    assert not [name for name in programs if name not in text]


def test_decisions_are_numbered_without_gaps():
    numbers = re.findall(r"^(\d+)\. \*\*", read("docs/method.md").split("## Design decisions")[1], flags=re.M)
    assert [int(number) for number in numbers] == list(range(1, len(numbers) + 1))
    for path in SOURCES:
        for text in docstrings(path):
            for several in re.findall(r"\bdecisions? (\d+(?:(?:, | to | and )\d+)*)", text):
                largest = max(map(int, re.findall(r"\d+", several)))
                assert largest <= len(numbers), f"{path.relative_to(ROOT)}: decision {largest}, of {len(numbers)}"


def test_no_document_or_docstring_names_what_is_gone():
    found = [f"{name}: {match}" for name in DOCUMENTS for match in GONE.findall(read(name))]
    for path in SOURCES:
        name = path.relative_to(ROOT).as_posix()
        found += [f"{name}: {match}" for text in docstrings(path) for match in GONE.findall(text) + BARE.findall(text)]
    assert not found, "\n".join(found)


def test_module_docstrings_are_no_questions():
    found = []
    for path in SOURCES:
        text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        if text.split(" ")[0] in QUESTIONS:
            found.append(f"{path.relative_to(ROOT)}: {text.splitlines()[0]}")
    assert not found, "expected a noun phrase or an imperative:\n" + "\n".join(found)
