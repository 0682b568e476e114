"""Write the model card. It is generated from the manifest, so it cannot claim anything that was not measured."""

from __future__ import annotations

from importlib import resources
from string import Template
from typing import Any

from adsn.datasets.pairs import BONA_FIDE
from adsn.evaluation.evaluate import PAIR_MISMATCH
from adsn.network.inputs import Brightening
from export.parity import ParityLimits
from runtime.bundle.manifest import Manifest, Parity, RateEntry

ORIGIN = {
    True: "No picture of a real face was used in training, so nothing here says how the model does on real people, "
    "real prints or real cameras.",
    False: "The figures below are those of the sets they name, and of no other people, instruments or cameras.",
}
RENDERED = (
    "Pairs rendered by this project's fast renderer (`synthetic/raster/`), sensor family A: heads of two "
    "sources in equal parts (analytic, and principal components of the ICT Face Model's scans; MIT "
    "licence, Li et al., CVPR 2020), six skin tones.{traced} Glasses, hats, expressions and gaze are drawn alike for "
    "every species. Species: bona fide, {species}. Some pairs had their IR image replaced by the RGB image's "
    "luminance, by another person's IR image, by the same person's of another moment, or by their own mirrored or "
    "twisted. They counted as attacks.{start}"
)
TRACED = (
    " {share:.0%} of what training draws are path-traced pairs (`synthetic/pathtraced/`, sensor family A): MakeHuman's "
    "CC0 people with photographic skins, in rooms under area lamps."
)
STARTED = " Training started from other weights of this network (checkpoint SHA-256 `{sha256}`)."
AVERAGED = (
    " The weights are the average of {count} checkpoints of this training history, with shares of {shares}; the epochs "
    "below are those of the first."
)
COMPARED = (
    " The fine features of both streams are compared cell by cell as well: the score is the probability of a live "
    "face times the probability that both images show one moment."
)
OFFSET = " {offset:g} is added to the logit of the second, a choice made on the development sets."
BRIGHTENED = (
    " An IR crop whose mean is below {level} is brightened to it inside the graph, by a factor of at most {most:g}."
)
TAUGHT = (
    "The RGB stream was also trained to reproduce the class probabilities and features of `{name}` (SHA-256 "
    "`{sha256}`), an RGB anti-spoofing network that its authors trained on real people. Only the trained weights hold "
    "what was learnt from it; the network itself is not part of the bundle.{credit}"
)
CREDITS = {
    "minifasnet_v2_80x80": " It is MiniFASNetV2 of minivision-ai/Silent-Face-Anti-Spoofing (Apache-2.0).",
}
READ = "Data read from disk: {sets}. Species at the operating point: bona fide, {species}."


def rate(entry: RateEntry) -> str:
    """Return a rate with its count and interval."""
    low, high = entry.interval
    return f"{entry.errors / entry.trials:.2%} ({entry.errors}/{entry.trials}; {low:.2%} to {high:.2%})"


def worst_of(entries: dict[str, RateEntry]) -> str:
    """Return the species that was accepted most often, and its rate."""
    attacks = {name.removeprefix("apcer."): e for name, e in entries.items() if name != "bpcer" and e.trials}
    if not attacks:
        return "none"
    name, entry = max(attacks.items(), key=lambda item: item[1].errors / item[1].trials)
    return f"{name}, APCER {rate(entry)}"


def scored_section(parity: Parity) -> str:
    """Return the section on one test set, with the figures of FP32 and INT8 side by side."""
    rows = [
        f"| {'BPCER' if name == 'bpcer' else 'APCER ' + name.removeprefix('apcer.')} | {rate(fp32)} | {rate(int8)} |"
        for (name, fp32), int8 in zip(parity.fp32.items(), parity.int8.values(), strict=True)
    ]
    parts = [
        f"\nINT8, {name}: BPCER {rate(entries['bpcer'])}; worst species {worst_of(entries)}."
        for name, entries in parity.int8_parts.items()
        if entries["bpcer"].trials
    ]
    return "\n".join([
        f"\n### {parity.data}, `{parity.artifact}` as served ({parity.pairs} pairs, `{parity.data_sha256[:16]}…`)\n",
        "| | FP32 | INT8 |",
        "| --- | --- | --- |",
        *rows,
        *parts,
        *([MISMATCH] if f"apcer.{PAIR_MISMATCH}" in parity.fp32 else []),
        f"\nINT8 against FP32: {parity.decision_flips} of {parity.pairs} decisions differ; score difference at most "
        f"{parity.max_score_difference:.4f}, {parity.mean_score_difference:.5f} on average.",
    ])  # fmt: skip


def literal_line(parity: Parity) -> str:
    """Return a line on how far an artifact differs from FP32 if every Q/DQ is computed step by step."""
    return (
        f"| `{parity.artifact}` | {parity.data} | {parity.decision_flips}/{parity.pairs} | "
        f"{parity.max_score_difference:.4f} | {parity.mean_score_difference:.5f} | {worst_of(parity.fp32)} | "
        f"{worst_of(parity.int8)} | {rate(parity.fp32['bpcer'])} | {rate(parity.int8['bpcer'])} |"
    )


MISMATCH = (
    f"\n`{PAIR_MISMATCH}`: a bona fide picture of the set beside another person's, another moment's or a warped one."
)

