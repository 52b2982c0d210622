"""Serve the page and the HTTP interface for searching a gallery, on this machine unless told otherwise.

  fos serve --gallery=runs/demo/gallery

Open the printed address: choose a photograph, draw a rectangle, see what fits. /openapi.json describes the interface.
"""

from pathlib import Path

from absl import flags

from fos_jax.program import keep_compiled_programs, run_program

_GALLERY = flags.DEFINE_string("gallery", None, "Folder of the gallery.", required=True)
_BUNDLE = flags.DEFINE_string("bundle", None, "Model bundle; by default the one that built the gallery.")
_HOST = flags.DEFINE_string("host", "127.0.0.1", "Address to listen at; by default only this machine reaches it.")
_PORT = flags.DEFINE_integer("port", 8766, "Port; 0 takes a free one.", 0, 65535)
_EXAMPLES = flags.DEFINE_string("examples", None, "Folder of photographs to try, with examples.json.")
_FOLDER = flags.DEFINE_string("folder", None, "Temporary folder of uploads; by default one in the user's cache.")


def main() -> None:
    keep_compiled_programs()
    import functools
    import tempfile

    from fos_jax.serving.app import make_app
    from fos_jax.serving.settings import Settings
    from fos_jax.web.server import serve

    gallery = Path(_GALLERY.value)
    beside = gallery.parent / "examples"
    examples = Path(_EXAMPLES.value) if _EXAMPLES.value else beside if (beside / "examples.json").exists() else None
    settings = Settings(
        gallery=gallery,
        bundle=_BUNDLE.value and Path(_BUNDLE.value),
        folder=Path(_FOLDER.value or tempfile.mkdtemp(prefix="fos-serve-")),
        examples=examples,
    )
    app = functools.partial(make_app, settings)
    serve(app, host=_HOST.value, port=_PORT.value, ready=lambda address: print(address, flush=True), is_factory=True)


if __name__ == "__main__":
    run_program(main)
