"""The pieces of the load benchmark that need no server: forms, searches, and figures of answers."""

import io
from types import SimpleNamespace

import numpy as np
import service_load
from PIL import Image
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartParser


def test_forms_are_read_by_a_server():
    import asyncio

    body, kind = service_load.form({"file": b"\x00\r\n--x", "metadata": '{"id": "a"}'})

    async def stream():
        yield body

    fields = asyncio.run(MultiPartParser(Headers({"content-type": kind}), stream()).parse())
    assert fields["metadata"] == '{"id": "a"}'
    assert fields["file"].file.read() == b"\x00\r\n--x"
    fields["file"].file.close()


def test_searches_lie_in_the_photograph_and_uploads_are_new(monkeypatch):
    def answer(url, body=None, *, files=None):
        if url.endswith("/api/gallery"):
            return 200, {"categories": [{"name": "car"}]}
        return 200, {"picture": f"id of {len(files['file'])} bytes"}

    monkeypatch.setattr(service_load, "request", answer)
    queries = service_load.Queries("http://service", uploads=9)
    assert len(queries.ids) == 8
    for _ in range(200):
        x0, y0, x1, y1 = queries.search()["box"]
        assert 0 <= x0 < x1 <= service_load.SIDES[0]
        assert 0 <= y0 < y1 <= service_load.SIDES[1]
    first, second = queries.upload(), queries.upload()
    assert first != second
    assert Image.open(io.BytesIO(first)).size == service_load.SIDES
    assert service_load.cutout(1) != service_load.cutout(2)


def test_figures_count_answers_and_time_accepted_searches():
    answers = service_load.Answers()
    for took in range(1, 101):
        answers.listen("search", float(took), SimpleNamespace(status_code=200, headers={}))
    answers.listen("search", 1e6, SimpleNamespace(status_code=429, headers={"retry-after": "1"}))
    answers.listen("search", 1e6, SimpleNamespace(status_code=503, headers={}))
    answers.listen("upload", 1e6, SimpleNamespace(status_code=200, headers={}))
    answers.listen("search", 1e6, None)
    figures = answers.figures(10)
    assert figures["statuses"] == {"200": 101, "429": 1, "503": 1, "no answer": 1}
    assert figures["per_s"] == 10.1
    assert figures["p50_ms"] == np.percentile(np.arange(1, 101), 50)
    assert answers.without_retry == 1
