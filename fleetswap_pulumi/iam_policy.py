"""IAM policy documents, as the JSON that roles take."""

from __future__ import annotations

import json
from collections.abc import Mapping


def document(statement: Mapping[str, object]) -> str:
    """A policy of one statement (IAM user guide, "IAM JSON policy elements")."""
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def trust(service: str) -> str:
    """The policy by which an AWS service, such as `ec2.amazonaws.com`, may assume a role."""
    return document({"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"})
