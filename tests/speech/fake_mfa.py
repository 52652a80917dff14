"""A stand-in for the program `mfa` with MFA 3's command line and output layout.

It checks what it is given as strictly as MFA does, and gives each clip the TextGrid that the test
laid down for it. A file ``behaviour.json`` beside it names clips to leave out, to crash at, or to
hang at.
"""

import json
import sys
from pathlib import Path

from dimitra.speech.phonemes import Interval
from dimitra.speech.textgrid import textgrid_bytes

PROGRAM = """#!{python}
import argparse, csv, json, os, shutil, sys, time
from pathlib import Path

HERE = Path(__file__).parent
if sys.argv[1:] == ["version"]:
    print((HERE / "version.txt").read_text())
    sys.exit(0)
parser = argparse.ArgumentParser(prog="mfa", allow_abbrev=False)
commands = parser.add_subparsers(required=True)
align = commands.add_parser("align", allow_abbrev=False)
for name in ("corpus_directory", "dictionary_path", "acoustic_model_path", "output_directory"):
    align.add_argument(name, type=Path)
align.add_argument("--output_format", choices=["long_textgrid", "short_textgrid", "json", "csv"])
align.add_argument("--temporary_directory", "-t", type=Path)
align.add_argument("--num_jobs", "-j", type=int)
for flag in ("use_mp", "use_postgres", "clean", "overwrite", "textgrid_cleanup", "quiet"):
    align.add_argument(f"--{{flag}}", f"--no_{{flag}}", action="store_true", dest=flag)
align.add_argument("--beam", type=int)
align.add_argument("--retry_beam", type=int)
given = align.parse_args(sys.argv[2:])
with (HERE / "calls.jsonl").open("a") as log:
    log.write(json.dumps([sys.argv[1:], os.environ["MFA_ROOT_DIR"], os.getcwd()]) + "\\n")
for path in (given.corpus_directory, given.dictionary_path, given.acoustic_model_path):
    if not path.exists():
        sys.exit(f"Error: could not find {{path}}")
if (Path(os.environ["MFA_ROOT_DIR"]) / "pretrained_models").exists():
    sys.exit("Error: this is the user's own root")
shutil.copy(given.dictionary_path, HERE / "dictionary_seen.dict")
behaviour = json.loads((HERE / "behaviour.json").read_text())
rows = []
for sound in sorted(given.corpus_directory.rglob("*.wav")):
    clip = sound.stem
    words = sound.with_suffix(".lab").read_text().split()
    if not words or sound.parent.name != clip:
        sys.exit(f"Error: {{sound}} is not laid out as a corpus")
    if clip in behaviour.get("crash", ()):
        print("INFO     Setting up corpus information...")
        sys.exit(f"KaldiProcessingError: There were 1 job(s) with errors at {{clip}}")
    if clip in behaviour.get("hang", ()):
        time.sleep(600)
    grid = HERE / "grids" / f"{{clip}}.TextGrid"
    aligned = grid.exists() and clip not in behaviour.get("leave_out", ())
    rows.append([f"{{clip}}", "0.0", "1.0", clip, "-47.5" if aligned else "", "0.0", "9.0", "30.0"])
    if aligned:
        target = given.output_directory / clip
        target.mkdir(parents=True)
        shutil.copy(grid, target)
with (given.output_directory / "alignment_analysis.csv").open("w", newline="") as stream:
    writer = csv.writer(stream)
    writer.writerow(["file", "begin", "end", "speaker", "overall_log_likelihood",
                     "speech_log_likelihood", "phone_duration_deviation", "snr"])
    writer.writerows(rows)
print("INFO     Done! Everything took 1.0 seconds")
"""

DICTIONARY = """\
we\t0.99\t0.14\t1.0\t1.0\tW IY1
found\tF AW1 N D
three\tTH R IY1
small\tS M AO1 L
boats\tB OW1 T S
near\tN IH1 R
the\tDH AH0
the\tDH IY0
stone\tS T OW1 N
bridge\tB R IH1 JH
"""


class FakeMfa:
    """The program, its models, and what it does.

    Args:
        folder: an empty folder; it becomes the user's MFA root too.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "user"
        for kind, name in (
            ("dictionary", "english_us_arpa.dict"),
            ("acoustic", "english_us_arpa.zip"),
        ):
            place = self.root / "pretrained_models" / kind
            place.mkdir(parents=True)
            (place / name).write_text(DICTIONARY if kind == "dictionary" else "model")
        (folder / "grids").mkdir()
        self.command = folder / "mfa"
        self.command.write_text(PROGRAM.format(python=sys.executable))
        self.command.chmod(0o755)
        self.behave()
        self.version("3.3.8")

    def version(self, version: str) -> None:
        """Which version it says it is."""
        (self.folder / "version.txt").write_text(version)

    def behave(self, **behaviour: list[str]) -> None:
        """Clips to ``leave_out``, ``crash`` or ``hang`` at."""
        (self.folder / "behaviour.json").write_text(json.dumps(behaviour))

    def lay(
        self, clip: str, words: list[Interval], phones: list[Interval], duration_s: float
    ) -> None:
        """What a clip gets: MFA's tiers."""
        self.lay_bytes(clip, textgrid_bytes({"words": words, "phones": phones}, duration_s))

    def lay_bytes(self, clip: str, data: bytes) -> None:
        """What a clip gets, byte by byte."""
        (self.folder / "grids" / f"{clip}.TextGrid").write_bytes(data)

    @property
    def calls(self) -> list[list[str]]:
        """Arguments of each run so far; the last two entries: its root, its folder."""
        path = self.folder / "calls.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [[*arguments, root, place] for arguments, root, place in map(json.loads, lines)]

    @property
    def dictionary_seen(self) -> str:
        """The dictionary of the last run."""
        return (self.folder / "dictionary_seen.dict").read_text()
