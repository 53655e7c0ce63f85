"""Preparation of IWSLT'14: from archive, folder and download to text for fairseq-preprocess, and what is refused."""

import contextlib
import gzip
import hashlib
import http.server
import io
import re
import tarfile
import threading
from pathlib import Path

import pytest
from commands import Script, script

from seqsearch_fairseq.data.download import DownloadError, download
from seqsearch_fairseq.data.iwslt14 import LANGUAGES, TESTS, TRAIN

PAIRS = 50  # training pairs of the archive that are kept, two of them for validation


def prepare(*arguments) -> Script:
    return script("prepare_iwslt14.py", *arguments)


def training_text(language: str) -> list[str]:
    """Two talks, with three pairs that the recipe leaves out, 50 tokens on both sides in one that it keeps."""
    word = {"de": "Wort", "en": "Word"}[language]
    sentences = [f"{word} {number} {'oft' if language == 'de' else 'often'}." for number in range(PAIRS - 6)]
    kept = " ".join([word] * 50)
    left_out = [f"{kept} {word}", " ".join([word] * (3 if language == "de" else 5)), "" if language == "de" else word]
    about = [
        f"<url>http://example.org/{language}</url>",
        "<keywords>talks</keywords>",
        "<talkid>1</talkid>",
        f"<title>{word}: It's a title</title>",
        f"<description>{word} of what it is about</description>",
    ]
    talks = [*about, f" {sentences[0]} ", *left_out, kept, *about, *sentences[1:], f"{word} last"]
    return [line + "\n" for line in talks]


def test_text(name: str, language: str) -> list[str]:
    """A test set with two segments."""
    head = ['<?xml version="1.0" encoding="UTF-8"?>\n', f'<doc docid="1" setid="{name}">\n', "<url>u</url>\n"]
    body = [f'<seg id="{number}"> {name}’s {language} {"long " * 60}{number}. </seg>\n' for number in (1, 2)]
    return [*head, "<title>No text</title>\n", *body, "</doc>\n"]


test_text.__test__ = False


def corpus_files() -> dict[str, bytes]:
    files = {f"{TRAIN}.{language}": training_text(language) for language in LANGUAGES}
    for name in TESTS:
        files |= {f"{name}.{language}.xml": test_text(name, language) for language in LANGUAGES}
    return {name: "".join(lines).encode() for name, lines in files.items()}


