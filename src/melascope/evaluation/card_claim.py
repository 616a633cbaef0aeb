"""CLAIM 2024, filled in: the checklist for artificial intelligence in medical imaging, 44 items.

Tejani AS, Klontzas ME, Gatti AA, et al. Radiology: Artificial Intelligence 2024; 6(4): e240300.
"""

from __future__ import annotations

from melascope.evaluation.card_checklists import BESIDE, Facts, Item, Status, beside, fixed_in_advance, report, to

SOURCE = (
    "Checklist for Artificial Intelligence in Medical Imaging, 2024 update (Tejani et al., Radiol Artif Intell 2024; "
    "6: e240300), in our own words."
)


def claim(facts: Facts) -> list[Item]:
    """Return the 44 items with their answers."""
    return [
        *_opening(),
        *_data(facts),
        *_reference(facts),
        *_parts(facts),
        *_model(facts),
        *_evaluation(facts),
        *_end(facts),
    ]


def _opening() -> list[Item]:
    return [
        Item(1, "title names the kind of artificial intelligence", "answered", to("In short")),
        Item(2, "summary of design, methods and results", "answered", to("In short")),
        Item(3, "background, intended use and role", "answered", to("Intended use")),
        Item(4, "aims and hypotheses", "partly", f"aim: {to('Intended use')}; no hypothesis was stated beforehand"),
        Item(5, "prospective or retrospective", "answered",
             f"retrospective, on public or given collections: {to('Data')}"),
        Item(6, "goal of the study", "answered", f"making and judging a model: {to('In short')}"),
    ]  # fmt: skip


def _data(facts: Facts) -> list[Item]:
    recorded = bool(facts.sources)
    sources: tuple[Status, str] = ("answered", "") if recorded else ("partly", "sources were not recorded; ")
    where = to("Data", "Licences and citations")
    return [
        Item(7, "sources of the data", sources[0], f"{sources[1]}{where}"),
        Item(8, "who was included and excluded", "partly",
             f"photographs: {to('Data')}, `docs/audit.md`; how patients were chosen is for the sets' makers to tell"),
        Item(9, "preparation of the photographs", "answered", f"{to('How it was made')}, `docs/images.md`"),
        Item(10, "choice of parts of the data", "answered",
             f"{to('Data')}, {report('What is wrong with the photographs')}"),
        Item(11, "how identities were removed", "partly",
             "by the sets' makers; the audit looks for personal data in the files: `docs/audit.md`"),
        Item(12, "missing data", "answered",
             f"counted in {to('People', 'Subgroups')}; photographs stay, unknown values are in no subgroup"),
        Item(13, "how photographs were taken", "not done",
             f"cameras, dermatoscopes and light were not recorded; sizes: {to('Data')}"),
    ]  # fmt: skip


def _reference(facts: Facts) -> list[Item]:
    where = to("Reference standard")
    how: tuple[Status, str] = (
        ("answered", where) if facts.confirmed else ("partly", f"{where}; confirmation was not recorded")
    )
    return [
        Item(14, "how the reference standard was obtained", *how),
        Item(15, "why this reference standard", "partly",
             f"the labels are those that come with the data; what that means for the numbers: {where}"),
        Item(16, "who labelled", "partly", f"the sets' makers: {where}, {to('Licences and citations')}"),
        Item(17, "labels of the test part", "partly",
             f"made as those of the other parts, by no panel of its own: {where}"),
        Item(18, "variation within and between readers", "not done",
             "each photograph has one label; nobody labelled again"),
    ]  # fmt: skip


def _parts(facts: Facts) -> list[Item]:
    assumed = facts.part["n_lesions"]["assumed"]
    where = f"{to('Data')}, `docs/datasets.md`"
    level: tuple[Status, str]
    if facts.metrics["optimistic"]:
        level = (
            "not done",
            f"the protocol `{facts.metrics['protocol']}` lets test and training share lesions: {to('Data')}",
        )
    elif assumed:
        level = (
            "partly",
            f"by photograph, lesion and patient where ids are known; {assumed:,} lesions of the test part are assumed: "
            f"{to('Data')}",
        )
    else:
        level = "answered", f"by photograph, lesion and, where known, patient: {to('Data')}"
    return [
        Item(19, "how photographs were assigned to parts", "answered", where),
        Item(20, "the level at which parts are apart", *level),
        Item(21, "intended size of the test part", "partly",
             f"not planned, it is what the data gave; what it can show: {to('Limits')}"),
    ]  # fmt: skip


