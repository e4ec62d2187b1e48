"""The files of the pages: cached by content, compressed once, and nothing else is served."""

import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yarl

from nsqx.admin.daemon import Admin
from nsqx.admin.options import AdminOptions
from nsqx.admin.shown import static_files
from nsqx.admin.shown.static_files import StaticFiles
from tests.support.fake_http import fake_http

SHELL = '<!doctype html><html data-base="{{base}}" data-static="{{static}}">{{version}}</html>'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A front end of our own, in place of the package's."""
    static = tmp_path / "package" / "static"
    (static / "app" / "pages").mkdir(parents=True)
    (static / "vendor").mkdir()
    (static / "index.html").write_text(SHELL)
    (static / "app" / "main.mjs").write_text("export {};\n" * 100)
    (static / "app" / "pages" / "home.mjs").write_text("export {};\n")
    (static / "icon.svg").write_text("<svg/>")
    (static / "secret.py").write_text("no file for browsers")
    (static / "vendor" / "MANIFEST.json").write_text("{}")
    (tmp_path / "outside.mjs").write_text("not ours")
    monkeypatch.setattr(static_files, "package_files", lambda: static)
    return static


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(
        auto_decompress=False, headers={"Accept-Encoding": "identity"}
    ) as session:
        yield session


async def started(**options: Any) -> Admin:
    admin = Admin(
        AdminOptions(http_address="127.0.0.1:0", nsqd_http_address=["127.0.0.1:1"], **options)
    )
    await admin.start()
    return admin


@pytest.fixture
async def admin(folder: Path) -> AsyncIterator[Admin]:
    admin = await started()
    yield admin
    await admin.stop()


async def test_a_page_names_the_files_by_their_content(
    admin: Admin, session: aiohttp.ClientSession
) -> None:
    hash = StaticFiles().hash
    async with session.get(f"http://{admin.http_address}/topics/t") as response:
        text = await response.text()
    assert f'data-base="/" data-static="/static/{hash}/"' in text
    assert "{{" not in text
    url = f"http://{admin.http_address}/static/{hash}/app/main.mjs"
    async with session.get(url) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"


async def test_without_the_hash_a_file_is_asked_for_again(
    admin: Admin, session: aiohttp.ClientSession
) -> None:
    url = f"http://{admin.http_address}/static/app/pages/home.mjs"
    async with session.get(url) as response:
        assert response.headers["Cache-Control"] == "no-cache"
        etag = response.headers["ETag"]
    async with session.get(url, headers={"If-None-Match": etag}) as response:
        assert response.status == 304
        assert await response.read() == b""


async def test_files_are_compressed_for_who_takes_it(
    admin: Admin, session: aiohttp.ClientSession
) -> None:
    url = f"http://{admin.http_address}/static/app/main.mjs"
    async with session.get(url, headers={"Accept-Encoding": "gzip"}) as response:
        assert response.headers["Content-Encoding"] == "gzip"
        body = await response.read()
    assert gzip.decompress(body) == b"export {};\n" * 100
    async with session.get(url, headers={"Accept-Encoding": "identity"}) as response:
        assert "Content-Encoding" not in response.headers
        assert await response.read() == b"export {};\n" * 100


@pytest.mark.parametrize(
    "path",
    [
        "nosuch.mjs",
        "app",
        "app/",
        "secret.py",
        "../outside.mjs",
        "%2e%2e/outside.mjs",
        "app/%2e%2e/%2e%2e/%2e%2e/outside.mjs",
        "%2e%2e%2foutside.mjs",
        "app/pages/a/b/c/d.mjs",
        "0123456789abcdef/app/main.mjs",
    ],
)
@pytest.mark.parametrize("is_dev", [False, True])
async def test_nothing_else_is_served(
    folder: Path, session: aiohttp.ClientSession, path: str, is_dev: bool
) -> None:
    admin = await started(dev_static_dir=str(folder) if is_dev else "")
    url = yarl.URL(f"http://{admin.http_address}/static/{path}", encoded=True)
    async with session.get(url, allow_redirects=False) as response:
        text = await response.text()
        is_served = response.status == 200
    await admin.stop()
    # A developer's folder is read as it is.
    assert not is_served or (is_dev and path == "secret.py")
    assert "not ours" not in text


