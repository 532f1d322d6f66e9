import hashlib
import json
from pathlib import Path

import pytest
from file_server import CONTENT, file_server

from depth_estimation_ros.fetching import download


@pytest.fixture
def server():
    with file_server() as server:
        yield server


@pytest.fixture(autouse=True)
def straight_and_at_once(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "PAUSE", 0.0)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".lock"}


def test_a_file_is_downloaded_once_and_its_sha256_recorded(server, tmp_path):
    folder = tmp_path / "new" / "cache"
    for _ in range(2):
        assert download.fetch(server.url, folder, Path.read_bytes) == CONTENT
    assert server.asked == [None]
    assert names(folder) == {"file.npy", "downloads.json"}
    assert json.loads((folder / "downloads.json").read_text()) == {server.url: hashlib.sha256(CONTENT).hexdigest()}


def test_a_cut_connection_is_taken_up_where_it_was_cut(server, tmp_path):
    server.cuts = [1_000_000, 500_000]
    assert download.fetch(server.url, tmp_path, Path.read_bytes) == CONTENT
    assert server.asked == [None, "bytes=1000000-", "bytes=1500000-"]


def test_a_download_goes_on_in_the_next_run(server, tmp_path):
    server.cuts = [250_000] * download.ATTEMPTS
    with pytest.raises(ValueError, match=r"was cut 10 times \(at 2.5 of 3.0 MB\): run again to go on") as failure:
        download.fetch(server.url, tmp_path, Path.read_bytes)
    assert "\n" not in str(failure.value)
    assert names(tmp_path) == {"file.npy.part", "file.npy.part.version"}
    assert download.fetch(server.url, tmp_path, Path.read_bytes) == CONTENT
    assert server.asked[-1] == "bytes=2500000-"
    assert names(tmp_path) == {"file.npy", "downloads.json"}


def test_two_versions_are_never_mixed(server, tmp_path):
    server.cuts = [1_000_000] + [0] * (download.ATTEMPTS - 1)
    with pytest.raises(ValueError, match="was cut"):
        download.fetch(server.url, tmp_path, Path.read_bytes)
    server.content = CONTENT[::-1]
    assert download.fetch(server.url, tmp_path, Path.read_bytes) == CONTENT[::-1]


def test_a_server_without_ranges_sends_all_of_it_again(server, tmp_path):
    server.ranges, server.cuts = False, [1_000_000]
    assert download.fetch(server.url, tmp_path, Path.read_bytes) == CONTENT
    assert server.asked == [None, None]


def test_a_part_longer_than_the_file_is_thrown_away(server, tmp_path):
    (tmp_path / "file.npy.part").write_bytes(CONTENT + b"more")
    (tmp_path / "file.npy.part.version").write_text(f'"{hashlib.sha256(CONTENT).hexdigest()}"')
    assert download.fetch(server.url, tmp_path, Path.read_bytes) == CONTENT


def test_another_file_than_the_first_time_is_refused(server, tmp_path):
    download.fetch(server.url, tmp_path, Path.read_bytes)
    (tmp_path / "file.npy").unlink()
    server.content = b"x" * 1000
    with pytest.raises(ValueError, match="is not the file of the first download") as refusal:
        download.fetch(server.url, tmp_path, lambda path: pytest.fail("it was read"))
    for digest in (hashlib.sha256(CONTENT), hashlib.sha256(server.content)):
        assert digest.hexdigest() in str(refusal.value)
    assert names(tmp_path) == {"downloads.json"}
    server.content = CONTENT
    assert download.fetch(server.url, tmp_path, Path.read_bytes) == CONTENT


def test_a_cached_file_that_has_changed_is_refused(server, tmp_path):
    download.fetch(server.url, tmp_path, Path.read_bytes)
    (tmp_path / "file.npy").write_bytes(CONTENT[:-1] + b"!")
    with pytest.raises(ValueError, match=r"file\.npy has changed since its download .*: delete it and run again"):
        download.fetch(server.url, tmp_path, lambda path: pytest.fail("it was read"))


def test_what_cannot_be_read_is_neither_kept_nor_recorded(server, tmp_path):
    def read(path):
        raise ValueError("it is a login page")

    with pytest.raises(ValueError, match="gave cannot be used: it is a login page"):
        download.fetch(server.url, tmp_path, read)
    assert names(tmp_path) == set()
    assert download.fetch(server.url, tmp_path, Path.read_bytes) == CONTENT


def test_two_downloads_at_once_do_not_meet(server, tmp_path):
    def read(path):
        with pytest.raises(ValueError, match="another process downloads into"):
            download.fetch(server.url, tmp_path, Path.read_bytes)
        return path.read_bytes()

    assert download.fetch(server.url, tmp_path, read) == CONTENT


def test_a_missing_file_and_an_absent_network_are_named(server, tmp_path):
    server.status = 404
    with pytest.raises(
        ValueError, match=r"127\.0\.0\.1 answered 404 Not Found for http.*: if you have the file, give it with --from"
    ):
        download.fetch(server.url, tmp_path, Path.read_bytes)
    for url in ("http://127.0.0.1:1/file.npy", "http://no-such-host.invalid/file.npy"):
        with pytest.raises(
            ValueError, match=rf"cannot reach .* \(.+\): connect to the internet, or download {url} on .*--from"
        ):
            download.fetch(url, tmp_path, Path.read_bytes)
    assert names(tmp_path) == set()


def test_trouble_with_the_folder_is_named(server, tmp_path):
    (tmp_path / "downloads.json").write_text("{")
    with pytest.raises(ValueError, match=r"downloads\.json is damaged: delete it"):
        download.fetch(server.url, tmp_path, Path.read_bytes)
    with pytest.raises(ValueError, match=r"cannot keep the download in .*downloads\.json: "):
        download.fetch(server.url, tmp_path / "downloads.json", Path.read_bytes)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which is Linux's")
def test_a_full_disk_is_named(server, tmp_path):
    (tmp_path / "file.npy.part").symlink_to("/dev/full")
    with pytest.raises(ValueError, match=r"cannot keep the download in .*: No space left on device"):
        download.fetch(server.url, tmp_path, Path.read_bytes)


def test_the_cache_is_where_the_desktop_keeps_caches(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert download.cache_folder() == tmp_path / "depth_estimation_ros"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert download.cache_folder() == tmp_path / ".cache" / "depth_estimation_ros"
