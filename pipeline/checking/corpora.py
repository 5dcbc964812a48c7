"""Check of a corpus adapter: its findings below the corpus's root, as in the stage `corpus`."""

from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from data_manifest.corpora.adapters import CorpusConfig, scan
from data_manifest.corpora.contract import Findings
from data_manifest.manifest.clips import ALL_EMOTIONS, ManifestConfig
from pipeline.base.errors import ParameterError
from pipeline.base.params import PARAMS_FILE, check, read_params, read_section
from pipeline.base.registry import suggest
from pipeline.base.selection import count_noun, shorten
from pipeline.checking._sections import change
from pipeline.checking.arguments import Request
from pipeline.checking.clips import CLIPS, render_sample
from pipeline.checking.reports import FOLDER, CheckReport, measure, prepare, try_reference
from pipeline.drawing.figure import COLOURS, save


def check_adapter(request: Request) -> CheckReport:
    """Check an adapter by what it finds below the root of its corpus."""
    params = read_params()
    corpora = check(params.get("corpora"), dict[str, CorpusConfig], where=f"{PARAMS_FILE}: corpora")
    current = corpora.get(request.corpus)
    if current is None and "root" not in request.changes:
        hint = suggest(request.corpus, corpora)
        raise ParameterError(f"{request.section} is not in {PARAMS_FILE}: set {request.section}.root; {hint}")
    values = change(current.model_dump() if current else {}, request)
    mine = check({request.corpus: values}, dict[str, CorpusConfig], where="corpora")[request.corpus]
    with TemporaryDirectory() as folder:
        origin = mine.root
        if request.corpus in (params.get("render") or {}) and not Path(mine.root).exists():
            render_sample(Path(folder))
            origin = f"{CLIPS} clips of the sample corpus, rendered for this check"
            mine = mine.model_copy(update={"root": folder})
            current = current.model_copy(update={"root": folder}) if current else None
        return _compare(request, mine, current, origin)


def _compare(request: Request, mine: CorpusConfig, current: CorpusConfig | None, origin: str) -> CheckReport:
    (findings, *_), ms = measure(partial(scan, request.corpus), [mine])
    results, times = {mine.adapter: findings}, {mine.adapter: ms / len(findings.files)}
    notes = [_describe(findings), *findings.notes, *_unknown_emotions(findings)]
    if current is not None and current.adapter != mine.adapter:
        other = try_reference(current.adapter, partial(measure, partial(scan, request.corpus), [current]), notes)
        if other is not None:
            results[current.adapter] = other[0][0]
            times[current.adapter] = other[1] / len(other[0][0].files)
    picture = FOLDER / f"{request.key}.png"
    _draw_emotions(results, picture)
    return CheckReport(f"corpus adapter {mine.adapter!r}", origin, times, "media file", notes, picture)


def _describe(findings: Findings) -> str:
    speakers = count_noun(len({it.speaker for it in findings.candidates}), "speaker")
    return f"{count_noun(len(findings.candidates), 'clip')} of {speakers}, {len(findings.left_out)} files left out"


def _unknown_emotions(findings: Findings) -> list[str]:
    known = {*ALL_EMOTIONS, *read_section("manifest", ManifestConfig).merge}
    unknown = sorted({it.emotion for it in findings.candidates} - known)
    if not unknown:
        return []
    hint = suggest(unknown[0], ALL_EMOTIONS)
    return [f"clips of unknown emotions are left out, unless manifest.merge renames them: {shorten(unknown)}; {hint}"]


def _draw_emotions(results: Mapping[str, Findings], path: Path) -> None:
    """Draw how many clips each adapter finds of each emotion."""
    counts = {name: Counter(it.emotion for it in findings.candidates) for name, findings in results.items()}
    emotions = sorted(set().union(*counts.values()))
    figure = Figure(figsize=(6, 1.2 + 0.35 * len(emotions)), layout="constrained")
    axis = figure.subplots()
    height = 0.8 / len(counts)
    for number, ((name, count), colour) in enumerate(zip(counts.items(), COLOURS, strict=False)):
        positions = [row + number * height for row in range(len(emotions))]
        axis.barh(positions, [count[it] for it in emotions], height=height, color=colour, label=name)
    middle = (len(counts) - 1) * height / 2
    axis.set_yticks([row + middle for row in range(len(emotions))], emotions, fontsize=9)
    axis.invert_yaxis()
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_title("Clips by emotion", fontsize=10)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    save(figure, prepare(path))
