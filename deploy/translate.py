"""Prints template.yaml as SAM hands it to CloudFormation: linters do not see into a SAM function's events.

    python deploy/translate.py > translated.json

Runs where aws-sam-cli is installed; without a network and without an account.
"""

from __future__ import annotations

import json
import os
from typing import Any

from bundle import ROOT


class _NoManagedPolicies:
    """The translator asks for AWS's managed policies; the template names none."""

    def load(self) -> dict[str, str]:
        """Nothing."""
        return {}


def translated() -> dict[str, Any]:
    """The template without its transform.

    Raises:
        samtranslator.model.exceptions.InvalidDocumentException: SAM does not take it.
    """
    os.environ.setdefault("AWS_DEFAULT_REGION", "eu-west-1")
    from samcli.yamlhelper import yaml_parse  # noqa: PLC0415 - the region has to be set before
    from samtranslator.translator.transform import transform  # noqa: PLC0415

    document = yaml_parse((ROOT / "template.yaml").read_text(encoding="utf-8"))
    for resource in document["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            # Where `sam deploy` will have put the zip.
            resource["Properties"]["CodeUri"] = "s3://bucket/key"
    result: dict[str, Any] = transform(document, {}, _NoManagedPolicies())
    return result


if __name__ == "__main__":
    print(json.dumps(translated(), indent=2, default=str))
