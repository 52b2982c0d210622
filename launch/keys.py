"""Make, list and withdraw the keys by which clients of fos serve are known.

  fos keys --file=keys.json --add=ann:editor
  fos keys --file=keys.json --remove=ann

--add prints the new key, once: the file holds only its hash. Readers search, editors change the gallery too. Clients
send it as header X-API-Key. A service that runs notices changes within a second.
"""

from pathlib import Path

from absl import flags

from fos_jax.program import run_program

_FILE = flags.DEFINE_string("file", None, "File of keys; made where it is missing.", required=True)
_ADD = flags.DEFINE_string("add", None, "NAME:ROLE of a new key; the role is reader or editor.")
_REMOVE = flags.DEFINE_string("remove", None, "Name of a key to withdraw.")


def main() -> None:
    from fos_jax.serving.keys import add_key, read_keys, remove_key

    path = Path(_FILE.value)
    if _ADD.value:
        name, _, role = _ADD.value.partition(":")
        print(add_key(path, name, role))
    if _REMOVE.value:
        remove_key(path, _REMOVE.value)
    if not _ADD.value and not _REMOVE.value:
        for entry in read_keys(path):
            print(f"{entry['name']:40} {entry['role']}")


if __name__ == "__main__":
    run_program(main)