def archive_of(files: dict[str, bytes]) -> bytes:
    """These files in the layout of the official archive."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        folder = tarfile.TarInfo("de-en")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in {"README": b"not needed\n", **files}.items():
            member = tarfile.TarInfo(f"de-en/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


@pytest.fixture
def archive(tmp_path) -> Path:
    path = tmp_path / "de-en.tgz"
    path.write_bytes(archive_of(corpus_files()))
    return path


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def assert_refused(done: Script, message: str, output: Path) -> None:
    assert done.returncode == 1
    assert re.search(message, done.stderr), done.stderr
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("error: ")
    assert not output.exists() and not output.with_name(output.name + ".tmp").exists()


# --------------------------------------------------------------------------------------------------- what is written


def test_the_archive_becomes_words_in_three_splits(archive, tmp_path):
    done = prepare("--archive", archive, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    checksum = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert done.stdout.splitlines() == [
        f"{archive}: sha256 {checksum}",
        "train: 48 sentence pairs, 244 English words, 1 pairs of more than 50 tokens left out, "
        "1 pairs of a length ratio above 1.5 left out, 1 pairs with an empty side left out",
        "valid: 2 sentence pairs, 8 English words, 2 de words written as <unk>, 2 en words written as <unk>",
        "test: 10 sentence pairs, 650 English words, 630 de words written as <unk>, 620 en words written as <unk>",
        f"vocabulary: 56 de words, 55 en words; written to {tmp_path / 'out'}",
    ]
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [f"{split}.{language}" for split in ("train", "valid", "test") for language in LANGUAGES]
        + [f"raw.{split}.en" for split in ("train", "valid", "test")]
    )
    assert lines(out / "raw.train.en")[:3] == [
        "word : it &apos;s a title",
        "word of what it is about",
        "word 0 often .",
    ]
    assert lines(out / "train.de")[2:4] == ["wort 0 oft .", " ".join(["wort"] * 50)]
    # Of the pairs that are kept, the 23rd and the 46th.
    kept = [*lines(out / "raw.train.en")[:22], *lines(out / "raw.valid.en")[:1]]
    assert kept[-2:] == ["word 16 often .", "word 17 often ."] and lines(out / "raw.valid.en")[1] == "word 40 often ."
    assert lines(out / "valid.en") == ["word <unk> often ."] * 2
    # The five sets one after the other, whole: 65 tokens are not too many here.
    assert [line.split()[0] for line in lines(out / "raw.test.en")[::2]] == [name.lower() for name in TESTS]
    assert lines(out / "raw.test.en")[0].split()[1:3] == ["&apos;s", "en"]


def test_known_words_are_the_most_frequent_of_train(archive, tmp_path):
    done = prepare("--archive", archive, tmp_path / "out", "--source-words", 3, "--target-words", 1)
    assert done.returncode == 0, done.stderr
    assert "vocabulary: 3 de words, 1 en words" in done.stdout
    assert lines(tmp_path / "out/train.de")[2] == "wort <unk> oft ."
    assert lines(tmp_path / "out/train.en")[2] == "word <unk> <unk> <unk>"
    assert lines(tmp_path / "out/raw.train.en")[2] == "word 0 often ."


def test_pieces_of_both_languages_and_several_workers(archive, tmp_path):
    done = prepare("--archive", archive, tmp_path / "out", "--bpe", 60, "--workers", 2)
    assert done.returncode == 0, done.stderr
    assert "vocabulary: 60 pieces" in done.stdout and (tmp_path / "out/spm.model").exists()
    joined = [line.replace(" ", "").replace("\u2581", " ").strip() for line in lines(tmp_path / "out/train.en")]
    assert joined == lines(tmp_path / "out/raw.train.en")


def test_the_recipes_numbers_can_be_changed(archive, tmp_path):
    flags = ("--max-length", 60, "--max-ratio", 2, "--valid-every", 10, "--limit", 4)
    done = prepare("--archive", archive, tmp_path / "out", *flags)
    assert done.returncode == 0, done.stderr
    assert [len(lines(tmp_path / f"out/{split}.de")) for split in ("train", "valid", "test")] == [4, 4, 4]
    assert len(lines(tmp_path / "out/train.de")[3].split()) == 51
    assert done.stderr == ""


def test_numbers_that_are_not_those_of_the_recipe_are_warned_of(archive, tmp_path):
    done = prepare("--archive", archive, tmp_path / "out", "--max-length", 175)
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "warning: 49 sentence pairs for train, the recipe is known to give 160239",
        "warning: 2 sentence pairs for valid, the recipe is known to give 7283",
        "warning: 10 sentence pairs for test, the recipe is known to give 6750",
    ]


def test_an_unpacked_archive_gives_what_the_archive_gives(archive, tmp_path):
    (tmp_path / "corpus/de-en").mkdir(parents=True)
    for name, content in corpus_files().items():
        (tmp_path / "corpus/de-en" / name).write_bytes(content)
    assert prepare("--archive", archive, tmp_path / "one").returncode == 0
    assert prepare("--from-dir", tmp_path / "corpus", tmp_path / "two").returncode == 0
    for path in (tmp_path / "one").iterdir():
        assert (tmp_path / "two" / path.name).read_bytes() == path.read_bytes()


def test_plain_tokenised_files_without_test(tmp_path):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for language in LANGUAGES:
        (corpus / f"train_sample.{language}.gz").write_bytes(gzip.compress(b"It &apos;s one .\ntwo " + b"x " * 50))
        (corpus / f"valid.{language}").write_text("A &quot; three\n" + "y " * 60 + "\n")
    done = prepare("--from-dir", corpus, tmp_path / "out", "--tokenized")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.splitlines()[:3] == [
        "there is no train split: train is train_sample, a part of it",
        "there is no test split: test is valid",
        "train: 1 sentence pairs, 4 English words, 1 pairs of more than 50 tokens left out",
    ]
    assert lines(tmp_path / "out/raw.train.en") == ["it &apos;s one ."]
    assert lines(tmp_path / "out/raw.valid.en") == lines(tmp_path / "out/raw.test.en")
    assert lines(tmp_path / "out/raw.test.en")[0] == "a &quot; three"


# ---------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    "name,change,message",
    [
        (
            f"{TRAIN}.en",
            lambda text: text + b"one more\n",
            r"de-en/train.*\.de has 53 .* at line 59, .*\.en has 54 .* at line 60;",
        ),
        (f"{TRAIN}.de", lambda text: text.replace(b"Wort 7 ", b"W\xf6rt 7 "), r"\.de, line 22: not UTF-8"),
        (
            f"{TESTS[1]}.en.xml",
            lambda text: text.replace(b"</seg>", b"", 1),
            "TEDX.dev2012.de-en.en.xml, line 5: each <seg> must end with </seg> on its line",
        ),
        (f"{TESTS[2]}.de.xml", lambda text: b"<doc>\n</doc>\n", "tst2010.* has 0 sentences"),
        (
            f"{TESTS[3]}.de.xml",
            lambda text: None,
            r"de-en\.tgz has no file de-en/IWSLT14\.TED\.tst2011\.de-en\.de\.xml",
        ),
    ],
)
def test_a_broken_file_is_refused_and_nothing_is_left_behind(tmp_path, name, change, message):
    files = corpus_files()
    changed = change(files.pop(name))
    if changed is not None:
        files[name] = changed
    (tmp_path / "de-en.tgz").write_bytes(archive_of(files))
    assert_refused(prepare("--archive", tmp_path / "de-en.tgz", tmp_path / "out"), message, tmp_path / "out")


@pytest.mark.parametrize("share", [0.02, 0.5, 0.999])
def test_an_archive_that_is_cut_short_is_refused(archive, tmp_path, share):
    content = archive.read_bytes()
    archive.write_bytes(content[: int(len(content) * share)])
    done = prepare("--archive", archive, tmp_path / "out")
    assert_refused(done, r"de-en\.tgz is cut short or broken", tmp_path / "out")


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    (tmp_path / "page.tgz").write_text("<html>not here</html>" * 100)
    done = prepare("--archive", tmp_path / "page.tgz", tmp_path / "out")
    assert_refused(done, r"page\.tgz is cut short or broken", tmp_path / "out")
    done = prepare("--archive", tmp_path / "nowhere.tgz", tmp_path / "out")
    assert_refused(done, r"No such file.*nowhere\.tgz", tmp_path / "out")


def test_the_checksum_is_checked_if_there_is_one(archive, tmp_path):
    checksum = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert prepare("--archive", archive, "--sha256", checksum.upper(), tmp_path / "out").returncode == 0
    done = prepare("--archive", archive, "--sha256", "0" * 64, tmp_path / "again")
    assert_refused(done, f"must have the sha256 {'0' * 64}, and has {checksum}", tmp_path / "again")


def test_too_little_text_is_refused(tmp_path):
    files = corpus_files()
    for language in LANGUAGES:
        files[f"{TRAIN}.{language}"] = b"one two\n" * 22
    (tmp_path / "de-en.tgz").write_bytes(archive_of(files))
    done = prepare("--archive", tmp_path / "de-en.tgz", tmp_path / "out")
    assert_refused(done, r"train\.tags\.de-en\.de holds too little for the valid split", tmp_path / "out")


def test_more_pieces_than_the_text_has_are_refused(archive, tmp_path):
    done = prepare("--archive", archive, tmp_path / "out", "--bpe", 5000)
    assert_refused(done, "--bpe 5000 does not fit the text", tmp_path / "out")


@pytest.mark.parametrize(
    "flags,message",
    [
        (["--archive", "a", "--from-dir", "b"], "--archive and --from-dir do not go together"),
        (["--from-dir", "b", "--sha256", "0"], "it does not go with --from-dir"),
        (["--bpe", "9", "--target-words", "9"], "it does not go with --source-words or --target-words"),
        (["--max-ratio", "0.5"], "argument --max-ratio: must be at least 1, got 0.5"),
        (["--max-ratio", "nan"], "argument --max-ratio: must be at least 1, got nan"),
        (["--valid-every", "1"], "argument --valid-every: must be at least 2, got 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path, flags, message):
    done = prepare(*flags, tmp_path / "out")
    assert done.returncode == 2 and message in done.stderr


# ----------------------------------------------------------------------------------------------------------- download


class Handler(http.server.BaseHTTPRequestHandler):
    """Sends `content`, or what `Range` asks of it where `ranges`; at most `most` bytes an answer, `shift` late."""

    content, ranges, most, shift = b"", True, None, 0
    asked: list[str | None]

    def do_GET(self):
        wanted = self.headers["Range"]
        self.asked.append(wanted)
        if self.path != "/data/de-en.tgz":
            return self.send_error(404)
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) + self.shift if wanted and self.ranges else 0
        if wanted and self.ranges and start >= len(self.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(self.content)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        body = self.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.most])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    """A server on this machine; its handler says what it sends, `address` where."""
    monkeypatch.setenv("no_proxy", "*")

    class Here(Handler):
        asked: list[str | None] = []

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Here) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        Here.address = f"http://127.0.0.1:{running.server_address[1]}/data/de-en.tgz"
        try:
            yield Here
        finally:
            running.shutdown()
            thread.join()


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_goes_on_where_it_was_cut_off(server, tmp_path, ranges):
    server.content, server.most = bytes(range(256)) * 1000, 100_000
    path = tmp_path / "cache/de-en.tgz"
    with pytest.raises(DownloadError, match=r"ended after 100000 of 256000 bytes \(100000 bytes are kept in .*\.part"):
        download(server.address, path)
    server.ranges, server.most = ranges, None
    download(server.address, path)
    assert server.asked == [None, "bytes=100000-"]
    assert path.read_bytes() == server.content and [*path.parent.iterdir()] == [path]
    download(server.address, path)
    assert len(server.asked) == 2  # what is there is not asked for


@pytest.mark.parametrize("kept,asked", [(0, 1), (-1, 2)])
def test_a_download_that_was_cut_off_before_its_name_or_holds_too_much(server, tmp_path, kept, asked):
    server.content = b"content"
    part = tmp_path / "de-en.tgz.part"
    part.write_bytes(server.content if kept == 0 else b"too much of something")
    download(server.address, tmp_path / "de-en.tgz")
    assert (tmp_path / "de-en.tgz").read_bytes() == server.content and len(server.asked) == asked


def test_another_part_than_was_asked_for_is_refused(server, tmp_path):
    server.content, server.shift = b"content", 1
    (tmp_path / "de-en.tgz.part").write_bytes(b"con")
    with pytest.raises(DownloadError, match="sent another part of the file than was asked for"):
        download(server.address, tmp_path / "de-en.tgz")
    assert (tmp_path / "de-en.tgz.part").read_bytes() == b"con"


def test_without_archive_or_folder_it_downloads(server, archive, tmp_path):
    server.content = archive.read_bytes()
    cache = tmp_path / "cache"
    flags = ("--url", server.address, "--cache", cache)
    done = prepare(*flags, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{cache / 'de-en.tgz'}: sha256 {hashlib.sha256(server.content).hexdigest()}\n")
    assert prepare("--archive", archive, tmp_path / "given").returncode == 0
    assert (tmp_path / "out/train.de").read_bytes() == (tmp_path / "given/train.de").read_bytes()


def test_a_download_that_is_no_archive_says_how_to_get_another(server, tmp_path):
    server.content = b"<html>a page</html>" * 100
    done = prepare("--url", server.address, "--cache", tmp_path / "cache", tmp_path / "out")
    assert_refused(done, "is cut short or broken: .*; remove it to have it downloaded again", tmp_path / "out")


def test_a_failed_download_is_one_line_that_names_the_other_ways(server, tmp_path):
    flags = ("--cache", tmp_path / "cache", tmp_path / "out")
    ways = "--archive and --from-dir read what is here already"
    missing = server.address + ".not"
    assert_refused(prepare("--url", missing, *flags), f"cannot download .*: Not Found; {ways}", tmp_path / "out")
    with contextlib.closing(http.server.HTTPServer(("127.0.0.1", 0), Handler).socket) as free:
        closed = f"http://127.0.0.1:{free.getsockname()[1]}/de-en.tgz"
    assert_refused(prepare("--url", closed, *flags), f"refused; {ways}", tmp_path / "out")
    assert_refused(prepare("--url", "nonsense", *flags), f"cannot download nonsense: .*; {ways}", tmp_path / "out")
    server.content, server.most = b"x" * 1000, 10
    assert_refused(prepare("--url", server.address, *flags), f"10 of 1000 bytes .*; {ways}", tmp_path / "out")
