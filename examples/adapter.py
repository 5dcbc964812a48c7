"""A corpus adapter for files that are named `{speaker}_{emotion}_{take}.mp4`, as those of the sample corpus are.

In params.yaml: `corpora: {takes: {adapter: "adapter:find", root: /data/takes, options: {separator: "-"}}}`.
"""

from pathlib import Path, PurePosixPath

from pydantic import Field

from fdan import Candidate, Config, Findings, media_files, takes_options


class Options(Config):
    """What `corpora.NAME.options` may contain."""

    separator: str = Field("_", min_length=1)
    """What is between the parts of a name."""


@takes_options(Options)
def find(root: Path, options: Options) -> Findings:
    """Return the clips below `root`, and a reason for every media file that is left out. No media are opened."""
    separator = options.separator
    findings = Findings(expected_names=separator.join(("{speaker}", "{emotion}", "{take}.mp4")))
    for path in media_files(root):  # relative to the root, as everything in the findings
        parts = PurePosixPath(path).stem.split(separator)
        if len(parts) == 3:
            speaker, emotion, _ = parts
            findings.candidates.append(Candidate(path, emotion, speaker))
        else:
            findings.left_out[path] = "its name does not have three parts"
    return findings
