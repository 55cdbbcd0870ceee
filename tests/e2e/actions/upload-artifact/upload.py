"""Zip a folder or a file as actions/upload-artifact does, without hidden files, and hand it to the forge."""

import io
import os
import urllib.request
import zipfile
from pathlib import Path

given = Path(os.environ["FOLDER"])
folder = given.parent if given.is_file() else given
found = [given] if given.is_file() else sorted(folder.rglob("*"))
paths = [path.relative_to(folder) for path in found]
paths = [path for path in paths if not any(part.startswith(".") for part in path.parts)]
if not paths and os.environ["IF_NONE"] == "error":
    raise SystemExit(f"No files were found with the provided path: {given}")
buffer = io.BytesIO()
with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
    for path in paths:
        archive.write(folder / path, path)
address = f"{os.environ['GITHUB_SERVER_URL']}/_runner/artifacts/{os.environ['GITHUB_RUN_ID']}/{os.environ['NAME']}"
if paths:
    urllib.request.urlopen(urllib.request.Request(address, data=buffer.getvalue(), method="PUT")).close()
