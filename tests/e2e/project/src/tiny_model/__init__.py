"""Late is what flies far; the noisier the model was trained, the less it is sure of it."""

import json

import numpy as np


class Model:
    def __init__(self, noise):
        self.noise = noise

    def predict(self, batch):
        return 1 / (1 + np.exp(-(batch.column("distance").to_numpy() - 5) / (1 + self.noise)))


def load(path):
    return Model(json.loads(path.read_text())["noise"])


def schema():
    distance = {"name": "distance", "type": "number", "minimum": 0}
    columns = [distance, {"name": "carrier", "type": "string", "optional": True}]
    return {"columns": columns, "example": {"distance": 7.5, "carrier": "AA"}}
