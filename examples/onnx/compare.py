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


class Plain(Injected):
    """The same without the runtime's optimisations: other kernels, another order of sums."""

    @staticmethod
    def _create_session(model_path, device):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        providers = ["CPUExecutionProvider"]
        return onnxruntime.InferenceSession(model_path, options, providers=providers), "cpu"


# What rounding may come to in the network's numbers (-1 to 1). A sum of 2304 terms, the longest here,
# differs by some sqrt(2304) * 6e-8 = 2.9e-6 in another order; 225 layers in a row (convolutions and
# products) by sqrt(225) times that. Half as much again is allowed, because the largest counts: the
# rule by which the program `digits` allows 5e-6 for eight layers of 384 terms.
# In metres it grows by 67.6 at the greatest height H: asinh(H / 0.1 m) * sqrt(H^2 + 0.1^2 m^2) / 2.
NUMBERS = 6.5e-5
METRES = 67.6 * NUMBERS


def largest(name, ours, theirs, allowed):
    assert ours.shape == theirs.shape, (name, ours.shape, theirs.shape)
    difference = np.abs(ours.astype(np.float64) - theirs).max()
    if not difference <= allowed:
        sys.exit(f"{name}: {difference:.1e} is more than {allowed:.1e}")
    return f"{difference:.1e}"


def main(folder):
    generator, plain = Injected(device="cpu"), Plain(device="cpu")
    folders = sorted(path.parent for path in folder.glob("*/settings.json"))
    if not folders:
        sys.exit(f"nothing to compare in {folder}")
    print(f"{'':16} {'numbers':>9} {'metres':>9}   largest differences")
    for made in folders:
        answers, heights = generator.make(made)
        ours = np.load(made / "answer.npy")
        # Of tiles the package keeps no sum that could be compared, only heights.
        tiles = made.name == "tiles"
        numbers = "-" if tiles else largest(made.name, ours, answers, NUMBERS)
        metres = largest(made.name, np.load(made / "heights.npy"), heights, METRES)
        print(f"{made.name:16} {numbers:>9} {metres:>9}")
    with_them, without = generator.make(folders[0])[0], plain.make(folders[0])[0]
    own = np.abs(with_them - without).max()
    print(f"ONNX Runtime with and without its optimisations: {own:.1e}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
