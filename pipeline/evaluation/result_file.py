"""How files of results are written and read: JSON with a schema, checked on both sides."""

import json
from pathlib import Path
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.base.errors import StoreError
from pipeline.base.files import read_file, write_text


class Result(BaseModel):
    """A part of a result: immutable, without unknown keys, without infinities and NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ResultFile(Result):
    """A JSON file of results. `schema` names its layout and the version of that."""

    stage: ClassVar[str]  # the stage that writes the file
    schema_id: str = Field(alias="schema")

    def write(self, path: Path, *, indent: int | None = 2) -> None:
        """Write the file, whole or not at all."""
        write_text(path, json.dumps(self.model_dump(mode="json", by_alias=True), indent=indent) + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return the file's content; raise a `StoreError` if it is missing, damaged or of another schema."""
        try:
            content = json.loads(read_file(path, raises=StoreError, fix="run: dvc repro"))
        except (ValueError, RecursionError) as error:
            raise cls._unreadable(path, str(error)) from error
        schema = content.get("schema") if isinstance(content, dict) else None
        expected = cls.model_fields["schema_id"].default
        if schema != expected:
            raise cls._unreadable(path, f"its schema is {schema!r}, not {expected!r}")
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            raise cls._unreadable(path, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error

    @classmethod
    def _unreadable(cls, path: Path, reason: str) -> StoreError:
        return StoreError(f"{path} is damaged or of another version ({reason}); run: dvc repro --force {cls.stage}")
