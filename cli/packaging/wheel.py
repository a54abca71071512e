"""Writes a wheel that carries the command: wheel.py VERSION ARCH BINARY FOLDER

The binary must be static, so that it runs on every Linux of its architecture (x86_64 or aarch64). The
same input makes the same bytes.
"""

import base64
import hashlib
import pathlib
import stat
import sys
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
HOME = "https://countersign.example"


def write(version, arch, binary, folder):
    tag = f"py3-none-manylinux_2_17_{arch}.manylinux2014_{arch}.musllinux_1_1_{arch}"
    info = f"countersign-{version}.dist-info"
    metadata = f"""\
Metadata-Version: 2.4
Name: countersign
Version: {version}
Summary: The command `countersign`: sign, verify, explain and probe HMAC-signed HTTP requests.
Home-page: {HOME}
License-Expression: MIT OR Apache-2.0
License-File: LICENSE-MIT
License-File: LICENSE-APACHE
Requires-Python: >=3.8
Description-Content-Type: text/markdown

"""
    files = {
        f"countersign-{version}.data/scripts/countersign": binary.read_bytes(),
        f"{info}/licenses/LICENSE-MIT": (ROOT / "LICENSE-MIT").read_bytes(),
        f"{info}/licenses/LICENSE-APACHE": (ROOT / "LICENSE-APACHE").read_bytes(),
        f"{info}/METADATA": metadata.encode() + (ROOT / "cli/README.md").read_bytes(),
        f"{info}/WHEEL": (
            "Wheel-Version: 1.0\nGenerator: countersign\nRoot-Is-Purelib: false\n"
            + "".join(f"Tag: py3-none-{platform}\n" for platform in tag.split("-")[2].split("."))
        ).encode(),
    }
    record = ""
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        record += f"{name},sha256={digest},{len(content)}\n"
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()

    wheel = folder / f"countersign-{version}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            rights = 0o755 if "/scripts/" in name else 0o644
            entry.external_attr = (stat.S_IFREG | rights) << 16
            archive.writestr(entry, content)
    return wheel


version, arch, binary, folder = sys.argv[1:]
print(write(version, arch, pathlib.Path(binary), pathlib.Path(folder)))
