"""A server on this machine that speaks the ISIC Archive's API, and fails, dawdles and lies when told to."""

from __future__ import annotations

import io
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
from PIL import Image

DIAGNOSES = (
    {"diagnosis_1": "Benign", "diagnosis_2": "Benign melanocytic proliferations", "diagnosis_3": "Nevus"},
    {
        "diagnosis_1": "Malignant",
        "diagnosis_2": "Malignant melanocytic proliferations (Melanoma)",
        "diagnosis_3": "Melanoma Invasive",
        "diagnosis_4": "Melanoma Invasive, Superficial spreading",
    },
    {"diagnosis_1": "Benign", "diagnosis_2": "Benign soft tissue proliferations - Vascular"},
    {"diagnosis_1": "Benign"},
)


def jpeg(seed: int, size: tuple[int, int] = (48, 40)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


Fault = Callable[["Handler"], bool]
"""Answers a request in its own way and returns True, or returns False for the usual answer."""


class Server(ThreadingHTTPServer):
    """An archive of a few photographs.

    Attributes:
        photographs: Id to the file's bytes.
        records: Id to what the API says of it; change it to lie.
        collections: Number to the name and ids.
        faults: Part of a path to what happens there, once for each time it is listed.
        asked: Every path asked for, with its query.
        largest_page: As the archive's own limit.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, count: int = 6) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.server_address[1]}"
        self.api = f"{self.base}/api/v2/"
        self.photographs = {f"ISIC_{number:07d}": jpeg(number) for number in range(1, count + 1)}
        self.records = {name: self._record(number, name) for number, name in enumerate(self.photographs)}
        names = list(self.photographs)
        self.collections: dict[int, tuple[str, list[str]]] = {
            7: ("Challenge 2018: Task 3: Training", names),
            8: ("A small one", names[:2]),
            9: ("Twice", names),
            10: ("Twice", names),
        }
        self.faults: dict[str, list[Fault]] = {}
        self.asked: list[str] = []
        self.agents: Counter[str] = Counter()
        self.largest_page = 2
        self.now = self.most = 0
        self.lock = threading.Lock()

    def _record(self, number: int, name: str) -> dict[str, Any]:
        data = self.photographs[name]
        return {
            "isic_id": name,
            "public": True,
            "copyright_license": ("CC-0", "CC-BY", "CC-BY-NC")[number % 3],
            "attribution": "ViDIR | Group,\nVienna" if number % 2 else "Anonymous",
            "files": {
                "full": {"url": f"{self.base}/files/{name}.jpg?signature=1", "size": len(data)},
                "thumbnail_256": {"url": f"{self.base}/files/{name}.jpg?thumbnail", "size": len(data)},
            },
            "metadata": {
                "acquisition": {"pixels_x": 48, "pixels_y": 40, "image_type": "dermoscopic"},
                "clinical": {
                    "sex": "female",
                    "age_approx": 40 + 5 * number,
                    "anatom_site_general": "anterior torso",
                    "diagnosis_confirm_type": "histopathology",
                    "melanocytic": True,
                    "lesion_id": f"IL_{number // 2:07d}",
                    "patient_id": f"IP_{number // 3:07d}",
                    **DIAGNOSES[number % len(DIAGNOSES)],
                },
            },
        }

    def fail(self, where: str, *faults: Fault, times: int = 1) -> None:
        """Let what holds `where` go wrong so often, with each fault in turn."""
        self.faults.setdefault(where, []).extend([*faults] * times)

    def count(self, part: str) -> int:
        return sum(part in path for path in self.asked)

    def __enter__(self) -> Server:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that hang up are part of the game."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server
        with server.lock:
            server.asked.append(self.path)
            server.agents[self.headers.get("User-Agent", "")] += 1
            server.now += 1
            server.most = max(server.most, server.now)
            fault = next((found.pop(0) for part, found in server.faults.items() if part in self.path and found), None)
        try:
            if fault is None or not fault(self):
                self._usual()
        finally:
            with server.lock:
                server.now -= 1

    def _usual(self) -> None:
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        steps = [step for step in parts.path.split("/") if step]
        server = self.server
        if steps[0] == "files":
            data = server.photographs.get(steps[1].split(".")[0])
            self.answer(data, "image/jpeg") if data is not None else self.answer(b"gone", status=404)
        elif steps[:4] == ["api", "v2", "images", "search"]:
            if "((" in query.get("query", ""):
                return self.answer(b'{"message": "no"}', status=400)
            names = list(server.records)
            if "collections" in query:
                chosen = {
                    name for number in query["collections"].split(",") for name in server.collections[int(number)][1]
                }
                names = [name for name in names if name in chosen]
            if "sex:male" in query.get("query", ""):
                names = []
            self._page([server.records[name] for name in names], query)
        elif steps[:3] == ["api", "v2", "images"]:
            record = server.records.get(steps[3])
            self.json(record) if record else self.answer(b"{}", status=404)
        elif steps == ["api", "v2", "collections"]:
            every = [{"id": number, "name": name} for number, (name, _) in server.collections.items()]
            self._page(every, query)
        elif steps[:3] == ["api", "v2", "collections"] and int(steps[3]) in server.collections:
            number = int(steps[3])
            self.json({"id": number, "name": server.collections[number][0], "doi_url": "https://doi.org/10.1/x"})
        else:
            self.answer(b"{}", status=404)
        return None

    def _page(self, records: list[Any], query: dict[str, str]) -> None:
        start = int(query.get("cursor", 0))
        end = start + min(int(query["limit"]), self.server.largest_page)
        parts = urlsplit(self.path)
        rest = "&".join(part for part in parts.query.split("&") if not part.startswith("cursor="))
        following = f"{self.server.base}{parts.path}?{rest}&cursor={end}" if end < len(records) else None
        count = len(records) if start == 0 else None
        self.json({"count": count, "next": following, "previous": None, "results": records[start:end]})

    def json(self, data: Any) -> None:
        self.answer(json.dumps(data).encode(), "application/json")

    def answer(self, data: bytes, kind: str = "text/plain", status: int = 200, **headers: str) -> bool:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", headers.pop("length", str(len(data))))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)
        return True


def status(code: int, **headers: str) -> Fault:
    """Answer with this status."""
    return lambda handler: handler.answer(b"{}", status=code, **headers)


def says(data: bytes, **headers: str) -> Fault:
    """Answer with these bytes, as if all were well."""
    return lambda handler: handler.answer(data, "image/jpeg", **headers)


def hangs_up(handler: Handler) -> bool:
    """Promise a photograph and hang up half way."""
    data = jpeg(1)
    handler.answer(data[: len(data) // 2], "image/jpeg", length=str(len(data)))
    handler.close_connection = True
    return True


def silent(seconds: float) -> Fault:
    """Keep silent for a while, then answer as usual."""

    def wait(_handler: Handler) -> bool:
        time.sleep(seconds)
        return False

    return wait


def drips(handler: Handler) -> bool:
    """Send a byte now and then."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b"x")
        handler.wfile.flush()
        time.sleep(0.02)
    return True
