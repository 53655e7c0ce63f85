"""Downloads that go on where they were cut off."""

import http.client
import os
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

from seqsearch_fairseq.data.files import FormatError

BLOCK = 1 << 16  # bytes
SECONDS = 60  # that the server may be silent


class DownloadError(FormatError):
    """The file could not be downloaded as a whole; the message names its address and what was kept."""


def download(url: str, path: Path) -> None:
    """Download to `path`, unless it exists. What came so far waits in `path`.part, and the next call asks for the rest.

    Raises:
        DownloadError: no connection, an answer that is no file, or one that ends before its end.
    """
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        try:
            _continue(url, part)
        except urllib.error.HTTPError as error:
            if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise
            if _whole_size(error.headers) != part.stat().st_size:  # else it was all there but its name
                part.unlink()
                _continue(url, part)
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ValueError) as error:
        kept = part.stat().st_size if part.exists() else 0
        hint = f" ({kept} bytes are kept in {part}: run it again for the rest)" if kept else ""
        raise DownloadError(f"cannot download {url}: {getattr(error, 'reason', None) or error}{hint}") from error
    os.replace(part, path)


def _continue(url: str, part: Path) -> None:
    """Ask for what is missing of `part`, and add it. A server that does not know ranges sends everything again."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        rest = answer.status == http.client.PARTIAL_CONTENT
        if rest and not (answer.headers["Content-Range"] or "").startswith(f"bytes {have}-"):
            raise http.client.HTTPException("the server sent another part of the file than was asked for")
        have = have if rest else 0
        size = _whole_size(answer.headers) if rest else _number(answer.headers["Content-Length"])
        bar = tqdm(desc=part.stem, total=size, initial=have, unit="B", unit_scale=True, disable=not sys.stderr.isatty())
        with part.open("ab" if rest else "wb") as out, bar:
            while block := answer.read(BLOCK):
                out.write(block)
                bar.update(len(block))
                have += len(block)
    if size is not None and have < size:
        raise http.client.HTTPException(f"the connection ended after {have} of {size} bytes")


def _whole_size(headers) -> int | None:
    """How long the file is of which this is a part: the number behind the / of Content-Range."""
    match = re.search(r"/(\d+)\s*$", headers["Content-Range"] or "")
    return int(match[1]) if match else None


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)
