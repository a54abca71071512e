#!/bin/sh
# Measures `countersign audit` with all rules over folders: files, lines, what was skipped, processor
# time, lines a second on two cores, and memory at its peak. From the root of the repository:
#   [COUNTERSIGN=PATH] benches/audit.sh FOLDER…
# COUNTERSIGN names a command that is built already. Without it, a release of the command is built if
# there is none in target.
set -eu
[ $# -gt 0 ] || { sed -n 's/^#   //p' "$0" >&2; exit 2; }
export COUNTERSIGN="${COUNTERSIGN:-target/release/countersign}"
[ -x "$COUNTERSIGN" ] || cargo build --release --locked --package countersign-cli
exec python3 - "$@" <<'END'
import json, os, resource, subprocess, sys

before = 0.0
for folder in sys.argv[1:]:
    command = [os.environ["COUNTERSIGN"], "--json", "audit", "--no-config", "--all-rules", folder]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode > 1:
        sys.exit(f"{folder}: {run.stderr}")
    report = json.loads(run.stdout)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds, before = used.ru_utime + used.ru_stime - before, used.ru_utime + used.ru_stime
    print(
        f"{folder}: {report['files']} files, {report['lines']:,} lines, {len(report['skipped'])} skipped, "
        f"{len(report['findings'])} findings, {seconds:.2f} s of processor time, "
        f"{report['lines'] * 2 / seconds:,.0f} lines a second on two cores, "
        f"{used.ru_maxrss / 1024:.0f} MiB at most"
    )
END
