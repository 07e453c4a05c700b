#!/usr/bin/env python3
"""Writes digits.onnx: the network of examples/network, from its weights.

    pip install numpy==2.4.6 onnx==1.23.2 safetensors==0.8.0
    python export.py            # writes the file
    python export.py --check    # says whether the file is what these weights give

The bytes depend on the weights alone. Weights of 16 bits stay so in the file; the graph casts them.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

HERE = Path(__file__).parent
WEIGHTS = HERE / "../network/weights/digits.safetensors"
FILE = HERE / "digits.onnx"
PIXELS, CLASSES, FREQUENCIES, LAMBDA_LIMIT, NORM_FLOOR = 64, 10, 8, 6.0, 1e-6


class Graph:
    """Nodes and weights in the order in which they are added."""

    def __init__(self, weights):
        self.weights = weights
        self.nodes, self.initializers = [], []

    def node(self, kind, *inputs, outputs=None, **attributes):
        """Adds a node; gives the name of its output, or the names of as many as are wanted."""
        names = [f"{kind.lower()}.{len(self.nodes)}.{i}" for i in range(outputs or 1)]
        self.nodes.append(helper.make_node(kind, inputs, names, names[0], **attributes))
        return names if outputs else names[0]

    def constant(self, name, value):
        self.initializers.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def weight(self, name):
        """A weight in f32."""
        value = self.weights[name]
        self.constant(name, value)
        return name if value.dtype == np.float32 else self.node("Cast", name, to=TensorProto.FLOAT)

    def linear(self, name, x):
        product = self.node("MatMul", x, self.weight(f"{name}.weight"))
        return self.node("Add", product, self.weight(f"{name}.bias"))

    def silu(self, x):
        return self.node("Mul", x, self.node("Sigmoid", x))

    def condition(self):
        """silu(second(silu(first(features of lambda))) + class)."""
        bounds = [self.constant("lambda.least", np.float32(-LAMBDA_LIMIT)),
                  self.constant("lambda.most", np.float32(LAMBDA_LIMIT))]
        column = self.node("Unsqueeze", "lambda", self.constant("last", np.array([1])))
        clamped = self.node("Clip", column, *bounds)
        frequencies = np.arange(1, FREQUENCIES + 1, dtype=np.float32)[None] / 4
        angle = self.node("Mul", clamped, self.constant("frequencies", frequencies))
        features = self.node("Concat", self.node("Sin", angle), self.node("Cos", angle), axis=1)
        inner = self.silu(self.linear("time.first", features))
        classes = self.node("Gather", self.weight("classes"), "class", axis=0)
        return self.silu(self.node("Add", self.linear("time.second", inner), classes))

    def modulated(self, name, x, condition):
        """x over its root mean square, times 1 + scale, plus shift."""
        scale, shift = self.node("Split", self.linear(name, condition), outputs=2, axis=1)
        square = self.node("ReduceMean", self.node("Mul", x, x), axes=[1], keepdims=1)
        norm = self.node("Sqrt", self.node("Add", square, "floor"))
        factor = self.node("Add", scale, "one")
        return self.node("Add", self.node("Mul", self.node("Div", x, norm), factor), shift)

    def velocity(self):
        self.constant("floor", np.float32(NORM_FLOOR))
        self.constant("one", np.float32(1))
        condition = self.condition()
        stream = self.linear("input", "x")
        blocks = sum(name.endswith(".up.weight") for name in self.weights)
        for block in (f"blocks.{index}" for index in range(blocks)):
            inner = self.modulated(f"{block}.modulation", stream, condition)
            inner = self.linear(f"{block}.down", self.silu(self.linear(f"{block}.up", inner)))
            stream = self.node("Add", stream, inner)
        return self.linear("output", self.modulated("output.modulation", stream, condition))


def model():
    graph = Graph(load_file(WEIGHTS))
    graph.nodes.append(helper.make_node("Identity", [graph.velocity()], ["velocity"], "velocity"))
    value = helper.make_tensor_value_info
    inputs = [
        value("x", TensorProto.FLOAT, ["rows", PIXELS]),
        value("lambda", TensorProto.FLOAT, ["rows"]),
        value("class", TensorProto.INT64, ["rows"]),
    ]
    outputs = [value("velocity", TensorProto.FLOAT, ["rows", PIXELS])]
    used = helper.make_graph(graph.nodes, "digits", inputs, outputs, graph.initializers)
    # Old enough for every runtime of the last years.
    opset = [helper.make_opsetid("", 17)]
    result = helper.make_model(used, opset_imports=opset, ir_version=8, producer_name="export.py")
    onnx.checker.check_model(result, full_check=True)
    return result.SerializeToString(deterministic=True)


if __name__ == "__main__":
    data = model()
    if sys.argv[1:] == ["--check"]:
        if FILE.read_bytes() != data:
            sys.exit(f"{FILE.name} is not of these weights")
        print(f"{FILE.name} is of these weights")
    elif not sys.argv[1:]:
        FILE.write_bytes(data)
        print(f"{FILE.name}: {len(data)} bytes")
    else:
        sys.exit(f"{sys.argv[1:]}: only --check is known")
