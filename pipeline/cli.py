"""The command `fdan`. Heavy imports stand inside the commands, so that `--help` is there at once."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.errors import ParameterError, StoreError, for_people
from pipeline.registry import suggestion

if TYPE_CHECKING:
    from pipeline.weights import WeightFile

app = typer.Typer(no_args_is_help=True, help="Audio-visual speech emotion recognition on cached embeddings.")
console = Console()
RESULTS = Path("results")


@app.command()
def info(
    path: Annotated[Path | None, typer.Argument(help="An HDF5 file of this pipeline; without it: the results.")] = None,
) -> None:
    """Say what a file of the pipeline holds and what made it, or show the results of the last `dvc repro`."""
    with for_people():
        if path is None:
            _show_results()
        else:
            _show_file(path)


def _show_results() -> None:
    from pipeline.evaluation import headline

    path = RESULTS / "metrics.json"
    try:
        metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        title = f"{metrics['clips']} clips, {len(metrics['left_out'])} left out; test parts, in %"
        rows = headline(metrics)
    except FileNotFoundError:
        raise StoreError(f"{path} is not there; run: dvc repro") from None
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{path} is damaged or of another version ({error!r}); run: dvc repro --force evaluate"
        ) from error
    table = Table("protocol", "modality", title=title, title_justify="left")
    for column in ("WAR", "UAR", "95 % interval of UAR", "baseline UAR"):
        table.add_column(column, justify="right")
    for row in rows:
        low, high = row["uar_interval"]
        figures = [
            f"{100 * row['war']:.1f}",
            f"{100 * row['uar']:.1f}",
            f"{100 * low:.1f} to {100 * high:.1f}",
        ]
        table.add_row(escape(row["protocol"]), row["modality"], *figures, f"{100 * row['baseline_uar']:.1f}")
    console.print(table)
    if "warning" in metrics:
        console.print(f"Warning: {metrics['warning']}.", style="bold yellow", highlight=False)
    console.print(f"Report: {(RESULTS / 'report.html').resolve()}", highlight=False, soft_wrap=True, markup=False)


@app.command()
def configure(
    name: Annotated[str, typer.Argument(help="What to call the corpus: that of its adapter, if you like.")],
    root: Annotated[Path, typer.Option(help="The folder that it lies in.")],
    adapter: Annotated[str, typer.Option(help="How its files are labelled; by default the adapter of that name.")] = "",
    option: Annotated[list[str] | None, typer.Option(help="An option of the adapter, as in vocal=song.")] = None,
    add: Annotated[bool, typer.Option("--add", help="Keep the corpora that are there; by default they go.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Look only; change nothing.")] = False,
) -> None:
    """Point params.yaml at a corpus, and say what it holds: clips, speakers, emotions, modalities, oddities."""
    with for_people():
        from data_manifest.configure import names, protocols_for, survey, write_params
        from data_manifest.corpora import CorpusConfig
        from data_manifest.manifest import ManifestConfig
        from pipeline.params import check, read_section

        where = str(root.expanduser().resolve())
        entry = {"adapter": adapter or name, "root": where} | ({"options": _options(option)} if option else {})
        config = check({name: entry}, dict[str, CorpusConfig], where="corpora")[name]
        found = survey(name, config, read_section("manifest", ManifestConfig))
        table = Table(show_header=False, title=f"{name}: {config.root}", title_justify="left")
        table.add_row("clips", str(found.clips))
        table.add_row("speakers", str(len(found.speakers)))
        table.add_row("sentences", str(found.sentences))
        for what, counts in found.counts.items():
            table.add_row(what, escape(", ".join(names(counts))) or "none")
        for oddity in found.oddities:
            table.add_row("oddity", escape(oddity))
        console.print(table)
        if dry_run:
            return
        for change in write_params(entry, name, protocols_for(config.adapter, found), add=add):
            console.print(f"params.yaml: {change}", markup=False, highlight=False, soft_wrap=True)
        console.print("Next: fdan doctor, then dvc repro", highlight=False)


@app.command()
def ablate(
    rows: Annotated[str, typer.Option(help="Rows of params.yaml: ablations, as in full,concat; all by default.")] = "",
    grid: Annotated[list[str] | None, typer.Option(help="Values to cross, as in head.width=128,256.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds each fold is trained with.")] = 1,
    csv: Annotated[Path | None, typer.Option(help="Where to write a line for every run.")] = None,
) -> None:
    """Train variants of the head on the cached embeddings, and compare them in pairs with the row `full`.

    What was trained before, or before it was stopped, is taken from the memo.
    """
    with for_people():
        from pipeline.ablation import REFERENCE, compare, cross, least_p, override, run_table, write_runs
        from pipeline.evaluation import SIGNIFICANT
        from pipeline.experiments import open_corpus, plan_ablation, read_recipe
        from pipeline.extraction import progress
        from pipeline.parallel import RunConfig
        from pipeline.params import read_section

        recipe = read_recipe()
        table = read_section("ablations", dict[str, dict[str, dict[str, Any]]])
        wanted = [it.strip() for it in rows.split(",") if it.strip()] or ([] if grid else list(table))
        for name in wanted:
            if name not in table:
                raise ParameterError(f"--rows {name}: no such row in params.yaml; {suggestion(name, table)}")
        chosen: dict[str, dict[str, dict[str, Any]]] = (
            {REFERENCE: {}} | {name: table[name] for name in wanted} | cross(grid or [])
        )
        chosen.pop("", None)  # the grid of nothing
        recipes = {name: override(recipe, overrides, row=name) for name, overrides in chosen.items()}
        corpus = open_corpus()
        runs = plan_ablation(corpus, range(seeds))
        tested = run_table(corpus, recipes, runs, read_section("run", RunConfig))
        with progress() as bar:
            total = len(recipes) * len(runs)
            shown = bar.track(tested, total=total, task_id=bar.add_task("ablate", total=total, told=""))
            figures = write_runs(csv or RESULTS / "ablate.csv", shown, corpus.classes)
        _show_comparison(compare(figures), f"{len(runs)} runs a row, folds and seeds of {runs[0].split.protocol}")
        if (least := least_p(len(runs))) >= SIGNIFICANT:
            console.print(
                f"With {len(runs)} runs, p cannot be less than {least:.3f}: use more --seeds.", highlight=False
            )
        if warning := corpus.summary().get("warning"):
            console.print(f"Warning: {warning}.", style="bold yellow", highlight=False)


def _show_comparison(rows: Sequence[Mapping[str, Any]], title: str) -> None:
    table = Table("row", title=f"UAR of the fusion, in %; {title}", title_justify="left")
    for column in ("mean ± sd", "difference to full", "95 % interval", "p", "p, Holm"):
        table.add_column(column, justify="right")
    for row in rows:
        spread = "" if row["sd"] is None else f" ± {100 * row['sd']:.1f}"
        tests = ["" if row[name] is None else f"{row[name]:.3f}" for name in ("p", "p_holm")]
        low, high = row["interval_95"]
        interval = f"{100 * low:+.1f} to {100 * high:+.1f}" if row["p"] is not None else ""
        figures = [f"{100 * row['mean']:.1f}{spread}", f"{100 * row['difference']:+.1f}", interval]
        table.add_row(escape(row["row"]), *figures, *tests)
    console.print(table)


def _options(texts: Sequence[str]) -> dict[str, Any]:
    """Return the options of a command line, their values read as YAML reads them."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if wrong := [text for text in texts if "=" not in text]:
        raise ParameterError(f"--option {wrong[0]}: write it as name=value")
    options = {}
    for name, _, value in (text.partition("=") for text in texts):
        try:
            options[name] = YAML(typ="safe").load(value)
        except YAMLError as error:
            raise ParameterError(f"--option {name}={value}: the value cannot be read; put quotes round it") from error
    return options


