#!/usr/bin/env bash
# itk 5.4: loading a module on first use changes the working folder of the process, and back.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet install itk==5.4.7 numpy==2.3.5
cd "$work"
"$work/venv/bin/python" - <<'PY'
import os
import sys
import threading

import itk

here, seen, done = os.getcwd(), set(), threading.Event()
changes = []
sys.addaudithook(lambda event, arguments: changes.append(arguments[0]) if event == "os.chdir" else None)


def look() -> None:
    while not done.is_set():
        seen.add(os.getcwd())


thread = threading.Thread(target=look)
thread.start()
itk.transformwrite([itk.AffineTransform[itk.D, 3].New()], "affine.tfm")
done.set()
thread.join()
away = [folder for folder in changes if folder != here]
print(f"saw: writing one transform changed the working folder {len(changes)} times, away to {os.path.basename(away[0])!r};")
print(f"     another thread saw {len(seen)} different working folder(s) meanwhile")
assert len(away) >= 1 and all(os.path.basename(folder) == "itk" for folder in away) and os.getcwd() == here
PY
