"""Files of a page: read when the server starts, so that no path is ever put together from a request."""

from importlib import resources

from starlette.exceptions import HTTPException
from starlette.responses import Response

_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


class PageFiles:
    """The files of a package's folder `page`."""

    def __init__(self, package: str):
        """Reads them; `package` is the dotted name of the package that holds the folder."""
        folder = resources.files(package) / "page"
        self._files = {
            entry.name: (kind, entry.read_bytes())
            for entry in (folder.iterdir() if folder.is_dir() else ())
            if (kind := _TYPES.get("." + entry.name.rsplit(".", 1)[-1]))
        }

    def answer(self, name: str) -> Response:
        """A file as a response; `HTTPException` 404 where there is none of this name."""
        if name not in self._files:
            raise HTTPException(404, f"page: there is no file {name!r}")
        kind, body = self._files[name]
        return Response(body, media_type=kind, headers={"Cache-Control": "no-cache"})


SHARED = "fos_jax.web"
