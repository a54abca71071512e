"""Writes an npm package that carries the command: npm.py VERSION FOLDER x64=BINARY arm64=BINARY

The binaries must be static, so that they run on every Linux of their architecture. The same input makes
the same bytes.
"""

import gzip
import io
import json
import pathlib
import sys
import tarfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
HOME = "https://countersign.example"


def write(version, folder, binaries):
    package = {
        "name": "countersign",
        "version": version,
        "description": "Sign, verify, explain and probe HMAC-signed HTTP requests.",
        "license": "MIT OR Apache-2.0",
        "homepage": HOME,
        "repository": {"type": "git", "url": "git+https://git.countersign.example/countersign.git"},
        "bin": {"countersign": "countersign.mjs"},
        "os": ["linux"],
        "cpu": sorted(binaries),
        "engines": {"node": ">=18"},
    }
    files = {
        "package.json": json.dumps(package, indent=2).encode() + b"\n",
        "README.md": (ROOT / "cli/README.md").read_bytes(),
        "LICENSE-MIT": (ROOT / "LICENSE-MIT").read_bytes(),
        "LICENSE-APACHE": (ROOT / "LICENSE-APACHE").read_bytes(),
        "countersign.mjs": (ROOT / "cli/packaging/countersign.mjs").read_bytes(),
    }
    for arch, binary in sorted(binaries.items()):
        files[f"{arch}/countersign"] = pathlib.Path(binary).read_bytes()

    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(content)
            entry.mode = 0o755 if name.startswith("countersign") or "/" in name else 0o644
            tar.addfile(entry, io.BytesIO(content))
    tarball = folder / f"countersign-{version}.tgz"
    tarball.write_bytes(gzip.compress(archive.getvalue(), mtime=0))
    return tarball


version, folder, *binaries = sys.argv[1:]
print(write(version, pathlib.Path(folder), dict(binary.split("=", 1) for binary in binaries)))
