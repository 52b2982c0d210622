"""Bulk jobs: many searches or many additions, done in the background one after another, with progress.

A job is a folder: request.json, state.json and results.jsonl; whoever does it holds a lock on it, so that a job whose
process ended is told from one that goes on. Jobs outlast the service: one that it could not finish says so.
"""

import contextlib
import fcntl
import json
import os
import queue
import re
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from absl import logging
from fastapi import APIRouter, Body
from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response

from fos_jax.errors import InputError
from fos_jax.files import write_whole
from fos_jax.retrieval.queries import SearchQuery
from fos_jax.serving import requests
from fos_jax.serving.answers import json_answer, plain
from fos_jax.serving.changes import RecordFields, Records, change
from fos_jax.serving.replies import JobReply
from fos_jax.serving.searching import Ranking, check_counts, hit_json
from fos_jax.serving.service import Service

_ID = re.compile(r"[0-9a-f]{32}")
_BATCH = 8
_MOST_WAITING = 16
_TELL_S = 0.5
_GONE = "the service ended before it was done: hand it in again"


class SearchJob(requests.Body):
    """Instances for many queries."""

    model_config = requests.example(kind="search", queries=[])

    kind: Literal["search"]
    queries: Annotated[list[requests.Query], Field(min_length=1, max_length=10_000)]
    k: Annotated[int, Field(ge=1)] = 20
    ranking: Ranking = "posterior"
    weights: requests.Weights = Field({})
    filters: requests.FilterFields = requests.FilterFields()


class PictureRecord(RecordFields):
    """A cut-out that was handed in as a picture, and what is known of it."""

    picture: requests.PictureId


class AddJob(requests.Body):
    """Additions to the gallery, all or none."""

    kind: Literal["add"]
    foregrounds: Annotated[list[PictureRecord], Field(min_length=1, max_length=10_000)]


Job = Annotated[SearchJob | AddJob, Field(discriminator="kind")]


class Cancelled(Exception):
    """The job was taken back."""


