"""Files, forms and values that a public service is sent: bombs, polyglots, traversal, numbers that are none."""

import contextlib
import gzip
import http.client
import io
import json
import socket
import struct
import time
import zipfile
import zlib

import numpy as np
from PIL import Image

BOUNDARY = "boundary"

TRAVERSAL = [
    "../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/etc/passwd",
    "%252e%252e%252fetc%252fpasswd",
    "..%5c..%5cwindows",
    "%00",
    "a%00.png",
    "%ff%fe",
    "....//....//etc/passwd",
    "/etc/passwd",
    "C:%5cwindows",
    "x" * 5_000,
]


def encoded(kind="PNG", width=64, height=48, mode="RGB", **options) -> bytes:
    """A sound picture of noise."""
    channels = {"RGB": 3, "RGBA": 4}[mode]
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes, depth=8, colour=0) -> bytes:
    """A PNG of given chunks, whatever its header says."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND", b"")


def zeros(n: int) -> bytes:
    """n zero bytes, compressed a thousandfold."""
    packer, block = zlib.compressobj(1), bytes(1 << 20)
    return b"".join(packer.compress(block[: min(len(block), n - at)]) for at in range(0, n, 1 << 20)) + packer.flush()


def bombs() -> dict[str, bytes]:
    """Small files that claim or unpack to a great many pixels or bytes."""
    side = 50_000
    row = side // 8 + 1
    jpeg = bytearray(encoded("JPEG"))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", 65_000, 65_000)
    gif = bytearray(encoded("GIF"))
    gif[6:10] = struct.pack("<HH", 65_535, 65_535)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("picture.png", bytes(20_000_000))
    text = chunk(b"zTXt", b"Comment\0\0" + zeros(200_000_000))
    profile = chunk(b"iCCP", b"profile\0\0" + zeros(200_000_000))
    pixels = chunk(b"IDAT", zlib.compress(bytes(8 * 9)))
    return {
        "png of 50,000 x 50,000 zeros": png(side, side, chunk(b"IDAT", zeros(row * side)), depth=1),
        "png that claims 2^31": png(2**31 - 1, 2**31 - 1, pixels),
        "png of one long row": png(2**31 - 1, 1, pixels),
        "png with a text of 200 MB": png(8, 8, text, pixels),
        "png with a profile of 200 MB": png(8, 8, profile, pixels),
        "png with more pixels than its header": png(8, 8, chunk(b"IDAT", zeros(100_000_000))),
        "jpeg that claims 65,000 x 65,000": bytes(jpeg),
        "gif that claims 65,535 x 65,535": bytes(gif),
        "zip": archive.getvalue(),
        "gzip": gzip.compress(bytes(20_000_000)),
        "tiff that claims much": b"II*\0\x08\0\0\0\x03\0"
        + b"".join(struct.pack("<HHII", tag, 4, 1, 2**31 - 1) for tag in (256, 257, 278))
        + bytes(4),
        "tiff whose directories form a ring": b"II*\0\x08\0\0\0\x01\0"
        + struct.pack("<HHII", 256, 4, 1, 9)
        + b"\x08\0\0\0",
    }


def polyglots() -> dict[str, bytes]:
    """Files of one kind that pretend to be, or also are, another."""
    script = b"<script>alert(1)</script>"
    return {
        "gif and script": b"GIF89a/*" + bytes(20) + b"*/=1;alert(1)",
        "html": b"<!doctype html><html><body>" + script + b"</body></html>",
        "html behind a png's signature": b"\x89PNG\r\n\x1a\n" + script,
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><image href="file:///etc/passwd"/></svg>',
        "xml with entities": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><svg>&b;</svg>',
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\nshowpage\n",
        "pdf": b"%PDF-1.4\n1 0 obj<<>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF",
        "pickle": b"\x80\x04cposix\nsystem\n(S'true'\ntR.",
        "numpy": b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,)}" + bytes(60),
        "imagemagick": b"push graphic-context\nfill 'url(https://127.0.0.1/x.jpg)'\npop graphic-context\n",
        "empty": b"",
        "zeros": bytes(100_000),
        "half a png": encoded()[:200],
        "png without pixels": png(0, 0),
    }


NUMBERS = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "-1e999",
    "1" + "0" * 400,
    "-0.0",
    "0.1",
    "true",
    '"7"',
    "null",
    "{}",
    "[]",
)


def boxes() -> list[str]:
    """JSON of rectangles that are none."""
    found = [f"[{number}, 0, 20, 20]" for number in NUMBERS if number != "-0.0"]
    found += [f"[0, 0, 20, {number}]" for number in NUMBERS]
    return [
        *found,
        "[]",
        "[1, 2, 3]",
        "[0, 0, 20, 20, 20]",
        "[[0, 0, 20, 20]]",
        "[20, 20, 0, 0]",
        "[5, 5, 5, 9]",
        *NUMBERS,
    ]


def values() -> list[str]:
    """JSON of values of every type, for any field."""
    return [
        *NUMBERS,
        '"\\ud800"',
        '"\\u0000"',
        '"../../etc/passwd"',
        '"' + "x" * 10_000 + '"',
        "[[[[[[]]]]]]",
        '{"a": {"b": NaN}}',
    ]


class Served:
    """A service on a port of this machine, with what requests need: a photograph and a cut-out."""

    def __init__(self, port):
        self.port = port
        self.photo = self.upload(encoded("JPEG"))[1]["picture"]
        self.cutout = self.upload(encoded("PNG", 20, 20, "RGBA"))[1]["picture"]

    def ask(self, method, path, body=None, headers=None):
        """(status, JSON or bytes, headers); the path is sent as it is."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.putrequest(method, path, skip_host=bool(headers and "Host" in headers))
            if body is not None and not (headers and "Transfer-Encoding" in headers):
                connection.putheader("Content-Length", str(len(body)))
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            connection.endheaders(body)
            return answered(connection.getresponse())
        finally:
            connection.close()

    def post(self, path, text, **headers):
        """The answer to a JSON text, checked."""
        data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
        found = self.ask("POST", path, data, {"Content-Type": "application/json"} | headers)
        return checked(found, text)

    def upload(self, data, *, filename="picture.png", field="file", kind="image/png"):
        body = form(data, filename=filename, field=field, kind=kind)
        return checked(self.ask("POST", "/api/pictures", body, multipart()), filename)

    def exchange(self, raw, *, seconds=5.0):
        """What a socket gets for raw bytes until the server closes it; None where it is still open then."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(raw)
            found, until = b"", time.monotonic() + seconds
            while time.monotonic() < until:
                try:
                    part = connection.recv(65536)
                except TimeoutError:
                    return None
                except ConnectionError:
                    return found
                if not part:
                    return found
                found += part
        return None


def answered(response):
    data = response.read()
    is_json = response.headers.get("content-type") == "application/json"
    return response.status, json.loads(data) if is_json and data else data, response.headers


def checked(found, what):
    """The answer, which is a success or one line of JSON that says why not."""
    status, answer, headers = found
    assert status < 500, (what, answer)
    if status >= 400:
        assert isinstance(answer, dict), (what, status, answer)
        assert answer["error"], (what, answer)
        assert "\n" not in answer["error"]
        assert len(answer["error"]) < 1000, what
        assert headers["x-content-type-options"] == "nosniff"
        assert "/tmp" not in answer["error"], what
    return status, answer


def form(data, *, filename="picture.png", field="file", kind="image/png", boundary=BOUNDARY):
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="{filename}"\r\n'
    head += f"Content-Type: {kind}\r\n\r\n"
    return head.encode("utf-8", "surrogatepass") + data + f"\r\n--{boundary}--\r\n".encode()


def multipart(boundary=BOUNDARY):
    return {"Content-Type": f"multipart/form-data; boundary={boundary}"}
