"""Makes the terrains of `terrain` again, with the code of adaptive-terrain-diffusion and the same
noise, and compares: `python compare.py FOLDER`. Run by terrain.sh.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from terrain_diffusion import TerrainGenerator


class Injected(TerrainGenerator):
    """The package's generator with given noise; it keeps what its network answers."""

    def _rng(self, seed):
        return self

    def standard_normal(self, shape, dtype):
        given, self.noise = self.noise[: shape[0]], self.noise[shape[0] :]
        assert given.shape == shape and given.dtype == dtype, (given.shape, shape)
        return given.copy()

    def _denoise(self, *inputs):
        answer = super()._denoise(*inputs)
        self.answers.append(answer)
        return answer

    def make(self, folder):
        """The answers of the network, and the heights in metres."""
        settings = json.loads((folder / "settings.json").read_text())
        self.noise, self.answers = np.load(folder / "noise.npy"), []
        count, _, *shape = self.noise.shape
        options = {"difficulty": settings["difficulty"], "tile_overlap": settings["overlap"]}
        if (folder / "source.npy").exists():
            source = np.load(folder / "source.npy")[0, 0]
            options |= {"strength": settings["strength"], "variants": count}
            heights = self.generate_from(source, **options)
        else:
            heights = self.generate(count, shape=shape, **options)
        assert len(self.noise) == 0, "all of the noise was wanted"
        return np.concatenate(self.answers), heights[:, None]
