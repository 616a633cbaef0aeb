"""A server that is slow, fails and lies: what is tried again, what is refused, and that nothing bad is kept."""

from __future__ import annotations

import email.utils
import json
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from tests.archive_server import Server, drips, hangs_up, jpeg, says, silent, status

from melascope.datasets import archive_download
from melascope.datasets.archive import fetch
from melascope.datasets.archive_http import ArchiveError, Client, Patience, StoppedError
from melascope.errors import DataError

QUICK = Patience(attempts=3, pause=0.01, connect=2.0, silence=0.3, grace=0.1, slowest=2_000.0)
HTML = b"<!DOCTYPE html><html><body>Please log in</body></html>"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def archive():
    with Server() as server:
        yield server


@pytest.fixture
def get(archive, tmp_path):
    def call(patience=QUICK, **options):
        return fetch(tmp_path / "set", "ham10000", server=archive.api, patience=patience, **options)

    return call


@pytest.fixture
def whole(archive, tmp_path):
    """Whether exactly the archive's files are there, each as it is."""

    def check(*missing: str) -> bool:
        files = {path.name: path.read_bytes() for path in (tmp_path / "set" / "images").iterdir()}
        return files == {f"{name}.jpg": data for name, data in archive.photographs.items() if name not in missing}

    return check


@pytest.mark.parametrize(
    "fault",
    [
        status(500),
        status(503, Retry_After="0"),
        hangs_up,
        says(HTML),
        says(b""),
        says(jpeg(1)[:-400]),
        says(jpeg(1)[:10]),
        silent(0.5),
        drips,
    ],
    ids=["500", "503", "hangs up", "HTML", "nothing", "cut JPEG", "only a beginning", "silent", "drips"],
)
def test_one_failure_is_mended_by_another_try(fault, archive, get, whole):
    archive.fail("/files/ISIC_0000003", fault)
    fetched = get()
    assert (fetched.fetched, fetched.failed) == (6, [])
    assert archive.count("/files/ISIC_0000003") == 2
    assert whole()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (status(500), "failed 3 times: status 500"),
        (hangs_up, "connection broke before the answer was whole"),
        (says(HTML), "web page"),
        (says(jpeg(1)[:-400]), "ends before its image does"),
        (silent(0.5), "it kept silent"),
        (drips, "bytes a second"),
        (says(b"x", length="9999999999"), "at most 100 MB"),
        (status(302, Location="file:///etc/passwd"), "an address that is not followed"),
        (status(302, Location="http://user:secret@127.0.0.1/"), "an address that is not followed"),
        (status(302, Location="/files/ISIC_0000003.jpg"), "redirects in a circle"),
        (status(418), "status 418"),
    ],
)
def test_what_stays_bad_is_listed_and_the_rest_is_kept(fault, said, archive, get, whole, tmp_path):
    archive.fail("/files/ISIC_0000003", fault, times=20)
    fetched = get()
    assert fetched.fetched == 5
    [(name, reason)] = fetched.failed
    assert name == "ISIC_0000003"
    assert said in reason
    assert whole("ISIC_0000003")
    assert "ISIC_0000003" in (tmp_path / "set" / "failed.csv").read_text()
    assert "ISIC_0000003" not in (tmp_path / "set" / "metadata.csv").read_text()

    archive.faults.clear()
    fetched = get()
    assert (fetched.fetched, fetched.kept, fetched.failed) == (1, 5, [])
    assert whole()
    assert not (tmp_path / "set" / "failed.csv").exists()


def test_a_whole_file_of_another_size_than_stated_is_kept_and_told(archive, get, whole):
    # The real archive states sizes that are not those of its files.
    archive.records["ISIC_0000002"]["files"]["full"]["size"] = 17
    fetched = get()
    assert fetched.fetched == 6
    assert any("1 file is whole, but not of the size" in note for note in fetched.notes)
    assert whole()
    archive.asked.clear()
    assert get().kept == 6
    assert archive.count("/files/") == 0


@pytest.mark.parametrize("when", ["1", "date"])
def test_retry_after_holds_for_every_request(when, archive, get):
    if when == "date":
        when = email.utils.format_datetime(datetime.now(UTC) + timedelta(seconds=2))
    archive.fail("/files/", status(429, Retry_After=when), times=1)
    began = time.monotonic()
    assert get(connections=1).fetched == 6
    assert time.monotonic() - began > 0.9


