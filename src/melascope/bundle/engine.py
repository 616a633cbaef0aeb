"""The network on the processor: OpenVINO, one photograph per request and thread.

Measured on two AVX-512 cores, images/s at batch 1 / 4 / 32, one stream per
core: a small CNN at 180 px 395 / 259 / 209 in float32 and 852 / 733 / 427 in
bfloat16; EfficientNetV2-B0 at 224 px 181 / 127 / 123. A batch of one keeps a
layer's activations in the cache, and makes a finding independent of which
other photographs were asked about.
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, TypeVar

import numpy as np

from melascope import environment
from melascope.bundle.graph import INPUT
from melascope.errors import BundleError

Precision = Literal["f32", "bf16"]
A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True, eq=False)
class Outputs:
    """What the network says about n images.

    Attributes:
        logits: `(n, c)` float32.
        embedding: `(n, d)` float32.
        heatmap: `(n, c, h', w')` float32 class activation maps, or None where the network has none.
    """

    logits: np.ndarray
    embedding: np.ndarray
    heatmap: np.ndarray | None


class Engine:
    """A compiled network; safe to use from several threads.

    Args:
        onnx: The network's bytes.
        threads: Threads to use; None for `environment.threads()`.
        precision: `f32`, or `bf16`, which is less exact, and faster on some processors that have it.
        batch_size: Images per request.

    Raises:
        BundleError: When the network cannot be loaded.
    """

    def __init__(
        self, onnx: bytes, threads: int | None = None, precision: Precision = "f32", batch_size: int = 1
    ) -> None:
        if precision not in ("f32", "bf16"):
            raise BundleError(f'The precision "{precision}" is unknown; use f32 or bf16.')
        if batch_size < 1:
            raise BundleError(f"A batch size of {batch_size} is impossible; give 1 or more.")
        self.threads = max(1, threads if threads is not None else environment.threads())
        self.precision = precision
        self.batch_size = batch_size
        import openvino

        try:
            core = openvino.Core()
            model = core.read_model(onnx)
            shape = model.input(INPUT).partial_shape
            shape[0] = 1 if batch_size == 1 else -1
            model.reshape({INPUT: shape})
            settings = {
                "PERFORMANCE_HINT": "THROUGHPUT",
                "NUM_STREAMS": str(self.threads),
                "INFERENCE_NUM_THREADS": self.threads,
                "INFERENCE_PRECISION_HINT": precision,
                # The cores are shared with the threads that decode, which are not pinned either.
                "ENABLE_CPU_PINNING": False,
            }
            self._compiled = core.compile_model(model, "CPU", settings)
        except RuntimeError as error:
            raise BundleError(f"model.onnx cannot be loaded: {_first_line(error)}") from None
        # OpenVINO looks numpy up at its first array; two threads that do so at once deadlock (pybind11's call_once).
        openvino.Tensor(np.zeros(1, np.uint8))
        self._names = [output.get_any_name() for output in self._compiled.outputs]
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(self.threads):
            self._requests.put(self._compiled.create_infer_request())

    @property
    def has_heatmap(self) -> bool:
        """Whether the network gives class activation maps."""
        return "heatmap" in self._names

    def infer(self, images: np.ndarray) -> Outputs:
        """Run at most `batch_size` images `(k, h, w, 3)` uint8; waits while all threads are busy."""
        request = self._requests.get()
        try:
            request.infer({INPUT: np.ascontiguousarray(images)}, share_inputs=True)
            found = {
                name: request.get_output_tensor(index).data.astype(np.float32, copy=True)
                for index, name in enumerate(self._names)
            }
        finally:
            self._requests.put(request)
        return Outputs(found["logits"], found["embedding"], found.get("heatmap"))

    def run(self, images: np.ndarray) -> Outputs:
        """Run any number of images `(n, h, w, 3)` uint8 on all threads."""
        parts = [images[start : start + self.batch_size] for start in range(0, len(images), self.batch_size)]
        outputs = list(ordered_map(self.infer, parts, self.threads))
        heatmaps = [output.heatmap for output in outputs if output.heatmap is not None]
        return Outputs(
            np.concatenate([output.logits for output in outputs]),
            np.concatenate([output.embedding for output in outputs]),
            np.concatenate(heatmaps) if heatmaps else None,
        )


def ordered_map(work: Callable[[A], B], items: Iterable[A], threads: int, ahead: int = 4) -> Iterator[B]:
    """Yield `work(item)` in order, computed by some threads no more than `ahead` items each in front of the reader."""
    if threads == 1:
        yield from map(work, items)
        return
    source = iter(items)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="predict")
    try:
        waiting = deque(pool.submit(work, item) for item in islice(source, ahead * threads))
        while waiting:
            future: Future[B] = waiting.popleft()
            result = future.result()
            waiting.extend(pool.submit(work, item) for item in islice(source, 1))
            yield result
    finally:
        # Also when the reader stops early or is interrupted: nothing that waits is begun any more.
        pool.shutdown(wait=True, cancel_futures=True)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
