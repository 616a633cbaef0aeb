"""Batch normalisation in one operation computes what Keras's computes."""

from __future__ import annotations

import numpy as np
import pytest

from melascope.training import backend

keras = backend.load()

from melascope.training import batch_norm  # noqa: E402

tf = pytest.importorskip("tensorflow")


def _step(layer, x, weights):
    """Output, gradient of the input, and gradients of scale and offset, of a weighted sum of the outputs."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
        loss = tf.reduce_sum(tf.cast(y, tf.float32) * weights)
    watched = [x, *(variable.value for variable in layer.trainable_variables)]
    return [tf.cast(given, tf.float32).numpy() for given in (y, *tape.gradient(loss, watched))]


@pytest.mark.parametrize(("precision", "bound"), [("float32", 2e-4), ("mixed_bfloat16", 0.05)])
@pytest.mark.parametrize("channels", [24, 32])
@pytest.mark.parametrize("trainable", [True, False])
def test_a_step_is_that_of_keras(precision, bound, channels, trainable):
    rng = np.random.default_rng(0)
    policy = keras.DTypePolicy(precision)
    x = tf.cast(rng.normal(1.0, 2.0, (4, 9, 7, channels)), policy.compute_dtype)
    weights = tf.constant(rng.normal(size=x.shape), tf.float32)
    ours, theirs = (
        kind(momentum=0.9, epsilon=1e-3, dtype=policy)
        for kind in (batch_norm.BatchNormalization, keras.layers.BatchNormalization)
    )
    for layer in (ours, theirs):
        layer.build(x.shape)
        layer.set_weights([np.linspace(0.5, 2.0, channels), np.linspace(-1, 1, channels),
                           np.linspace(0, 2, channels), np.linspace(1, 5, channels)])  # fmt: skip
        layer.trainable = trainable
    found, wanted = _step(ours, x, weights), _step(theirs, x, weights)
    assert len(found) == (4 if trainable else 2)
    for a, b in zip(found, wanted, strict=True):
        assert np.abs(a - b).max() <= bound * max(1.0, np.abs(b).max())
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    assert np.allclose(ours.get_weights()[2], np.linspace(0, 2, channels)) != trainable
    theirs.set_weights(ours.get_weights())
    np.testing.assert_array_equal(ours(x, training=False), theirs(x, training=False))


def test_other_shapes_take_the_way_of_keras():
    x = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    ours, theirs = batch_norm.BatchNormalization(), keras.layers.BatchNormalization()
    np.testing.assert_allclose(ours(x, training=True), theirs(x, training=True), atol=1e-6)


def test_a_model_of_keras_is_rebuilt_with_it():
    model = keras.applications.MobileNetV2((32, 32, 3), include_top=False, weights=None)
    rebuilt = batch_norm.rebuilt(model)
    assert [layer.name for layer in rebuilt.layers[1:]] == [layer.name for layer in model.layers[1:]]
    assert [weight.shape for weight in rebuilt.weights] == [weight.shape for weight in model.weights]
    kinds = {type(layer) for layer in rebuilt.layers if isinstance(layer, keras.layers.BatchNormalization)}
    assert kinds == {batch_norm.BatchNormalization}
    rebuilt.set_weights(model.get_weights())
    pixels = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    np.testing.assert_allclose(rebuilt(pixels), model(pixels), atol=1e-6)
