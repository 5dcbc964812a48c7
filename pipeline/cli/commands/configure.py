"""Point the parameters at a corpus."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from pipeline.base.errors import ParameterError, exit_with_message
from pipeline.cli.console import console, plain


def configure(
    name: Annotated[str, typer.Argument(help="A name for the corpus, usually that of its adapter.")],
    root: Annotated[Path, typer.Option(help="The folder of the corpus.")],
    adapter: Annotated[str, typer.Option(help="The adapter that reads its labels; by default, the one of NAME.")] = "",
    option: Annotated[list[str] | None, typer.Option(help="An option of the adapter, for example vocal=song.")] = None,
    follow_links: Annotated[
        bool, typer.Option("--follow-links", help="Also use files outside the folder that links in it lead to.")
    ] = False,
    add: Annotated[bool, typer.Option("--add", help="Keep the configured corpora; by default, replace them.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the survey only; change nothing.")] = False,
) -> None:
    """Survey a corpus (clips, speakers, emotions, modalities, notes) and point params.yaml at it."""
    with exit_with_message():
        from data_manifest.corpora.adapters import CorpusConfig
        from data_manifest.manifest.clips import ManifestConfig
        from pipeline.base.params import check, read_section
        from pipeline.cli.survey import describe_counts, describe_protocol, protocols_for, survey_corpus, write_params

        folder = str(root.expanduser().resolve())
        entry: dict[str, Any] = {"adapter": adapter or name, "root": folder}
        entry |= {"follow_links": True} if follow_links else {}
        entry |= {"options": _options(option)} if option else {}
        config = check({name: entry}, dict[str, CorpusConfig], where="corpora")[name]
        survey = survey_corpus(name, config, read_section("manifest", ManifestConfig))
        table = Table(show_header=False, title=plain(f"{name}: {config.root}"), title_justify="left")
        table.add_row("clips", str(survey.clips))
        table.add_row("speakers", str(len(survey.speakers)))
        table.add_row("sentences", str(survey.sentences))
        for title, counts in survey.counts.items():
            table.add_row(title, plain(", ".join(describe_counts(counts))) or "none")
        for note in survey.notes:
            table.add_row("note", plain(note))
        console.print(table)
        if dry_run:
            return
        protocols = protocols_for(config.adapter, survey)
        for change in write_params(entry, name, protocols, add=add):
            console.print(f"params.yaml: {plain(change)}", highlight=False, soft_wrap=True)
        for label, protocol in protocols.items() if not add else ():
            line = describe_protocol(label, protocol, len(survey.speakers))
            console.print(f"protocols.{line}", highlight=False, soft_wrap=True)
        console.print("Next: fdan doctor, then dvc repro", highlight=False)


def _options(texts: Sequence[str]) -> dict[str, Any]:
    """Return the options of a command line, their values parsed as YAML."""
    from pipeline.base.params import parse_yaml

    if invalid := [text for text in texts if "=" not in text]:
        raise ParameterError(f"--option {invalid[0]}: write it as name=value")
    options = {}
    for name, _, value in (text.partition("=") for text in texts):
        options[name] = parse_yaml(value, where=f"--option {name}={value}: the value")
    return options