def test_a_server_that_wants_us_to_come_back_tomorrow_is_left_alone(archive, get):
    archive.fail("/files/ISIC_0000003", status(429, Retry_After="86400"))
    fetched = get(connections=1)
    assert fetched.fetched == 2
    assert {reason for _, reason in fetched.failed} == {
        "The server asks to come back in 1440 minutes; repeat the command then."
    }
    assert archive.count("/files/") == 3


def test_no_more_connections_than_said(archive, get):
    archive.fail("/files/", silent(0.05), times=6)
    get(connections=2)
    assert archive.most == 2


def test_a_lapsed_address_is_asked_for_anew(archive, get, whole):
    fresh = archive.records["ISIC_0000003"]["files"]["full"]["url"]
    archive.records["ISIC_0000003"]["files"]["full"]["url"] = fresh.replace("signature=1", "signature=old")
    archive.fail("signature=old", status(403))

    def anew(_handler):
        archive.records["ISIC_0000003"]["files"]["full"]["url"] = fresh
        return False

    archive.fail("/images/ISIC_0000003/", anew)
    assert get().failed == []
    assert whole()


def test_a_photograph_that_is_gone(archive, get):
    del archive.photographs["ISIC_0000003"]
    fetched = get()
    assert fetched.fetched == 5
    assert fetched.failed == [("ISIC_0000003", "The server answered with status 404.")]


def test_a_server_that_broke_down_is_left_alone(archive, get, monkeypatch):
    monkeypatch.setattr(archive_download, "_GIVE_UP_AFTER", 2)
    archive.fail("/files/", status(500), times=100)
    fetched = get(connections=1)
    assert fetched.fetched == 0
    assert len(fetched.failed) == 2
    assert any("the rest was left" in note for note in fetched.notes)
    assert archive.count("/files/") <= 9


def _change(**changes):
    def lie(handler):
        handler.json({"count": 6, "next": None, "previous": None, "results": [], **changes})
        return True

    return lie


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (says(HTML), "not JSON but begins with '<!DOCTYPE html>"),
        (says(b"[]"), "does not speak the ISIC Archive's API"),
        (says(b'{"results": 3}'), "does not speak the ISIC Archive's API"),
        (_change(next="http://example.org/api/v2/images/search/?cursor=2"), "leads elsewhere"),
        (_change(next="/etc/passwd"), "leads elsewhere"),
        (_change(next="http://[bad"), "leads elsewhere"),
        (status(500), "status 500"),
        (status(403), "status 403"),
        (hangs_up, "connection broke"),
    ],
)
def test_pages_that_lie(page, said, archive, get, tmp_path):
    archive.fail("images/search", page, times=9)
    with pytest.raises(DataError, match="list of photographs cannot be had") as caught:
        get()
    assert said in str(caught.value)
    assert archive.count("/files/") == 0


def test_pages_in_a_circle(archive, get):
    def circle(handler):
        archive.faults["images/search"].append(circle)
        following = f"{archive.base}{handler.path.split('&cursor')[0]}&cursor=0"
        handler.json({"count": 6, "next": following, "results": [archive.records["ISIC_0000001"]]})
        return True

    archive.fail("images/search", circle)
    with pytest.raises(DataError, match="in a circle"):
        get()
    assert len(archive.asked) < 6


@pytest.mark.parametrize("results", [[], [{"isic_id": "ISIC_0000001"}]], ids=["empty", "useless"])
def test_pages_without_end(results, archive, get):
    def endless(handler):
        archive.faults["images/search"].append(endless)
        following = f"{archive.base}{handler.path.split('&cursor')[0]}&cursor={len(archive.asked)}"
        handler.json({"count": 6, "next": following, "results": results})
        return True

    archive.fail("images/search", endless)
    with pytest.raises(DataError, match="in a circle"):
        get()
    assert len(archive.asked) < 60


@pytest.mark.parametrize(
    "lie",
    [
        {"isic_id": "../../../escape"},
        {"isic_id": "ISIC_0000003/../../escape"},
        {"isic_id": "ISIC_0000003\n"},
        {"isic_id": None},
        {"files": None},
        {"files": {"full": {"url": 3}}},
    ],
)
def test_records_that_lie_name_no_file(lie, archive, get, tmp_path):
    archive.records["ISIC_0000003"].update(lie)
    fetched = get()
    assert (fetched.wanted, fetched.fetched) == (5, 5)
    assert len(fetched.failed) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"set"}
    assert len(list((tmp_path / "set" / "images").iterdir())) == 5


