"""The page on which a person plays the user: files in the folder `page`, which need no token."""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException

FOLDER = Path(__file__).with_name("page")
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob:; media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def add_page(app: FastAPI) -> None:
    """Add the page at `/`."""
    files = {path.name: path for path in FOLDER.iterdir() if path.suffix in _TYPES}

    def answer(name: str) -> FileResponse:
        return FileResponse(files[name], headers=_HEADERS, media_type=_TYPES[files[name].suffix])

    @app.get("/", include_in_schema=False)
    async def index() -> FileResponse:
        return answer("index.html")

    @app.get("/page/{name}", include_in_schema=False)
    async def file(name: str) -> FileResponse:
        if name not in files:
            raise HTTPException(404, "page: there is no such file")
        return answer(name)