@app.command()
def doctor() -> None:
    """Check environment, parameters, weights, corpora and protocols: what is there, what is missing, what to do."""
    from pipeline.doctor import examine

    signs = {"ok": "[green]ok[/green]   ", "note": "[yellow]note[/yellow] ", "fault": "[red]FAULT[/red]"}
    faults = 0
    for check in examine():
        faults += check.state == "fault"
        line = f"{signs[check.state]} [bold]{escape(check.subject)}[/bold]: {escape(check.finding)}"
        console.print(line, highlight=False, soft_wrap=True)
    if faults:
        raise typer.Exit(1)


@app.command()
def memo(
    older_than: Annotated[str, typer.Option(help="Prune what was written longer ago: 12h, 30d, 8w.")] = "",
    max_size: Annotated[str, typer.Option(help="Prune the oldest until no more is left: 500MB, 20GB.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Really remove; without it, say what would go.")] = False,
) -> None:
    """Show what the memo holds, step by step, and prune it: everything in it can be computed again."""
    with for_people():
        import time

        from pipeline.memo import Memo, to_prune

        kept = Memo()
        entries = kept.entries()
        limits = {"older_than_s": _quantity(older_than, AGES_S), "max_bytes": _quantity(max_size, SIZES_BYTES)}
        going = set(to_prune(entries, now_s=time.time(), **limits))
        table = Table("step", title=str(kept.folder), title_justify="left")
        for column in ("entries", "MB", "to prune", "MB to prune"):
            table.add_column(column, justify="right")
        for step in [*sorted({entry.step for entry in entries}), None]:
            own = [entry for entry in entries if step in (None, entry.step)]
            pruned = [entry for entry in own if entry in going]
            megabytes = [f"{sum(entry.size_bytes for entry in some) / 1e6:.1f}" for some in (own, pruned)]
            table.add_row(step or "all", str(len(own)), megabytes[0], str(len(pruned)), megabytes[1])
        console.print(table)
        if yes:
            for entry in going:
                entry.path.unlink(missing_ok=True)
            console.print(f"{len(going)} entries removed")
        elif going:
            console.print("Nothing was removed; --yes removes it.")