LITERAL = """
### The artifacts with every Q/DQ computed as written

What an engine's 8-bit kernels are to reproduce, whatever this machine's would do.

| artifact | set | decisions differ | greatest difference | mean | worst species, FP32 | INT8 | BPCER, FP32 | INT8 |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""


def tests_section(parities: list[Parity]) -> str:
    """Return the section on all test sets: first the served model, then the artifacts with step-by-step Q/DQ."""
    served = [scored_section(p) for p in parities if p.execution == "served"]
    literal = [literal_line(p) for p in parities if p.execution == "literal"]
    return "\n".join([*served, LITERAL + "\n".join(literal)] if literal else served)


def taught_by(training: dict[str, Any]) -> str:
    """Return a paragraph on the teacher network of a training run, or an empty string if there was none."""
    teacher = training.get("teacher")
    if teacher is None:
        return ""
    name = teacher["name"]
    return "\n" + TAUGHT.format(name=name, sha256=teacher["sha256"], credit=CREDITS.get(name, "")) + "\n"


def widened(manifest: Manifest) -> str:
    """Return a text on the options with which this export accepted more than the default limits, or an empty string."""
    flips, rate = (manifest.parity_limits.get(name, 0) for name in ("flips", "rate"))
    rule = ParityLimits()
    options = (f" --max-flips {flips:g}" if flips > rule.flips else "", f" --max-rate-change {rate:g}")
    return options[0] + (options[1] if rate > rule.rate else "")


def datasets_read(training: dict[str, Any]) -> list[str]:
    """Return the names of the data sets of camera images used to train a checkpoint, sorted. Rendered sets are left
    out."""
    tables = [table for part in training["recipe"]["data"].values() for table in tables_of(part)]
    return sorted({str(table["dataset"]) for table in tables if table.get("dataset") not in (None, "pathtraced")})


def trained_species(training: dict[str, Any]) -> list[str]:
    """Return the attack species of the training set, sorted. Older records do not have them: the list is empty."""
    counts = training["data"].get(f"{training['recipe']['name']}-train", {}).get("species", {})
    return sorted(set(counts) - {BONA_FIDE})


def tables_of(part: Any) -> list[dict[str, Any]]:
    """Return the tables of a part as a list. Older records contain a single table."""
    return part if isinstance(part, list) else [part]


def rendered(training: dict[str, Any], species: str) -> str:
    """Return the text of the card on rendered training data."""
    tables = tables_of(training["recipe"]["data"]["train"])
    weights = [table.get("weight", 1.0) for table in tables]
    traced = sum(w for w, table in zip(weights, tables, strict=True) if table.get("dataset") == "pathtraced")
    start, averaged = training.get("started_from"), training.get("averaged")
    shares = [f"{entry['share']:g}" for entry in averaged or ()]
    return RENDERED.format(
        species=species,
        traced=TRACED.format(share=traced / sum(weights)) if traced else "",
        start=(STARTED.format(sha256=start) if start else "")
        + (AVERAGED.format(count=len(shares), shares=", ".join(shares)) if shares else ""),
    )


def model_card(manifest: Manifest) -> str:
    """Return the model card of a bundle as Markdown."""
    training: dict[str, Any] = manifest.training
    network = training["recipe"]["network"]
    level, offset = network.get("ir_level", 0), training.get("match_offset", 0.0)
    curve = training["curve"]
    point = manifest.operating_points[0]
    data = [f"| {name} | {entry['pairs']} | `{entry['sha256'][:16]}…` |" for name, entry in training["data"].items()]
    template = resources.files("export").joinpath("card.md").read_text(encoding="utf-8")
    species = ", ".join(trained_species(training) or sorted(point.apcer))
    read = datasets_read(training)
    return Template(template).substitute(
        origin=ORIGIN[not read],
        source=READ.format(sets=", ".join(read), species=species) if read else rendered(training, species),
        summary=manifest.summary,
        name=manifest.name,
        version=manifest.version,
        first=manifest.modalities[0],
        second=manifest.modalities[1],
        width=network["width"],
        maps=network["maps"],
        compared=(COMPARED if network.get("match") else "") + (OFFSET.format(offset=offset) if offset else ""),
        brightened=BRIGHTENED.format(level=level, most=Brightening.MOST) if level else "",
        size=manifest.crop.size,
        context=f"{1 + 2 * manifest.crop.margin:.1f}",
        teacher=taught_by(training),
        taught=" --teacher FILE" if "teacher" in training else "",
        parameters=f"{training['parameters'] / 1e6:.2f}",
        data="\n".join(data),
        epochs=training["epochs_done"],
        minutes=f"{training['seconds'] / 60:.0f}",
        threads=training["machine"]["threads"],
        losses=", ".join(f"{row['loss']:.3f}" for row in curve),
        aucs=", ".join(f"{row['dev_auc']:.4f}" for row in curve),
        threshold=f"{point.threshold:.4f}",
        band_low=f"{point.band_low:.4f}",
        target=point.target,
        measured_on=point.measured_on,
        bpcer=rate(point.bpcer),
        tests=tests_section(manifest.parity),
        licence=manifest.licence,
        widened=widened(manifest),
        flips=f"{manifest.parity_limits.get('flips', 0):.2%}",
        change=f"{manifest.parity_limits.get('rate', 0) * 100:.2g}",
        kept=", ".join(manifest.calibration.kept_in_float if manifest.calibration else []) or "none",
        tools=", ".join(f"{name} {version}" for name, version in manifest.tools.items()),
    )