class Jobs:
    """The jobs of one process, and those of others as far as they can be looked at."""

    def __init__(self, service: Service):
        """Keeps them in the service's folder."""
        self._service, self._folder = service, service.settings.folder / "jobs"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._waiting: queue.Queue[tuple[str, Any, int] | None] = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._run, name="fos-jobs", daemon=True)
        self._is_closing = False

    def start(self) -> None:
        """Begins to do jobs."""
        self._thread.start()

    def close(self) -> None:
        """Ends after the step that is being done; what is not finished will say so."""
        self._is_closing = True
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(None)
        if self._thread.is_alive():
            self._thread.join()

    def add(self, job: SearchJob | AddJob) -> str:
        """Takes a job; returns its id. `HTTPException` 429 where too many wait."""
        self._remove_old()
        name = uuid.uuid4().hex
        folder = self._folder / name
        folder.mkdir()
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        total = len(job.queries if isinstance(job, SearchJob) else job.foregrounds)
        try:
            self._tell(name, "waiting", 0, total, kind=job.kind)
            self._waiting.put_nowait((name, job, lock))
        except queue.Full:
            os.close(lock)
            shutil.rmtree(folder)
            raise HTTPException(429, "jobs: too many wait, try again", headers={"Retry-After": "10"}) from None
        return name

    def state(self, name: str) -> dict[str, Any]:
        """What is known of a job; `HTTPException` 404 where there is none."""
        folder = self.folder(name)
        found = json.loads((folder / "state.json").read_bytes())
        if found["state"] in ("waiting", "running") and _is_abandoned(folder):
            found |= {"state": "failed", "error": _GONE}
        return found

    def folder(self, name: str) -> Path:
        """Folder of a job; `HTTPException` 404 where there is none."""
        if not _ID.fullmatch(name) or not (self._folder / name / "state.json").exists():
            raise HTTPException(404, f"job: there is no {name[:80]!r}")
        return self._folder / name

    def remove(self, name: str) -> None:
        """Takes a job back, or removes what is left of it."""
        folder = self.folder(name)
        if self.state(name)["state"] in ("waiting", "running"):
            (folder / "cancelled").touch()
        else:
            shutil.rmtree(folder, ignore_errors=True)

    def _remove_old(self) -> None:
        for folder in self._folder.iterdir():
            with contextlib.suppress(OSError):
                is_old = time.time() - folder.stat().st_mtime > self._service.settings.limits.stored_s
                if is_old and _is_abandoned(folder):
                    shutil.rmtree(folder, ignore_errors=True)

    def _tell(self, name: str, state: str, done: int, total: int, *, kind: str, error: str | None = None) -> None:
        told = {"job": name, "kind": kind, "state": state, "done": done, "total": total, "error": error}
        write_whole(self._folder / name / "state.json", json.dumps(told))

    def _run(self) -> None:
        while (entry := self._waiting.get()) is not None:
            name, job, lock = entry
            try:
                if not self._is_closing:
                    self._do(name, job)
            finally:
                os.close(lock)

    def _do(self, name: str, job: SearchJob | AddJob) -> None:
        told_s, done = 0.0, 0
        total = len(job.queries if isinstance(job, SearchJob) else job.foregrounds)

        def tell(number: int) -> None:
            nonlocal told_s, done
            done = number
            if (self._folder / name / "cancelled").exists() or self._is_closing:
                raise Cancelled
            if time.monotonic() - told_s > _TELL_S:
                told_s = time.monotonic()
                self._tell(name, "running", done, total, kind=job.kind)

        try:
            tell(0)
            with open(self._folder / name / "results.jsonl", "w", encoding="utf-8") as file:
                lines = self._searched(job) if isinstance(job, SearchJob) else self._added(job, tell)
                for number, line in enumerate(lines):
                    file.write(json.dumps(plain(line), ensure_ascii=False) + "\n")
                    if isinstance(job, SearchJob):
                        tell(number + 1)
            self._tell(name, "done", total, total, kind=job.kind)
        except Cancelled:
            state, error = ("failed", _GONE) if self._is_closing else ("cancelled", None)
            self._tell(name, state, done, total, kind=job.kind, error=error)
        except (InputError, HTTPException) as error:
            self._tell(name, "failed", done, total, kind=job.kind, error=self._message(error))
        except Exception:
            logging.exception("job %s", name)
            self._tell(name, "failed", done, total, kind=job.kind, error="internal error: the log has it")

    def _searched(self, job: SearchJob) -> Iterator[dict[str, Any]]:
        search = self._service.search()
        options: Any = {"k": job.k, "ranking": job.ranking, "weights": job.weights, "filters": job.filters.filters()}
        for start in range(0, len(job.queries), _BATCH):
            own = job.queries[start : start + _BATCH]
            answers: list[Any]
            try:
                answers = search.instances_batch([self._query(query) for query in own], **options)
            except (InputError, HTTPException):  # one of them: each says its own
                answers = [self._one(search, query, options) for query in own]
            for number, answer in enumerate(answers):
                found = {"error": answer} if isinstance(answer, str) else {"hits": [hit_json(hit) for hit in answer]}
                yield {"query": start + number, **found}

    def _query(self, query: requests.Query) -> SearchQuery:
        return SearchQuery(self._service.pictures.photo(query.photo), query.box, query.category)

    def _one(self, search: Any, query: requests.Query, options: Any) -> Any:
        try:
            return search.instances_batch([self._query(query)], **options)[0]
        except (InputError, HTTPException) as error:
            return self._message(error)

    def _message(self, error: InputError | HTTPException) -> str:
        return self._service.hidden(str(error.detail if isinstance(error, HTTPException) else error))

    def _added(self, job: AddJob, tell: Any) -> Iterator[dict[str, Any]]:
        pictures = self._service.pictures
        records = [lambda entry=entry: entry.record(pictures.cutout(entry.picture)) for entry in job.foregrounds]
        number = change(self._service, "add", Records(records, tell), "service: job")
        yield {"version": number, "added": len(records)}


def _is_abandoned(folder: Path) -> bool:
    """Whether nobody holds the job any more."""
    try:
        lock = os.open(folder / "lock", os.O_RDWR)
    except OSError:
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(lock)


def routes(service: Service) -> APIRouter:
    """`/api/jobs`."""
    router, jobs = APIRouter(tags=["jobs"]), service.jobs

    def result_file(name: str) -> Response:
        path = jobs.folder(name) / "results.jsonl"
        return FileResponse(path, media_type="application/jsonl") if path.exists() else Response(b"")

    @router.post("/api/jobs", status_code=202, response_model=JobReply)
    async def add_job(job: Annotated[Job, Body()]) -> Response:
        """Hands in a job."""
        if isinstance(job, SearchJob):
            check_counts(service.settings.limits.k, k=job.k)
        name = await service.reading.run(jobs.add, job)
        return json_answer(jobs.state(name), status=202)

    @router.get("/api/jobs/{job}", response_model=JobReply)
    async def state(job: str) -> Response:
        """How far a job is."""
        return json_answer(jobs.state(job))

    @router.get(
        "/api/jobs/{job}/results", response_class=Response, responses={200: {"content": {"application/jsonl": {}}}}
    )
    async def results(job: str) -> Response:
        """The results so far, one JSON object per line."""
        return result_file(job)

    @router.delete("/api/jobs/{job}", status_code=204, response_class=Response)
    async def remove_job(job: str) -> Response:
        """Takes a job back, or removes what is left of it."""
        jobs.remove(job)
        return Response(status_code=204)

    return router