def test_odd_metadata_does_no_harm(archive, get, tmp_path):
    import pandas as pd

    from melascope import datasets

    archive.records["ISIC_0000001"].update(
        copyright_license=["CC-0"],
        attribution="A\nB\x00\u202e",
        metadata={
            "clinical": {"age_approx": "85+", "sex": None, "../x": "y", "melanoma": True, "mel_thick_mm": float("inf")},
            "acquisition": "none",
            "lesion_id": 17,
        },
    )
    archive.records["ISIC_0000002"]["metadata"] = ["nothing"]
    archive.records["ISIC_0000003"]["files"]["full"]["size"] = "many"
    assert get().fetched == 6
    table = datasets.read(tmp_path / "set" / "metadata.csv").set_index("image_id")
    first = table.loc["ISIC_0000001"]
    assert (first["lesion_id"], first["source"]) == ("17", "A B")
    assert pd.isna(first["age"])
    assert pd.isna(table.loc["ISIC_0000002", "diagnosis"])


def test_a_png_is_named_as_one(archive, get, tmp_path):
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (40, 40), "brown").save(file, "PNG")
    archive.photographs["ISIC_0000002"] = file.getvalue()
    get()
    assert (tmp_path / "set" / "images" / "ISIC_0000002.png").exists()


def test_a_full_disk_ends_it(get, monkeypatch, tmp_path):
    import errno

    from melascope.datasets.archive_folder import Folder

    def full(*_args):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as scarce:
        scarce.setattr(Folder, "add_file", full)
        with pytest.raises(OSError, match="No space left"):
            get()
    assert get().fetched == 6


def test_a_request_can_be_called_off_while_it_waits(archive):
    archive.fail("collections", status(503, Retry_After="30"))
    client = Client(archive.api, patience=Patience(attempts=3))
    threading.Timer(0.1, client.stop.set).start()
    began = time.monotonic()
    with pytest.raises(StoppedError):
        client.json("collections/")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("server", ["file:///etc/", "ftp://x/", "nothing", "http://", "http://u:p@host/", "http://[x/"])
def test_addresses_that_are_no_server(server):
    with pytest.raises(ArchiveError, match="not an http or https address"):
        Client(server)


def test_an_encrypted_server_may_not_send_us_elsewhere_in_the_open():
    client = Client("https://archive.invalid/api/v2/")
    with pytest.raises(ArchiveError, match="without encryption"):
        client.get("http://archive.invalid/files/1.jpg", 10, bytes)


def test_a_server_that_is_not_there():
    # Port 1 is reserved, nothing answers there.
    client = Client("http://127.0.0.1:1/", patience=QUICK)
    with pytest.raises(ArchiveError, match="no connection could be made"):
        client.json("collections/")


class _Proxy(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Proxy-Authorization")))
        body = json.dumps({"results": []}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_CONNECT(self):
        self.server.asked.append((self.path, self.headers.get("Proxy-Authorization")))
        self.send_error(403)

    def log_message(self, *_):
        pass


@pytest.fixture
def proxy():
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Proxy)
    server.asked = []
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_proxy_from_the_environment_is_used(proxy, monkeypatch):
    address = f"127.0.0.1:{proxy.server_address[1]}"
    monkeypatch.setenv("http_proxy", f"http://me:p%40ss@{address}")
    monkeypatch.setenv("https_proxy", address)
    assert Client("http://archive.invalid/api/").json("x/") == {"results": []}
    assert proxy.asked == [("http://archive.invalid/api/x/", "Basic bWU6cEBzcw==")]
    with pytest.raises(ArchiveError, match="proxy failed"):
        Client("https://archive.invalid/api/", patience=Patience(attempts=1)).json("x/")
    assert proxy.asked[1][0] == "archive.invalid:443"


def test_no_proxy_is_heeded(proxy, archive, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.server_address[1]}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert len(Client(archive.api).json("collections/?limit=100")["results"]) == 2
    assert proxy.asked == []


def test_a_proxy_of_another_kind_is_refused(monkeypatch):
    monkeypatch.setenv("https_proxy", "socks5://127.0.0.1:9")
    with pytest.raises(DataError, match=r"socks5://127\.0\.0\.1 is not one for http"):
        Client("https://archive.invalid/").json("x/")
