"""What was published on the nine-class set, and the trainings that reproduce it.

A `Training` is a recipe on a `Design` (whose labels, what is held out, whether and when copies are made). A `Row` is
one published number: where it stands in a training, and which training is the same recipe under the protocol `clean`.
Several rows may share a training: 30 and 36 epochs at a constant rate are one training, read twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from melascope.training import recipe as recipes
from melascope.training.recipe import Recipe

COPIES_PER_CLASS = 500
FOLDS = 5
SEEDS = (0, 1)
"""Those with which a training is asked for; see `asked`."""
OVERFIT = 0.1
"""Training that is so much above validation is overfitted, as a project said."""


@dataclass(frozen=True)
class Design:
    """Which photographs are trained on, and which judge.

    Attributes:
        labels: `filed` (as in the folders) or `clean` (the protocol clean's rows and labels).
        held: `random` (a fifth of what is outside Test, photograph by photograph), `group` (a fifth by photograph,
            lesion and patient), `test` (nothing: Test judges) or `some of test` (a fifth of Test judges).
        copies: `none`, `before` the split (so that copies are divided at random too) or `after` it (of what is trained
            on alone).
        mode: As in `melascope.datasets.balanced`.
    """

    labels: str = "filed"
    held: str = "random"
    copies: str = "none"
    mode: str = "add"

    @property
    def slug(self) -> str:
        """A name for folders."""
        copied = {"none": "", "before": "-copied-first", "after": "-copied"}[self.copies]
        mode = "-in-proportion" if self.mode != "add" else ""
        return f"{self.labels}-{self.held.replace(' ', '-')}{copied}{mode}"


@dataclass(frozen=True)
class Training:
    """A recipe on a design.

    Attributes:
        recipe: Its name.
        design: What it is trained on, and judged by.
        epochs: How many.
        changes: Of the recipe, by section.
        as_is: Whether it keeps its own precision.
        variant: What the changes make of it, for its name.
    """

    recipe: str
    design: Design
    epochs: int
    changes: dict[str, dict[str, object]] = field(default_factory=dict)
    as_is: bool = False
    variant: str = ""

    @property
    def name(self) -> str:
        """A name for folders and `--rows`."""
        changed = f"-{self.variant}" if self.variant else ""
        return f"{self.recipe}{changed}.{self.design.slug}.{self.epochs}"

    def resolved(self, precision: str, epochs: int | None = None) -> Recipe:
        """Return the recipe with these epochs and this precision; all keep the last epoch, as the notebooks do."""
        schedule = {"epochs": epochs or self.epochs, "keep": "last"}
        if not self.as_is:
            schedule["precision"] = precision
        return recipes.load(self.recipe).replace(schedule=schedule, **self.changes)


@dataclass(frozen=True)
class Row:
    """One published number, or a finding without one.

    Attributes:
        name: For `--rows`.
        project: Whose.
        what: What the project trained and how it was judged.
        published: The accuracy; None where only words were published.
        ours: The training that reproduces it.
        clean: The same recipe under `clean`.
        part: Which part's accuracy it is: `validation` or `test`.
        clean_part: The same for `clean`.
        epoch: After which epoch; None for the last.
        said: What was published in words.
        overfits: Whether the words are that the training accuracy lies far above that of the validation.
        above: The row than which this one is said to be better.
        below: The row than which it is said to be worse.
        log: The last four accuracies of the project's own log, in words.

    Why ours differs, where it does, stands in `reproduction_reasons`.
    """

    name: str
    project: str
    what: str
    published: float | None
    ours: Training
    clean: Training
    part: str = "validation"
    clean_part: str = "validation"
    epoch: int | None = None
    said: str = ""
    overfits: bool = False
    above: str = ""
    below: str = ""
    log: str = ""

    @property
    def on_test(self) -> bool:
        """Whether photographs of Test judge."""
        return self.part == "test" or self.ours.design.held in ("test", "some of test")


FILED = Design()
COPIED = Design(copies="before")
DRAWN = Design(copies="before", mode="in-proportion")
CLEAN = Design("clean", "group")
CLEAN_COPIED = Design("clean", "group", "after")
CLEAN_DRAWN = Design("clean", "group", "after", "in-proportion")
ON_TEST = Design("filed", "test")
ON_SOME = Design("filed", "some of test", "after")
CLEAN_TEST = Design("clean", "test")
CLEAN_TEST_COPIED = Design("clean", "test", "after")

_AUGMENTED: dict[str, dict[str, object]] = {"augmentation": {"flip": "horizontal", "rotation": 0.2, "zoom": 0.2}}
# The notebooks train on copies without the recipe's augmentation.
_COPIES_ONLY: dict[str, dict[str, object]] = {
    "augmentation": {"flip": "none", "rotation": 0.0, "brightness": 0.0, "contrast": 0.0}
}
_WIDE_COPIES_ONLY: dict[str, dict[str, object]] = {"augmentation": {"flip": "none", "rotation": 0.0, "zoom": 0.0}}


def _pair(
    recipe: str,
    ours: Design,
    clean: Design,
    epochs: int,
    changes: dict[str, dict[str, object]] | None = None,
    variant: str = "",
) -> tuple[Training, Training]:
    first, second = (Training(recipe, design, epochs, changes or {}, variant=variant) for design in (ours, clean))
    return first, second


P = "pattanaikay/MelanomaDetection-CNNAssignment"
S = "saktisaurav123/CNNSkinCancer"
D = "dsharma3/Melanoma-Detection-Assignment"
B = "Melanoma-Detection-using-Convolutional-Neural-Network-Assignment"
C = "Melanoma_Detection_Case_Study"

_PLAIN: dict[str, dict[str, object]] = {"network": {"batch_norm": False}}
_SAKTI = _pair("sgd-augmented", COPIED, CLEAN_COPIED, 36, _COPIES_ONLY, "copies-only")
_COPIES = "sgd-augmented without augmentation, 500 copies per class, divided afterwards; 30 epochs"
_DRAWN = (
    "wide-kernel-augmented without augmentation, 50 epochs, 4,500 copies drawn in proportion, divided afterwards",
    _pair("wide-kernel-augmented", DRAWN, CLEAN_DRAWN, 50, _WIDE_COPIES_ONLY, "copies-only"),
)

ROWS: tuple[Row, ...] = (
    Row("pattanaikay-plain", P, "wide-kernel-cnn, 30 epochs, a random fifth judges", 0.494,
        *_pair("wide-kernel-cnn", FILED, CLEAN, 30)),
    Row("pattanaikay-augmented", P, "wide-kernel-augmented, 30 epochs, a random fifth judges", 0.501,
        *_pair("wide-kernel-augmented", FILED, CLEAN, 30)),
    Row("pattanaikay-rebalanced", P, _DRAWN[0], 0.767, *_DRAWN[1]),
    Row("saktisaurav-plain", S, "sgd-cnn, 20 epochs, a random fifth judges", 0.499,
        *_pair("sgd-cnn", FILED, CLEAN, 20)),
    Row("saktisaurav-augmented", S, "sgd-augmented, 20 epochs, a random fifth judges", 0.483,
        *_pair("sgd-augmented", FILED, CLEAN, 20)),
    Row("saktisaurav-rebalanced-30", S, _COPIES, 0.806, *_SAKTI, epoch=30, log="0.780, 0.713, 0.801 and 0.806"),
    Row("saktisaurav-rebalanced-36", S, "another training of the same, read as 36 epochs", 0.828, *_SAKTI),
    Row("saktisaurav-test", S, "the same, on Test", 0.407, *_SAKTI, part="test", clean_part="test"),
    Row("dsharma-plain", D, "deep-cnn, 20 epochs, Test judges", 0.297, *_pair("deep-cnn", ON_TEST, CLEAN_TEST, 20)),
    Row("dsharma-regularised", D, "regularised-cnn, 20 epochs, Test judges", 0.331,
        *_pair("regularised-cnn", ON_TEST, CLEAN_TEST, 20)),
    Row("dsharma-rebalanced", D, "deep-cnn, 20 epochs, 500 copies per class, 23 photographs of Test judge", 0.261,
        *_pair("deep-cnn", ON_SOME, CLEAN_TEST_COPIED, 20)),
    Row("batchnorm-plain", B, "batchnorm-cnn without batch normalisation, 30 epochs, a random fifth judges", None,
        *_pair("batchnorm-cnn", FILED, CLEAN, 30, _PLAIN, "plain"), said="no number; compared with the next row"),
    Row("batchnorm-augmented", B, "batchnorm-cnn with augmentation, 30 epochs, a random fifth judges", None,
        *_pair("batchnorm-cnn", FILED, CLEAN, 30, _AUGMENTED, "augmented"),
        said='the effect of batch normalisation and augmentation is "quite positive"', above="batchnorm-plain"),
    Row("batchnorm-rebalanced", B, "batchnorm-cnn, 30 epochs, 500 copies per class, divided afterwards", None,
        *_pair("batchnorm-cnn", COPIED, CLEAN_COPIED, 30), said="no number"),
    Row("case-study-plain", C, "plain-cnn, 20 epochs, a random fifth judges", None,
        *_pair("plain-cnn", FILED, CLEAN, 20), said="overfits", overfits=True),
    Row("case-study-augmented", C, "plain-augmented, 20 epochs, a random fifth judges", None,
        *_pair("plain-augmented", FILED, CLEAN, 20), said="augmentation lowers the accuracy",
        below="case-study-plain"),
    Row("case-study-rebalanced", C, "plain-augmented, 20 epochs, 500 copies per class, divided afterwards", None,
        *_pair("plain-augmented", COPIED, CLEAN_COPIED, 20), said="rebalancing raises both accuracies, still overfits",
        above="case-study-augmented", overfits=True),
)  # fmt: skip


def published_range(on_test: bool) -> tuple[float, float]:
    """Return the lowest and the highest accuracy that was published, on photographs of Test or elsewhere."""
    values = [row.published for row in ROWS if row.published is not None and row.on_test == on_test]
    return min(values), max(values)


@dataclass(frozen=True)
class Step:
    """A bar of the waterfall: one more correction of the same recipe, or what one of them has on Test.

    Attributes:
        label: What it is, in the plot; three lines at most.
        named: What it is, in the table.
        training: Whose accuracy.
        part: Of which part.
        published: What the project has there.
        once: What holds from this bar on, in words; empty for one that is no correction.
        against: Of a bar that is no correction: the place of the bar of the same network elsewhere.
    """

    label: str
    named: str
    training: Training
    part: str = "validation"
    published: float | None = None
    once: str = ""
    against: int | None = None


def _copied_after(held: str) -> Training:
    return Training("sgd-augmented", Design("filed", held, "after"), 36, _COPIES_ONLY, variant="copies-only")


STEPS = (
    Step("As published:\ncopied, then divided\nat random", "As published: copied, then divided at random", _SAKTI[0],
         published=0.828),
    Step("Divided at\nrandom,\nthen copied", "Divided at random, then copied", _copied_after("random"),
         once="copies are made only after the division"),
    Step("Divided by\nphotograph and\nlesion", "Divided by photograph and lesion, then copied",
         _copied_after("group"), once="photographs of one lesion stay together"),
    Step("Official labels,\neight classes,\neach once", "Official labels in eight classes, each photograph once",
         _SAKTI[1], once="the labels are the official ones and each photograph counts once"),
    Step("Test as filed,\nby the network\nof bar 1", "Test as filed, by the network of bar 1", _SAKTI[0], "test",
         published=0.407, against=0),
    Step("Test, what is\nclean of it, by that\nof bar 4", "Test, what is clean of it, by the network of bar 4",
         _SAKTI[1], "test", against=3),
)  # fmt: skip
"""From the accuracy published after rebalancing down to an honest one; then Test, which is another source."""

WATERFALL = "waterfall"
FLOW = "flow"
"""The key of the results under which it stands how the photographs under `clean` come from those that were found."""
JUDGES = "judges"
"""The key under which it stands how many photographs judge each design, in how many groups."""
COMPARED = "compared"
"""The key under which two rows that the same photographs judge are compared in pairs."""
SEEN = "seen"
"""The key under which it stands how often a training is right of what it was trained on, and of what it was not."""
BEGUN = "begun"
"""The key under which it stands what trainings that are not finished have after their epochs so far."""


def key(row: str, other: str) -> str:
    """Return under which name the difference of two rows stands."""
    return f"{row} less {other}"


def trainings(names: list[str] | None = None) -> list[Training]:
    """Return the trainings that some rows (all by default) need, each once; `waterfall` names the plot's.

    Raises:
        KeyError: For a row that does not exist.
    """
    rows = {row.name: [row.ours, row.clean] for row in ROWS} | {WATERFALL: [step.training for step in STEPS]}
    found: dict[str, Training] = {}
    for name in names or rows:
        for training in rows[name]:
            found.setdefault(training.name, training)
    return list(found.values())


def on_the_fold(design: Design) -> bool:
    """Return whether a design is judged by one fold under `clean`."""
    return (design.labels, design.held) == (CLEAN.labels, CLEAN.held)


def asked(names: list[str] | None = None) -> list[Training]:
    """Return the trainings of some rows (all by default) that the page asks for, with each of `SEEDS`.

    One fold under `clean` is not asked for unless the waterfall shows it: the field's cross-validation judges the same
    recipe on all folds.

    Raises:
        KeyError: For a row that does not exist.
    """
    shown = {step.training.name for step in STEPS}
    return [one for one in trainings(names) if not on_the_fold(one.design) or one.name in shown]


def opens_test(name: str) -> bool:
    """Return whether a row or a bar shows what the training of this name has on Test: no other opens it."""
    shown = {row.ours.name for row in ROWS if row.part == "test"}
    shown |= {row.clean.name for row in ROWS if row.clean_part == "test"}
    return name in shown | {step.training.name for step in STEPS if step.part == "test"}


def cost(training: Training, epochs: int | None = None) -> float:
    """Return the work of a training in arbitrary units: multiplications of its convolutions and first dense layer."""
    recipe = training.resolved("float32", epochs)
    network, side, channels, work = recipe.network, min(recipe.data.shape), 3, 0.0
    for stage, (width, depth) in enumerate(zip(network.widths, network.depths, strict=True), start=1):
        for _ in range(depth):
            work += network.kernel**2 * channels * width * side**2
            channels = width
        if stage < len(network.widths) or network.pool_last:
            side //= 2
    work += side**2 * channels * (network.dense[0] if network.dense else 9)
    photographs = 2000 if training.design.copies == "none" else 5500
    return work * photographs * recipe.schedule.epochs
