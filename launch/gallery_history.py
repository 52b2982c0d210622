"""List the changes of a gallery, oldest first.

fos gallery history --gallery=my_gallery
fos gallery history --gallery=my_gallery --id=car/0017.png --json
"""

import datetime
import json

from absl import flags

from fos_jax.program import run_program

_GALLERY = flags.DEFINE_string("gallery", None, "Folder of the gallery.", required=True)
_ID = flags.DEFINE_string("id", None, "Only changes by which this foreground came or went.")
_AFTER = flags.DEFINE_integer("after", 0, "Only changes after this one.", 0)
_JSON = flags.DEFINE_bool("json", False, "Print JSON, with the ids of each change.")


def main() -> None:
    from fos_jax.gallery.info import history

    entries = history(_GALLERY.value, after=_AFTER.value, identifier=_ID.value)
    if _JSON.value:
        print(json.dumps(entries, indent=1))
        return
    for entry in entries:
        time = datetime.datetime.fromtimestamp(entry["time_s"], datetime.UTC).isoformat(" ", "seconds")[:19]
        counts = ", ".join(f"{entry[f'num_{what}']:,} {what}" for what in ("added", "removed") if entry[f"num_{what}"])
        print(f"{entry['sequence']:6}  {time} UTC  {entry['action']:9} {counts:24} {entry['note']}".rstrip())


if __name__ == "__main__":
    run_program(main)