AGES_S = {"h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
SIZES_BYTES = {"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}


def _quantity(text: str, units: Mapping[str, float]) -> float | None:
    """Return a number with its unit as a number, or None for no text."""
    if not text:
        return None
    match = re.fullmatch(rf"(\d+(?:\.\d+)?)\s*({'|'.join(units)})", text, re.IGNORECASE)
    if not match:
        raise ParameterError(f"{text!r} is no number with one of the units {', '.join(units)}")
    return float(match[1]) * next(size for unit, size in units.items() if unit.lower() == match[2].lower())


weights_app = typer.Typer(no_args_is_help=True, help="The published weights of all models: what is there, and get it.")
app.add_typer(weights_app, name="weights")
Models = Annotated[
    list[str] | None, typer.Argument(help="Models, as in yunet resnet50; without any: all detectors and resnet34.")
]


def _published(models: list[str] | None) -> "dict[str, tuple[WeightFile, ...]]":
    """Return the files of the models named, or of the usual ones: torchvision's networks would be many gigabytes."""
    from pipeline import backbones, detectors

    known = detectors.WEIGHT_FILES | {name: (file,) for name, file in backbones.WEIGHT_FILES.items()}
    for name in models or ():
        if name not in known:
            raise ParameterError(f"no weights are published for {name!r}; {suggestion(name, known)}")
    usual = [name for name in sorted(known) if name in detectors.WEIGHT_FILES or name == "resnet34"]
    return {name: known[name] for name in models or usual}


@weights_app.command("list")
def list_weights(models: Models = None) -> None:
    """List every model's files: whether they are there, where they must lie, their address and checksum."""
    with for_people():
        for name, files in _published(models).items():
            for file in files:
                state = "[green]there[/green]  " if file.place.exists() else "[yellow]missing[/yellow]"
                told = escape(f"{file.place} from {file.url}, {file.checksum}")
                console.print(f"{state} [bold]{name}[/bold]: {told}", highlight=False, soft_wrap=True)


@weights_app.command()
def fetch(models: Models = None) -> None:
    """Fetch what is missing, and verify it."""
    with for_people():
        from pipeline.weights import obtain

        for name, files in _published(models).items():
            for file in files:
                console.print(f"{name}: {obtain(file)}", highlight=False, soft_wrap=True, markup=False)


@weights_app.command()
def verify(models: Models = None) -> None:
    """Compare what is there with the published checksums; exit status 1 if a file is another."""
    with for_people():
        faults = 0
        for name, files in _published(models).items():
            for file in files:
                if file.place.exists():
                    fault = file.fault()
                    faults += bool(fault)
                    found = fault or ("as published" if file.sha256 else file.checksum)
                    console.print(f"{name}: {file.place}: {found}", highlight=False, soft_wrap=True, markup=False)
    if faults:
        raise typer.Exit(1)


def _show_file(path: Path) -> None:
    from pipeline.store import describe

    for name, value in describe(path).items():
        console.print(f"[bold]{escape(name)}[/bold]: {escape(str(value))}", highlight=False, soft_wrap=True)


def main() -> None:
    """Run the command line."""
    app()
