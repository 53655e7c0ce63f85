"""Every example's run.sh with SMOKE=1, from tiny files in the formats in which the corpora are published to its table.

Minutes on two cores, so it is not part of the plain test run: `bash scripts/test.sh -m smoke`.
"""

import os
import re
import subprocess
import tarfile
from pathlib import Path
from random import Random

import handwriting
import numpy as np
import pytest
from commands import ROOT

from seqsearch_fairseq.data.recognition.features import write_cepstra

pytestmark = pytest.mark.smoke
WORDS = ["Kim", "Lee", "sees", "the", "old", "house", "in", "Rome", "1999", "."]
TREE = (
    "(<T S 0 2> (<L NP NNP NNP {0} NP>) "
    "(<T S\\NP 0 2> (<L (S\\NP)/NP VBZ VBZ {1} (S\\NP_1)/NP_2>) (<L {3} NNP NNP {2} {3}>) ) )"
)
NAMES = {"Kim": "B-PER", "Lee": "B-PER", "Rome": "B-LOC"}


def sentences(count: int, seed: int = 1) -> list[list[str]]:
    rng = Random(seed)
    return [rng.choices(WORDS, k=rng.randint(3, 8)) for _ in range(count)]


def write(path: Path, text: str, encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding=encoding)


def germeval(folder: Path) -> Path:
    for split in ("train", "dev", "test"):
        text = ""
        for i, words in enumerate(sentences(60), 1):
            text += f"#\thttp://de.wikipedia.org/wiki/{i} [2010-01-{i % 28 + 1:02}]\n"
            text += "".join(f"{n}\t{w}\t{NAMES.get(w, 'O')}\tO\n" for n, w in enumerate(words, 1)) + "\n"
        write(folder / f"NER-de-{split}.tsv", text)
    return folder


def ccgbank(folder: Path) -> Path:
    for section in range(25):
        trees = [
            f"ID=wsj_{section:02}01.{i} PARSER=GOLD NUMPARSE=1\n{TREE.format(*words[:3], ('N', 'NP', 'NP/N')[i % 3])}\n"
            for i, words in enumerate(sentences(8, section), 1)
        ]
        write(folder / "data" / "AUTO" / f"{section:02}" / f"wsj_{section:02}01.auto", "".join(trees))
    return folder


def ud_ccg(folder: Path) -> Path:
    """A word, its part of speech and its supertag a line; as many supertags as the widest beam."""
    for split in ("train", "dev", "test"):
        rows = ("".join(f"{word}\tX\tNP/{word}\n" for word in words) for words in sentences(60))
        write(folder / f"{split}.tsv", "".join(f"{row}\n" for row in rows))
    return folder


def conll2000(folder: Path) -> Path:
    labels = {"in": "B-PP", ".": "O", "sees": "B-VP"}
    for split in ("train", "test"):
        rows = ["".join(f"{w} NN {labels.get(w, 'B-NP')}\n" for w in words) for words in sentences(60)]
        write(folder / f"{split}.txt", "".join(f"an DT B-NP\nold JJ I-NP\n{row}\n" for row in rows))
    return folder


def letters(folder: Path) -> Path:
    rng, lines = Random(1), []
    for number in range(90):
        for place in range(4):
            pixels = "\t".join(rng.choices("01", k=128))
            next_id = -1 if place == 3 else len(lines) + 2
            columns = [len(lines) + 1, rng.choice("abcdefgh"), next_id, number, place + 1, number % 10, pixels]
            lines.append("\t".join(map(str, columns)) + "\t\n")
    write(folder / "letter.data", "".join(lines))
    return folder / "letter.data"


def text(folder: Path) -> Path:
    write(folder / "text.txt", "".join(" ".join(words) + "\n" for words in sentences(400)))
    return folder / "text.txt"


def parallel(folder: Path) -> Path:
    for split in ("train", "val", "test"):
        for language in ("de", "en"):
            rng = Random(1)
            words = ["".join(rng.choices("abcdefghijklmnop", k=rng.randint(2, 7))) for _ in range(300)]
            lines = [" ".join(f"{word}{language}" for word in rng.choices(words, k=6)) for _ in range(150)]
            write(folder / f"{split}.{language}", "".join(f"{line}\n" for line in lines))
    return folder


def iwslt14(folder: Path) -> Path:
    files, tests = {}, ("TED.dev2010", "TEDX.dev2012", "TED.tst2010", "TED.tst2011", "TED.tst2012")
    for language in ("de", "en"):
        talk = [f"<url>http://www.ted.com/{language}</url>\n", "<talkid>1</talkid>\n", "<title>Rome</title>\n"]
        lines = [" ".join(f"{word}{language}" for word in words) for words in sentences(200)]
        files[f"train.tags.de-en.{language}"] = "".join([*talk, *(f"{line}\n" for line in lines)])
        segments = "".join(f'<seg id="{i}"> {line} </seg>\n' for i, line in enumerate(lines[:5], 1))
        text = f'<?xml version="1.0" encoding="UTF-8"?>\n<doc docid="1">\n{segments}</doc>\n'
        files |= {f"IWSLT14.{name}.de-en.{language}.xml": text for name in tests}
    for name, content in files.items():
        write(folder / "de-en" / name, content)
    with tarfile.open(folder / "de-en.tgz", "w:gz") as archive:
        archive.add(folder / "de-en", "de-en")
    return folder / "de-en.tgz"


