"""CLEAR Derm, filled in: the checklist for reports of image-based artificial intelligence in dermatology, 25 items.

Daneshjou R, Barata C, Betz-Stablein B, et al. JAMA Dermatology 2022; 158(1): 90-96.
"""

from __future__ import annotations

from melascope.evaluation.card_checklists import BESIDE, Facts, Item, Status, beside, report, to

SOURCE = (
    "Consensus guidelines of the ISIC working group on artificial intelligence (Daneshjou et al., JAMA Dermatol 2022; "
    "158: 90-96), in our own words: data (1 to 15), technique (16 to 19), technical assessment (20 to 23), "
    "application (24 and 25)."
)


def clear_derm(facts: Facts) -> list[Item]:
    """Return the 25 items with their answers."""
    return [*_photographs(facts), *_people(facts), *_sets(facts), *_technique(facts), *_assessment(facts)]


def _photographs(facts: Facts) -> list[Item]:
    modality = set((facts.data or {}).get("modality", {})) - {"not recorded"}
    kind: tuple[Status, str] = (
        ("answered", to("Data")) if modality else ("partly", f"taken for dermoscopic, not recorded: {to('Data')}")
    )
    return [
        Item(1, "kinds of photographs", *kind),
        Item(2, "hair, ink, rulers and other artefacts", "partly",
             f"not counted here; {report('What is wrong with the photographs')} tells what goes with the diagnosis, "
             "`docs/quality.md` what each does to an answer"),
        Item(3, "how and with what they were taken", "not done", f"cameras and light were not recorded: {to('Data')}"),
        Item(4, "how they were prepared", "answered", f"{to('How it was made')}, `docs/images.md`"),
        Item(5, "synthetic photographs are published", "not applicable",
             "diagnoses were learnt and judged on none; pictures that are no dermoscopy are drawn: `docs/novelty.md`"),
        Item(6, "public photographs are cited", "answered" if facts.sources else "partly",
             to("Licences and citations") + ("" if facts.sources else "; sources were not recorded")),
    ]  # fmt: skip


def _people(facts: Facts) -> list[Item]:
    told: tuple[Status, str] = (
        ("partly", f"age, sex and site where known: {to('People')}; ancestry and history were not recorded")
        if facts.data
        else ("not done", "not recorded with this card")
    )
    tone: tuple[Status, str] = (
        ("partly", f"estimated from the photographs, not measured: {to('Subgroups')}, `docs/quality.md`")
        if facts.skin_tone
        else ("not done", f"neither recorded nor judged in these data: {to('Subgroups', 'Shift and prevalence')}")
    )
    return [
        Item(7, "age, sex, origin and history of the patients", *told),
        Item(8, "skin colour, and how it was told", *tone),
        Item(9, "bias that may come from whom and what the data hold", "answered",
             to("Shift and prevalence", "Subgroups")),
    ]  # fmt: skip


def _sets(facts: Facts) -> list[Item]:
    external: tuple[Status, str] = (
        ("answered", f"{', '.join(facts.external)}: {to('Data', 'Subgroups')}")
        if facts.external
        else ("not done", f"no source was held out: {to('Shift and prevalence')}")
    )
    if "left_out" in facts.beside and not facts.external:
        external = ("partly", f"the same recipe, trained without one of its sources: {to(BESIDE['left_out'])}")
    kinds = to("Kinds of failure")
    others: tuple[Status, str] = (
        "partly",
        f"other networks of ours, unseen diagnoses among them: `docs/novelty.md`; {kinds}",
    )
    return [
        Item(10, "parts, and that they are apart", "not done" if facts.metrics["optimistic"] else "answered",
             f"{to('Data')}, `docs/datasets.md`, `docs/audit.md`"),
        Item(11, "sizes of the parts", "answered", to("Data")),
        Item(12, "an external test set", *external),
        Item(13, "photographs by devices of several makers", "not done", "devices were not recorded"),
        Item(14, "how frequent each diagnosis is", "answered", f"{to('Data')}; balancing: {to('How it was made')}"),
        Item(15, "photographs unlike those learnt from", *beside(facts, "robustness", others, f", {kinds}")),
    ]  # fmt: skip


def _technique(facts: Facts) -> list[Item]:
    histology = "histo" in (facts.data or {}).get("labels", {}).get("confirmed_by", {})
    reviewed = f"no slide was read again for this model; as the sets' makers state it: {to('Reference standard')}"
    return [
        Item(16, "who labelled, and how", "partly", f"the sets' makers: {to('Reference standard')}"),
        Item(17, "accepted names of the diagnoses", "answered",
             f"those of the ISIC challenges: {to('In short')}, `docs/datasets.md`"),
        Item(18, "histology of malignant lesions", "partly",
             reviewed if histology else f"{reviewed}; not recorded photograph by photograph"),
        Item(19, "how the algorithm was made", "answered" if facts.recipe else "partly",
             f"{to('How it was made', 'Recipe')}, `docs/training.md`"),
    ]  # fmt: skip


def _assessment(facts: Facts) -> list[Item]:
    bias: tuple[Status, str] = (
        ("answered" if facts.skin_tone else "partly",
         f"by {', '.join(facts.subgroups)}: {to('Subgroups')}" + ("" if facts.skin_tone else "; not by skin tone"))
        if facts.subgroups
        else ("not done", "no column tells groups apart")
    )  # fmt: skip
    bench: tuple[Status, str] = (
        (
            "partly",
            f"simple baselines: {to('Baselines')}; no reader took part, and no other model was run on them",
        )
        if facts.metrics["baselines"]
        else ("not done", f"no baseline was made: {to('Baselines')}")
    )
    return [
        Item(20, "how others can try it", "answered",
             f"`melascope predict` and `melascope evaluate`: {to('Software')}, `docs/cli.md`"),
        Item(21, "measures of performance", "answered", f"{to('Results')}, `docs/statistics.md`"),
        Item(22, "comparison with others, and what is new", *bench),
        Item(23, "assessment of bias", *bias),
        Item(24, "uses and conditions that it is made for", "answered", to("Intended use", "Contraindications")),
        Item(25, "effects on patients and those who treat them", "partly",
             f"what an alert means at your prevalence: {to('Predictive values')}; no study in a clinic was made"),
    ]  # fmt: skip
