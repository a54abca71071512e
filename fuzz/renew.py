#!/usr/bin/env python3
"""Chooses the inputs that fuzzing begins with: renew.py FOLDER, after ./run.sh SECONDS FOLDER

Each target keeps those inputs of the folder and of `corpus` that reach the most code for their size: at most
40 files, and 40 KiB in total.
"""

import hashlib
import os
import pathlib
import subprocess
import sys
import tempfile

FILES, BYTES = 40, 40 * 1024


def features(target, folders):
    """Each input, with all that libFuzzer sees of the code that it reaches."""
    with tempfile.TemporaryDirectory() as scratch:
        control, merged = pathlib.Path(scratch, "control"), pathlib.Path(scratch, "merged")
        merged.mkdir()
        options = ["-merge=1", "-set_cover_merge=1", f"-merge_control_file={control}", "-verbosity=0"]
        command = ["cargo", "run", "--locked", "--quiet", "--release", "--bin", target, "--"]
        subprocess.run([*command, *options, merged, *folders], check=True)
        count, _, *lines = control.read_text().splitlines()
    names, rows = lines[: int(count)], [line.split() for line in lines[int(count) :]]
    return {pathlib.Path(names[int(row[1])]).read_bytes(): set(row[2:]) for row in rows if row[0] == "FT"}


def chosen(inputs):
    """Inputs in the order of what each adds, for its part of both limits."""
    kept, covered, left = [], set(), BYTES
    while len(kept) < FILES:
        gain = {
            content: len(reached - covered) / (1 / FILES + len(content) / BYTES)
            for content, reached in inputs.items()
            if len(content) <= left
        }
        best = max(gain, key=lambda content: (gain[content], content), default=None)
        if best is None or not gain[best]:
            break
        kept.append(best)
        covered |= inputs[best]
        left -= len(best)
    return kept, covered


found = pathlib.Path(sys.argv[1]).resolve()
os.chdir(pathlib.Path(__file__).parent)
for source in sorted(pathlib.Path("targets").glob("*.rs")):
    corpus = pathlib.Path("corpus", source.stem)
    corpus.mkdir(parents=True, exist_ok=True)
    inputs = features(source.stem, [corpus, found / source.stem])
    kept, covered = chosen(inputs)
    for old in corpus.iterdir():
        old.unlink()
    for content in kept:
        (corpus / hashlib.sha1(content).hexdigest()).write_bytes(content)
    reached = len(set().union(*inputs.values()))
    print(f"{source.stem}: {len(kept)} of {len(inputs)} inputs, {sum(map(len, kept))} bytes,", end=" ")
    print(f"{len(covered)} of {reached} features")