def _model(facts: Facts) -> list[Item]:
    made, unknown = to("How it was made"), "the recipe was not recorded with this card"
    recipe: tuple[Status, str] = ("answered", to("Recipe")) if facts.recipe else ("not done", unknown)
    software: tuple[Status, str] = (
        ("answered", to("Software")) if facts.software else ("not done", "versions were not recorded with this card")
    )
    shared = facts.metrics["cross_fitted"] and not fixed_in_advance(facts.recipe)
    cross = "; tune and calibrate share their photographs" if shared else ""
    chosen = beside(
        facts,
        "designs",
        ("partly", f"never by test{cross}: {made}; how many recipes were tried before is not in a run"),
        f", {made}",
    )
    return [
        Item(22, "the model in detail", recipe[0], f"{made}, {recipe[1]}, `docs/training.md`"),
        Item(23, "software and versions", *software),
        Item(24, "initial weights", recipe[0], made if facts.recipe else unknown),
        Item(25, "how it was trained", recipe[0],
             f"{recipe[1]}, {to('Time and energy')}, {report('How it learned')}" if facts.recipe else unknown),
        Item(26, "how the final model was chosen", *chosen),
        Item(27, "ensembles", "not applicable", f"one network: {made}"),
    ]  # fmt: skip


def _evaluation(facts: Facts) -> list[Item]:
    if facts.external:
        external: tuple[Status, str] = (
            "answered",
            f"no photograph of {', '.join(facts.external)} was learnt from: {to('Data', 'Subgroups')}",
        )
    else:
        shift = to("Shift and prevalence")
        external = ("not done", f"no source was held out; measure the model on your own photographs: {shift}")
        if "left_out" in facts.beside:
            external = ("partly", f"the same recipe, trained without one of its sources: {to(BESIDE['left_out'])}")
    untold: tuple[Status, str] = (
        "partly",
        "heat maps, whose agreement with lesions is not in this card: `docs/bundle.md`",
    )
    none: tuple[Status, str] = ("not done", "this network gives no heat map, or its recipe is not known")
    maps = beside(facts, "heat_maps", untold) if facts.heat_map else none
    others: tuple[Status, str] = (
        "partly",
        f"other networks of ours: `docs/quality.md`, `docs/novelty.md`; this one by {to('Subgroups')}",
    )
    return [
        Item(28, "measures of performance", "answered", f"{to('Results')}, `docs/statistics.md`"),
        Item(29, "uncertainty", "answered", f"95 % intervals throughout: {to('Limits')}, `docs/evaluation.md`"),
        Item(30, "robustness", *beside(facts, "robustness", others, f", {to('Subgroups')}")),
        Item(31, "explanations, and whether they hold", *maps),
        Item(32, "evaluation on internal data", "answered", to("Results")),
        Item(33, "test on external data", *external),
        Item(34, "registration of a trial", "not applicable", "no trial was made"),
    ]  # fmt: skip


def _end(facts: Facts) -> list[Item]:
    people: tuple[Status, str] = (
        ("partly", f"{to('People', 'Data')}; medical history was not recorded")
        if facts.data
        else ("not done", "not recorded with this card")
    )
    failures: tuple[Status, str] = ("answered", "") if facts.failures else ("partly", "no single photographs: ")
    return [
        Item(35, "numbers included and left out", "answered", f"{to('Data')}, {report('How it was judged')}"),
        Item(36, "people and diagnoses in each part", *people),
        Item(37, "performance with uncertainty, beside others", "answered",
             f"{to('Results', 'Baselines')}, {report('Results in full')}"),
        Item(38, "diagnostic accuracy with precision", "answered",
             to("Operating points", "Ranking and first choice", "Predictive values")),
        Item(39, "analysis of failures", failures[0], f"{failures[1]}{to('Known failures')}"),
        Item(40, "limitations", "answered", to("Limits", "Shift and prevalence")),
        Item(41, "what it means for practice", "answered", to("Intended use", "Contraindications")),
        Item(42, "protocol or further details", "partly",
             f"no protocol was published before; details: {to('Recipe')}, `docs/training.md`, `docs/evaluation.md`"),
        Item(43, "availability of software, model and data", "answered", to("Software", "Licences and citations")),
        Item(44, "funding and the funders' role", "not done", "a run does not know who paid for it"),
    ]  # fmt: skip
