"""Label an image by a real MONAI Label server: start it with a bundle, ask it once, save the answer, stop it.

Run it with the Python of the environment that holds MONAI Label (docs/atlas.md says how to make one)::

    python docs/monai_label/segment.py scan.nii.gz labels.nii.gz --bundle exported/morphseek_brain_atlas_segmentation

It is what to look at where a server does not start, and what a test of this repository runs; to draw in 3D Slicer,
start a server that stays (docs/atlas.md). Only the standard library and the package monailabel are used.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STUDY = "scan"  # name of the image in the server's data store


def sample_app() -> Path:
    """The app monaibundle that MONAI Label installs, outside of its Python package."""
    for folder in (Path(sys.prefix), Path(sys.prefix, "share")):
        app = folder / "monailabel" / "sample-apps" / "monaibundle"
        if (app / "main.py").is_file():
            return app
    raise SystemExit(f"no app monaibundle below {sys.prefix}; run this with the Python that has monailabel installed")


def free_port() -> int:
    """A port on which nobody listens now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def extension(image: Path) -> str:
    """``.nii.gz``, ``.nii``, ``.nrrd``; the data store goes by it."""
    return ".nii.gz" if image.name.endswith(".nii.gz") else image.suffix


def lay_out(work: Path, bundle: Path, image: Path) -> list[str]:
    """Copy app, bundle and image to where the server looks for them; return its command line."""
    shutil.copytree(sample_app(), work / "app")
    ignored = shutil.ignore_patterns("eval", "runs", "__pycache__")
    shutil.copytree(bundle, work / "app" / "model" / bundle.name, ignore=ignored)
    (work / "studies").mkdir()
    shutil.copy(image, work / "studies" / f"{STUDY}{extension(image)}")
    command = [sys.executable, "-m", "monailabel.main", "start_server"]
    command += ["--app", str(work / "app"), "--studies", str(work / "studies"), "--host", "127.0.0.1"]
    # any zoo_source but the default keeps the server from asking the network; sam2 would download 900 MB
    for name, value in (("models", bundle.name), ("zoo_source", "local"), ("sam2", "false"), ("skip_trainers", "true")):
        command += ["--conf", name, value]
    return command


@contextmanager
def server(work: Path, command: list[str], seconds: float) -> Iterator[str]:
    """Run the server; yields its address once it answers, and stops it."""
    address = f"http://127.0.0.1:{(port := free_port())}"
    with open(work / "server.log", "wb") as log:
        process = subprocess.Popen([*command, "--port", str(port)], stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_for(f"{address}/info/", process, seconds)
        yield address
    except Exception as error:
        lines = (work / "server.log").read_text(errors="replace").splitlines()
        raise SystemExit("\n".join([*lines[-30:], f"MONAI Label failed: {error}"])) from error
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


def wait_for(url: str, process: subprocess.Popen[bytes], seconds: float) -> None:
    """Return when ``url`` answers."""
    end = time.monotonic() + seconds
    while process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (urllib.error.URLError, OSError) as error:
            if time.monotonic() > end:
                raise TimeoutError(f"no answer from {url} within {seconds:.0f} s") from error
            time.sleep(0.5)
    raise RuntimeError(f"the server ended with code {process.returncode}")


def infer(address: str, model: str, device: str, seconds: float) -> bytes:
    """The label map as the bytes of a NIfTI file."""
    boundary = uuid.uuid4().hex
    part = f'--{boundary}\r\nContent-Disposition: form-data; name="params"\r\n\r\n{json.dumps({"device": device})}\r\n'
    request = urllib.request.Request(
        f"{address}/infer/{model}?image={STUDY}&output=image",
        data=f"{part}--{boundary}--\r\n".encode(),
        headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
    )
    with urllib.request.urlopen(request, timeout=seconds) as answer:
        content: bytes = answer.read()
        return content


def main() -> None:
    """Read the arguments and do it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("image", type=Path, help="skull-stripped head, .nii.gz, .nii or .nrrd")
    parser.add_argument("label", type=Path, help="where to write the labels, .nii.gz")
    parser.add_argument("--bundle", type=Path, required=True, help="folder of a bundle with models/model.pt")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--timeout", type=float, default=300, help="seconds to wait for the start, and for the answer")
    given = parser.parse_args()
    for path in (given.image, given.bundle / "models" / "model.pt"):
        if not path.is_file():
            raise SystemExit(f"{path} does not exist")
    with tempfile.TemporaryDirectory() as folder:
        work, bundle = Path(folder), given.bundle.resolve()
        with server(work, lay_out(work, bundle, given.image), given.timeout) as address:
            started = time.monotonic()
            content = infer(address, bundle.name, given.device, given.timeout)
            took = time.monotonic() - started
            with urllib.request.urlopen(f"{address}/info/", timeout=given.timeout) as answer:
                info: dict[str, Any] = json.load(answer)
    given.label.parent.mkdir(parents=True, exist_ok=True)
    temporary = given.label.with_name(f".{os.getpid()}-{given.label.name}")
    temporary.write_bytes(content)
    temporary.replace(given.label)
    labels = info["models"][bundle.name]["labels"]
    print(f"{given.label}: {len(labels)} labels known to the server, {took:.1f} s")
    for name, index in labels.items():
        print(f"{index:4d} {name}")


if __name__ == "__main__":
    main()
