"""Unpack what a job of this run handed over, as actions/download-artifact does."""

import io
import os
import urllib.request
import zipfile

address = f"{os.environ['GITHUB_SERVER_URL']}/_runner/artifacts/{os.environ['GITHUB_RUN_ID']}/{os.environ['NAME']}"
with urllib.request.urlopen(address) as answer, zipfile.ZipFile(io.BytesIO(answer.read())) as archive:
    archive.extractall(os.environ["FOLDER"])
