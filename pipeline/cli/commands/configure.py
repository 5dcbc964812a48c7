"""Point the parameters at a corpus."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from pipeline.base.errors import ParameterError, exit_with_message
from pipeline.cli.console import console


def configure(
    name: Annotated[str, typer.Argument(help="What to call the corpus: that of its adapter, if you like.")],
    root: Annotated[Path, typer.Option(help="The folder that it lies in.")],
    adapter: Annotated[str, typer.Option(help="How its files are labelled; by default the adapter of that name.")] = "",
    option: Annotated[list[str] | None, typer.Option(help="An option of the adapter, as in vocal=song.")] = None,
    add: Annotated[bool, typer.Option("--add", help="Keep the corpora that are there; by default they go.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Look only; change nothing.")] = False,
) -> None:
    """Point params.yaml at a corpus, and say what it holds: clips, speakers, emotions, modalities, oddities."""
    with exit_with_message():
        from data_manifest.corpora.adapters import CorpusConfig
        from data_manifest.manifest.clips import ManifestConfig
        from pipeline.base.params import check, read_section
        from pipeline.cli.configure import describe_counts, protocols_for, survey, write_params

        where = str(root.expanduser().resolve())
        entry = {"adapter": adapter or name, "root": where} | ({"options": _options(option)} if option else {})
        config = check({name: entry}, dict[str, CorpusConfig], where="corpora")[name]
        found = survey(name, config, read_section("manifest", ManifestConfig))
        table = Table(show_header=False, title=f"{name}: {config.root}", title_justify="left")
        table.add_row("clips", str(found.clips))
        table.add_row("speakers", str(len(found.speakers)))
        table.add_row("sentences", str(found.sentences))
        for what, counts in found.counts.items():
            table.add_row(what, escape(", ".join(describe_counts(counts))) or "none")
        for oddity in found.oddities:
            table.add_row("oddity", escape(oddity))
        console.print(table)
        if dry_run:
            return
        for change in write_params(entry, name, protocols_for(config.adapter, found), add=add):
            console.print(f"params.yaml: {change}", markup=False, highlight=False, soft_wrap=True)
        console.print("Next: fdan doctor, then dvc repro", highlight=False)


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