def an4(folder: Path) -> Path:
    """Three training speakers and one of the test; frames enough for any of these words."""
    rng = np.random.default_rng(1)
    for split, prefix, speakers in (("train", "an4", ("fash", "mblb", "mxyz")), ("test", "an4test", ("fcaw",))):
        names = [f"{prefix}_clstk/{who}/an{number}-{who}-b" for who in speakers for number in range(8)]
        said = [" ".join(rng.choice(["YES", "NO", "ZERO", "NINE"], size=3)) for _ in names]
        write(folder / f"etc/an4_{split}.fileids", "".join(f"{name}\n" for name in names))
        lines = (f"{words} ({name.rpartition('/')[2]})\n" for name, words in zip(names, said, strict=True))
        write(folder / f"etc/an4_{split}.transcription", "".join(lines))
        for name in names:
            (folder / "feat" / name).parent.mkdir(parents=True, exist_ok=True)
            write_cepstra(folder / "feat" / f"{name}.mfc", rng.normal(size=(90, 13)))
    write(folder / "etc/an4.dic", "NINE  N AY N\nNO  N OW\nYES  Y EH S\nZERO  Z IH R OW\nZERO(2)  Z IY R OW\n")
    return folder


def letters_and_text(folder: Path) -> tuple[Path, Path]:
    return handwriting.write_letters(folder / "letter.data"), handwriting.write_text(folder / "text.txt")


BASE = "cross-entropy cross-entropy-continued"
# Example, corpus, methods, decoders, what its table is of, and the control in its table of differences. A command of
# fairseq takes five seconds to begin, so each family of methods and each decoder is here once or twice.
RUNS = [
    ("ner", germeval, f"{BASE} dss-soft-argmax-annealed", "beam", "chunk F1 (%)", "cross-entropy-continued"),
    ("supertagging", ccgbank, f"{BASE} soft-beam-direct", "soft-beam", "tag accuracy (%)", "cross-entropy-continued"),
    (
        "streaming",
        ud_ccg,
        f"{BASE} minimum-risk",
        "greedy beam-3-logits",
        "tag accuracy (%)",
        "cross-entropy-continued",
    ),
    ("chunking", conll2000, "cross-entropy searnn-kl-mixed", "greedy beam", "chunk F1 (%)", "cross-entropy"),
    ("ocr", letters, "cross-entropy searnn-sll-learned-5", "greedy", "wrong letters (%)", None),
    ("spelling", text, "cross-entropy searnn-ll-learned", "beam", "edit distance (%)", None),
    ("multi30k_de_en", parallel, f"{BASE} soft-beam-direct", "soft-beam", "BLEU", "cross-entropy-continued"),
    (
        "handwriting",
        letters_and_text,
        "ctc ctc-continued dbd-learned",
        "beam-5 grid-5",
        "word error (%)",
        "ctc-continued",
    ),
    ("speech_an4", an4, "asg asg-dbd-learned-lm asg-dbd-learned-rnn-lm", "greedy grid-5", "word error (%)", None),
    ("iwslt14_de_en", iwslt14, "cross-entropy dss-none dss-soft-sample-annealed", "greedy", "BLEU", "dss-none"),
]


@pytest.mark.skipif(not (ROOT / ".venv" / ".complete").exists(), reason="the examples use .venv: scripts/env.sh")
@pytest.mark.parametrize("name,corpus,methods,decoders,metric,control", RUNS, ids=[run[0] for run in RUNS])
def test_an_example_goes_from_the_published_format_to_its_table(
    tmp_path, name, corpus, methods, decoders, metric, control
):
    work = tmp_path / "work"
    settings = {"SMOKE": "1", "SEEDS": "1", "WORK": str(work), "OMP_NUM_THREADS": "1"}
    settings |= {"ONLY": methods, "DECODERS": decoders}
    (tmp_path / "data").mkdir()
    inputs = corpus(tmp_path / "data")
    command = ["bash", str(ROOT / "examples" / name / "run.sh")]
    command += map(str, inputs if isinstance(inputs, tuple) else (inputs,))
    for attempt in ("first", "again"):
        done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, timeout=1200)
        assert done.returncode == 0, done.stdout + done.stderr
        runs = next(work.rglob("results-test.md")).parent
        results = (runs / "results-test.md").read_text()
        rows = re.findall(r"^\| ([a-z0-9-]+) \|(.*)\|$", results, flags=re.MULTILINE)[1:]  # the first is the head
        assert [row[0].removeprefix("lstm-") for row in rows] == methods.split(), attempt
        assert all(re.match(r" \d", row[1]) for row in rows)
        assert results in done.stdout
    assert f"test {metric}" in done.stdout and "trained already" in done.stdout
    assert (runs / "results-test.png").read_bytes().startswith(b"\x89PNG")
    differences = runs / "results-test-differences.md"
    assert differences.exists() == (control is not None)
    if control:
        assert re.match(rf"difference to (lstm-)?{control} \(", differences.read_text())
        assert differences.read_text() in done.stdout and "–" not in differences.read_text()
