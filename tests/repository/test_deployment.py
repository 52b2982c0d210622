"""The image and the compose file: what they copy, start, publish and check is there."""

import json
import re
import shlex
from pathlib import Path

import yaml
from test_documents import named, program_flags

ROOT = Path(__file__).resolve().parents[2]


def instructions(text: str) -> list[tuple[str, str]]:
    """(instruction, arguments) of a Dockerfile, continued lines joined, comments left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", "", "\n".join(lines))
    return [
        (word.upper(), rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)
    ]


DOCKERFILE = instructions((ROOT / "Dockerfile").read_text())
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]


def arguments(name: str) -> list[str]:
    """Arguments of each instruction of this name, in the last stage too."""
    return [rest for word, rest in DOCKERFILE if word == name]


def check_command(words: list[str]) -> dict[str, str]:
    """Flags of words behind `fos`; they are known to the command that the words name."""
    command = named(["fos", *words])
    assert command is not None, words
    flags = dict(re.fullmatch(r"--(?:no)?(\w+)=?(.*)", word).groups() for word in words if word.startswith("--"))
    assert set(flags) <= program_flags(command), words
    return flags


def test_image_copies_what_there_is_and_only_that():
    sources = [word for rest in arguments("COPY") if "--from" not in rest for word in rest.split()[:-1]]
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert set(sources) == allowed
    assert all((ROOT / name).exists() for name in sources)


def test_image_serves_as_another_user_than_root():
    assert arguments("USER")[-1] == "10001"
    words = [word for name in ("ENTRYPOINT", "CMD") for word in json.loads(arguments(name)[-1])]
    assert words[:2] == ["fos", "serve"]
    flags = check_command(words[1:])
    assert arguments("EXPOSE") == [flags["port"]]
    (health,) = arguments("HEALTHCHECK")
    assert f"http://127.0.0.1:{flags['port']}/health" in health


def test_commands_in_comments_can_be_run():
    for name in ("Dockerfile", "compose.yaml"):
        found = re.findall(r"^#.* fos(?:-jax)? ((?:gallery|keys) .*)$", (ROOT / name).read_text(), flags=re.M)
        assert found, name
        for command in found:
            check_command(shlex.split(command, comments=True))


def test_compose_file_holds_together():
    assert set(SERVICES) == {"fos", "milvus", "etcd", "minio"}
    volumes, networks = set(COMPOSE["volumes"]), {"default", *COMPOSE["networks"]}
    for name, service in SERVICES.items():
        assert ":" in service["image"], f"{name}: expected an image of one version"
        for volume in service["volumes"]:
            source = re.match(r"(\$\{.*?\}|[^:]*):/", volume)[1]
            assert source in volumes or source.startswith(("${", "./")), f"{name}: {volume}"
        assert set(service.get("networks", ["default"])) <= networks
        assert set(service.get("depends_on", {})) <= set(SERVICES)
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name}: {port} is open to other machines"
        if name != "fos":  # its image has one
            assert service["healthcheck"]["test"][0] == "CMD"
    fos = SERVICES["fos"]
    assert fos["read_only"]
    flags = check_command(shlex.split(fos["command"].removesuffix("${FOS_FLAGS:-}")))
    assert fos["ports"][0].endswith(":" + flags["port"])
    assert any(volume.endswith(":" + flags["gallery"]) for volume in fos["volumes"])