async def test_a_developers_folder_is_read_at_each_request(
    folder: Path, session: aiohttp.ClientSession
) -> None:
    admin = await started(dev_static_dir=str(folder))
    url = f"http://{admin.http_address}/static/dev/icon.svg"
    for text in ("<svg/>", "<svg>new</svg>"):
        (folder / "icon.svg").write_text(text)
        async with session.get(url) as response:
            assert await response.text() == text
            assert response.headers["Cache-Control"] == "no-cache"
    await admin.stop()


async def test_without_the_vendor_files_there_is_the_plain_page(
    folder: Path, session: aiohttp.ClientSession
) -> None:
    (folder / "vendor" / "MANIFEST.json").unlink()
    admin = await started()
    async with session.get(f"http://{admin.http_address}/topics/t") as response:
        text = await response.text()
        policy = response.headers["Content-Security-Policy"]
    await admin.stop()
    assert "<h1>nsqx: 0 topics on 1 nodes</h1>" in text
    assert "style-src 'sha256-" in policy
    assert "<script" not in text


async def test_the_base_path_is_in_the_page(folder: Path, session: aiohttp.ClientSession) -> None:
    admin = await started(base_path="/nsq")
    async with session.get(f"http://{admin.http_address}/nsq/topology") as response:
        assert 'data-base="/nsq/" data-static="/nsq/static/' in await response.text()
    await admin.stop()


async def test_the_files_of_the_package_are_found() -> None:
    files = StaticFiles()
    assert files.text("index.html") is not None
    assert len(files.hash) == 16


async def test_answers_of_the_api_are_compressed_too(
    folder: Path, session: aiohttp.ClientSession
) -> None:
    async with fake_http({"/stats": {"topics": []}}):
        admin = await started()
        url = f"http://{admin.http_address}/api/v2/me"
        async with session.get(url, headers={"Accept-Encoding": "br, gzip"}) as response:
            assert response.headers["Content-Encoding"] == "gzip"
            assert gzip.decompress(await response.read()).startswith(b'{"user":')
        await admin.stop()


def test_browsers_get_own_modules_without_comments_and_with_the_same_lines(folder: Path) -> None:
    module = """/**
 * What it is.
 * @param {string} url
 */
export const home = "http://a/"; // stays
  // goes
/** @type {number} */
let count = /** @type {any} */ (0);
/** @type {any} */ (count).x = 1;
const text = `
  https://a/ /** stays */
`;
"""
    (folder / "app" / "main.mjs").write_text(module)
    (folder / "vendor" / "other.mjs").write_text("// of others, with its licence\n")
    files = StaticFiles()
    assert (
        files.text("app/main.mjs")
        == """



export const home = "http://a/"; // stays


let count = /** @type {any} */ (0);
/** @type {any} */ (count).x = 1;
const text = `
  https://a/ /** stays */
`;
"""
    )
    assert files.text("vendor/other.mjs") == "// of others, with its licence\n"
    (folder / "app" / "main.mjs").write_text("// for who works on it\n")
    assert StaticFiles(str(folder)).text("app/main.mjs") == "// for who works on it\n"


def test_no_text_in_a_module_looks_like_a_comment() -> None:
    """Else a part of it would be cut; between texts the number of backquotes is even."""
    package = static_files.package_files()
    for path, served in static_files.packaged_files():
        if not path.startswith(static_files.OWN_MODULES):
            continue
        module = package.joinpath(path).read_bytes()
        lines = zip(module.split(b"\n"), served.split(b"\n"), strict=True)
        backquotes = 0
        for number, (line, kept) in enumerate(lines, 1):
            assert line == kept or backquotes % 2 == 0, f"{path}:{number}: {line!r}"
            backquotes += kept.count(b"`")
