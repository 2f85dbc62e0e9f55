"""Formatting and lint of Nix files, on the tree that tree-sitter makes of them.

nixfmt, statix and deadnix have no package that pip or Debian could install. The rules here are theirs, as far as the
project needs them; `nixfmt --width=120` makes files that obey the first three.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import tree_sitter_nix
from tree_sitter import Language, Node, Parser

WIDTH = 120
STRINGS = ("indented_string_expression", "string_expression", "comment")
"""What may span lines whose indentation is its own."""

ATOMS = ("variable_expression", "parenthesized_expression", "list_expression")

_PARSER = Parser(Language(tree_sitter_nix.language()))


def findings(source: bytes) -> list[str]:
    """What is wrong with a file, one `LINE: WHAT` for each; nothing is wrong with most."""
    # The grammar does not know the comma after the last argument, which Nix allows and nixfmt writes.
    root = _PARSER.parse(re.sub(rb",(?=\s*\})", b" ", source)).root_node
    if root.has_error:
        return [f"{_line(node)}: is no Nix" for node in _walk(root) if node.type == "ERROR" or node.is_missing]
    found = [*_format(source, root)]
    for node in _walk(root):
        for rule in RULES:
            found += [f"{_line(at)}: {what}" for at, what in rule(node)]
    return found


def _format(source: bytes, root: Node) -> Iterator[str]:
    """Spaces and line ends, as nixfmt has them."""
    if not source.endswith(b"\n") or source.endswith(b"\n\n"):
        yield "1: the file ends with one line end"
    inside = {
        row
        for node in _walk(root)
        if node.type in STRINGS
        for row in range(node.start_point.row + 1, node.end_point.row + 1)
    }
    before = 0
    for row, line in enumerate(source.decode().split("\n")):
        number = row + 1
        if line != line.rstrip() and row not in inside:
            yield f"{number}: space at the end"
        if len(line.strip()) > WIDTH and not line.rstrip().endswith(
            ('"', '";', '",')
        ):  # nixfmt does not break a string
            yield f"{number}: {len(line)} characters, more than {WIDTH}"
        indent = len(line) - len(line.lstrip(" "))
        if row in inside or not line.strip():
            continue
        if "\t" in line[: indent + 1] or indent % 2 or indent > before + 2:
            yield f"{number}: indented by {indent} after {before}"
        before = indent


def _unused(node: Node) -> Iterator[tuple[Node, str]]:
    """deadnix: names that nothing uses."""
    if node.type == "let_expression":
        for bound in _bound(_child(node, "binding_set")):
            if not _uses(node, bound):
                yield bound, f"`{_text(bound)}` is not used"
    if node.type == "function_expression":
        formals = node.child_by_field_name("formals")
        body = node.child_by_field_name("body")
        whole = node.child_by_field_name("universal")
        for formal in _children(formals, "formal"):
            name = formal.child_by_field_name("name")
            if name and body and not _uses(node, name):
                yield name, f"argument `{_text(name)}` is not used"
        if whole and body and not _text(whole).startswith("_") and not _uses(body, whole):
            yield whole, f"argument `{_text(whole)}` is not used: call it `_`"


def _manual_inherit(node: Node) -> Iterator[tuple[Node, str]]:
    """statix: `x = x;` and `x = a.x;`."""
    if node.type != "binding":
        return
    path, value = node.child_by_field_name("attrpath"), node.child_by_field_name("expression")
    if path is None or value is None or path.named_child_count != 1:
        return
    name = _text(path)
    if value.type == "variable_expression" and _text(value) == name:
        yield node, f"`inherit {name};`"
    if value.type == "select_expression" and value.child_by_field_name("default") is None:
        selected = value.child_by_field_name("attrpath")
        if selected and _text(selected).split(".")[-1] == name and '"' not in _text(selected):
            yield node, f"`inherit (…) {name};`"


def _needless(node: Node) -> Iterator[tuple[Node, str]]:
    """statix: what could be left out or said more plainly."""
    body = node.child_by_field_name("body")
    inner = node.child_by_field_name("expression")
    match node.type:
        case "with_expression":
            yield node, "`with` hides where a name comes from: `inherit (…)`"
        case "parenthesized_expression" if inner and inner.type in ATOMS:
            yield node, "needless parentheses"
        case "let_expression":
            if not _bound(_child(node, "binding_set")):
                yield node, "`let` without names"
            if body and body.type == "let_expression":
                yield node, "`let` in `let`"
        case "uri_expression" | "let_attrset_expression":
            yield node, "syntax that Nix gives up"


RULES = (_unused, _manual_inherit, _needless)


def _bound(bindings: Node | None) -> list[Node]:
    """The names that a `let` binds."""
    names = []
    for child in bindings.named_children if bindings else []:
        if child.type == "binding":
            path = child.child_by_field_name("attrpath")
            names += path.named_children[:1] if path else []
        elif child.type in ("inherit", "inherit_from"):
            attributes = child.child_by_field_name("attrs")
            names += attributes.named_children if attributes else []
    return [name for name in names if name.type == "identifier"]


def _uses(scope: Node, name: Node) -> bool:
    """Whether anything in `scope` reads a variable of that name. Shadows are not told apart."""
    wanted = _text(name)
    for node in _walk(scope):
        if node.type == "variable_expression" and _text(node) == wanted:
            return True
        if node.type == "inherit":
            attributes = node.child_by_field_name("attrs")
            if attributes and any(_text(each) == wanted and each != name for each in attributes.named_children):
                return True
    return False


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _walk(child)


def _child(node: Node, kind: str) -> Node | None:
    return next(iter(_children(node, kind)), None)


def _children(node: Node | None, kind: str) -> list[Node]:
    return [child for child in node.children if child.type == kind] if node else []


def _text(node: Node) -> str:
    return (node.text or b"").decode()


def _line(node: Node) -> int:
    return node.start_point.row + 1
