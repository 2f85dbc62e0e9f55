"""Break the state machine in every small way, and tell which of the breaks no test notices: mutation testing.

    make mutants ARGS="gate rates"     # modules of fleetswap/domain/rollout; without a name all of them
    make mutants ARGS="--fresh"        # forget what earlier runs found

mutmut makes the mutants and forks a run of tests for each; this adds what it cannot break (operators below, decorated
classes, properties), and holds what survives against `tests/rollout/mutants.toml`, where a mutant that changes nothing
has its reason. What was killed stays killed until its function changes. A mutant meets the quick tests; with `--long`
what survives those meets the simulator, too. Words for people are not mutated, and neither are constants.

Exit status 1: a survivor has no reason, or a reason has no mutant.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import re
import shutil
import sys
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libcst as cst
import mutmut
from mutmut import __main__ as engine
from mutmut.configuration import Config
from mutmut.mutation import file_mutation, mutators
from mutmut.mutation.data import SourceFileMutationData

HERE = Path("mutants")
"""Where mutmut works; its name for it."""
STATS = HERE / "mutmut-stats.json"
STAMP = HERE / "made-by"
"""Which version of this file made the mutants: other operators give them other numbers."""
REASONS = Path("tests/rollout/mutants.toml")

QUICK, LONG = 3.0, 60.0
"""Seconds of tests that a mutant meets at most, the shortest ones first."""
SLOW_TESTS = ("test_judgement.py", "test_run.py", "test_simulator.py")
"""Whole rollouts in simulated worlds by the thousand: only with `--long`."""

SURVIVED, NO_TESTS = 0, 33
"""mutmut's exit codes of a mutant that lives."""


@dataclass(frozen=True)
class Mutant:
    """One change of one function: its line or lines before and after, without the indentation."""

    where: str
    was: str
    now: str


def main() -> int:
    """Make the mutants of the named modules, run those not known to be killed, and judge what is left."""
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument(
        "modules", nargs="*", help="modules of fleetswap/domain/rollout; without one all that mutmut is set to"
    )
    parser.add_argument("--fresh", action="store_true", help="forget what earlier runs found")
    parser.add_argument("--long", action="store_true", help="let the simulator try what survives the quick tests")
    parser.add_argument("--list", action="store_true", help="only tell what earlier runs found")
    asked = parser.parse_args()
    os.nice(19 - os.nice(0))
    teach()
    if not asked.list:
        if asked.fresh or not STAMP.exists() or STAMP.read_text(encoding="utf-8") != _version():
            shutil.rmtree(HERE, ignore_errors=True)
        forget_old_copies()
        generate()
        run(asked.modules, QUICK, [f"--ignore=tests/rollout/{name}" for name in SLOW_TESTS])
        if asked.long:
            run(asked.modules, LONG, [])
    return report(asked.modules)


def say(text: str) -> None:
    """Print a line, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


# What mutmut does not break by itself.


def negated(node: cst.If | cst.While | cst.CompIf | cst.IfExp) -> Iterator[cst.CSTNode]:
    """`if a:` as `if not a:`, where mutmut has no such mutant of the condition itself."""
    if isinstance(node.test, cst.UnaryOperation) and isinstance(node.test.operator, cst.Not):
        return
    either_way = cst.Equal, cst.NotEqual, cst.Is, cst.IsNot, cst.In, cst.NotIn
    if isinstance(node.test, cst.Comparison) and isinstance(node.test.comparisons[0].operator, either_way):
        return
    yield node.with_changes(test=_not(node.test))


def unguarded(node: cst.MatchCase) -> Iterator[cst.CSTNode]:
    """`case A() if b:` as `case A():`, and with the guard negated."""
    if node.guard is not None:
        none = cst.SimpleWhitespace("")
        yield node.with_changes(guard=None, whitespace_before_if=none, whitespace_after_if=none)
        yield node.with_changes(guard=_not(node.guard))


def one_side(node: cst.BooleanOperation) -> Iterator[cst.CSTNode]:
    """`a and b` as `a`, and as `b`."""
    for side in (node.left, node.right):
        yield side.with_changes(lpar=[*node.lpar, *side.lpar], rpar=[*side.rpar, *node.rpar])


def less_told(node: cst.Call) -> Iterator[cst.CSTNode]:
    """A call without one of its keyword arguments."""
    for index, argument in enumerate(node.args):
        if argument.keyword is not None:
            yield node.with_changes(args=[*node.args[:index], *node.args[index + 1 :]])


def shorter(node: cst.List) -> Iterator[cst.CSTNode]:
    """A list without one of its elements."""
    for index in range(len(node.elements)):
        yield node.with_changes(elements=[*node.elements[:index], *node.elements[index + 1 :]])


def nothing(node: cst.SimpleStatementLine) -> Iterator[cst.CSTNode]:
    """A statement left out: a call for its effect, a `yield`, a `raise`."""
    statement = node.body[0]
    value = statement.value if isinstance(statement, cst.Expr) else None
    if isinstance(statement, cst.Raise) or isinstance(value, cst.Call):
        yield node.with_changes(body=[cst.Pass()])
    elif isinstance(value, cst.Yield):
        yield node.with_changes(body=[cst.parse_statement("yield from ()").body[0]])  # type: ignore[index]


def another_word(node: cst.SimpleString) -> Iterator[cst.CSTNode]:
    """Another string, where it is no text for people."""
    if re.fullmatch(r"""["'][\w:./-]+["']""", node.value):
        yield node.with_changes(value=f"{node.value[0]}XX{node.value[1:]}")


def _not(expression: cst.BaseExpression) -> cst.UnaryOperation:
    inner = expression.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
    return cst.UnaryOperation(cst.Not(), inner)


OURS: list[tuple[Any, Callable[[Any], Iterable[cst.CSTNode]]]] = [
    (cst.If, negated),
    (cst.While, negated),
    (cst.CompIf, negated),
    (cst.IfExp, negated),
    (cst.MatchCase, unguarded),
    (cst.BooleanOperation, one_side),
    (cst.Call, less_told),
    (cst.List, shorter),
    (cst.SimpleStatementLine, nothing),
    (cst.SimpleString, another_word),
]

NOT_WANTED = {"operator_string", "operator_arg_removal", "operator_dict_arguments", "operator_assignment"}
"""mutmut's operators that are replaced by ours above, or make what mypy would refuse: None in the place of a value."""


class Undecorate(cst.CSTTransformer):
    """`@d class A` as `class A`, then `A = d(A)`; the same for a property. mutmut mutates nothing under a decorator."""

    def leave_ClassDef(  # noqa: N802 - libcst's name
        self, original_node: cst.ClassDef, updated_node: cst.ClassDef
    ) -> cst.BaseStatement | cst.FlattenSentinel[cst.BaseStatement]:
        """Every class with one decorator."""
        return self._undecorated(original_node, updated_node)

    def leave_FunctionDef(  # noqa: N802 - libcst's name
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.BaseStatement | cst.FlattenSentinel[cst.BaseStatement]:
        """Every property."""
        names = [d.decorator.value for d in original_node.decorators if isinstance(d.decorator, cst.Name)]
        return self._undecorated(original_node, updated_node) if names == ["property"] else updated_node

    def _undecorated(
        self, before: cst.ClassDef | cst.FunctionDef, node: cst.ClassDef | cst.FunctionDef
    ) -> cst.BaseStatement | cst.FlattenSentinel[cst.BaseStatement]:
        if len(before.decorators) != 1:
            return node
        name, decorator = node.name.value, cst.Module([]).code_for_node(before.decorators[0].decorator)
        after = cst.parse_statement(f"{name} = {decorator}({name})")
        return cst.FlattenSentinel([node.with_changes(decorators=[]), after])


def undecorated(code: str) -> str:
    """A module's source without the decorators that mutmut stops at; it means the same."""
    return cst.parse_module(code).visit(Undecorate()).code


def teach() -> None:
    """Give mutmut our operators, and sources that it mutates in full."""
    unwanted = {*NOT_WANTED, *(operator.__name__ for _, operator in OURS)}  # ours, if it was taught before
    kept = [pair for pair in mutators.mutation_operators if pair[1].__name__ not in unwanted]
    mutators.mutation_operators[:] = [*kept, *OURS]  # type: ignore[index] # declared as a Sequence; it is a list
    original = file_mutation.mutate_file_contents

    def mutate(filename: str, code: str, covered_lines: set[int] | None = None) -> file_mutation.MutatedFile:
        return original(filename, undecorated(code), covered_lines)

    engine.mutate_file_contents = mutate  # type: ignore[attr-defined] # imported there
    # mutmut forgets all results when the selection of tests changes; ours changes within a run.
    Config.config_fingerprint = lambda _: {}  # type: ignore[method-assign, assignment]


# Running them


def forget_old_copies() -> None:
    """Copy again what is newer: mutmut copies a source once, and looks once which tests run which function."""
    for source in Path("fleetswap").rglob("*.py"):
        copy = HERE / source
        if copy.exists() and not Config.get().should_mutate(source):
            shutil.copy2(source, copy)
    mutated = [path for path in Path("fleetswap/domain/rollout").glob("*.py") if Config.get().should_mutate(path)]
    if STATS.exists() and any(path.stat().st_mtime > STATS.stat().st_mtime for path in mutated):
        STATS.unlink()
    for copy in [*(HERE / "fleetswap").rglob("*.py"), *(HERE / "tests").rglob("*.py")]:
        if not copy.relative_to(HERE).exists():
            copy.unlink()


def _version() -> str:
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


def generate() -> None:
    """Write the mutants down, so that it is known which are to be run."""
    Config.ensure_loaded()
    os.environ["MUTANT_UNDER_TEST"] = "mutant_generation"
    HERE.mkdir(exist_ok=True)
    STAMP.write_text(_version(), encoding="utf-8")
    with contextlib.redirect_stdout(None):
        engine.copy_src_dir()
        engine.copy_also_copy_files()
        engine.create_mutants(1)


def run(modules: Sequence[str], seconds: float, without: Sequence[str]) -> None:
    """Run the mutants that no test has killed and no reason explains, each with the shortest tests of so many seconds.

    `without` is handed to pytest, and tells what it leaves out.

    What is explained is run once, so that a reason whose mutant is killed by now is told.
    """
    known = reasons()
    codes = results(modules)
    open_ = [name for name, code in codes.items() if code is None]
    open_ += [name for name, code in codes.items() if code in {SURVIVED, NO_TESTS} and describe(name) not in known]
    if not open_:
        return
    say(f"\n{len(open_)} mutants, {seconds:g} s of tests at most")
    collect = engine.collect_or_load_stats

    def collect_less(*args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - handed on
        collect(*args, **kwargs)
        for function, tests in mutmut.tests_by_mangled_function_name.items():
            mutmut.tests_by_mangled_function_name[function] = set(shortest(tests, seconds))

    began, selection = time.monotonic(), Config.get().pytest_add_cli_args_test_selection
    Config.get().pytest_add_cli_args_test_selection = [*selection, *without]
    engine.collect_or_load_stats = collect_less
    try:
        engine._run(open_, 1)
    finally:
        engine.collect_or_load_stats = collect
        Config.get().pytest_add_cli_args_test_selection = selection
    say(f"{(time.monotonic() - began) / len(open_):.1f} s a mutant")


def shortest(tests: Iterable[str], seconds: float) -> Iterator[str]:
    """The shortest of the tests, until they take so many seconds together; one at least."""
    spent = 0.0
    for index, test in enumerate(sorted(tests, key=lambda test: (mutmut.duration_by_test[test], test))):
        spent += mutmut.duration_by_test[test]
        if spent > seconds and index:
            return
        yield test


def results(modules: Sequence[str]) -> dict[str, int | None]:
    """Every mutant of the modules, and the exit code of its tests; None: not run."""
    found: dict[str, int | None] = {}
    for path in engine.walk_mutatable_files():
        if not modules or path.stem in modules:
            data = SourceFileMutationData(path=path)
            data.load()
            found |= data.exit_code_by_key
    return found


# Judging them


def describe(name: str) -> Mutant:
    """A mutant by what it changes: mutmut's numbers change with every edit of the function."""
    path = Path(*name.split(".")[:3]).with_suffix(".py")
    lines = engine.get_diff_for_mutant(name, path=path).splitlines()[3:]
    was = "\n".join(line[1:].strip() for line in lines if line.startswith("-"))
    now = "\n".join(line[1:].strip() for line in lines if line.startswith("+"))
    function = engine.mangled_name_from_mutant_name(name).split(".")[-1]
    where = function.removeprefix("x").removeprefix("_").strip("ǁ").replace("ǁ", ".")
    return Mutant(f"{path.stem}.{where}", was, now)


def reasons() -> dict[Mutant, str]:
    """The mutants that may live, and why."""
    entries = tomllib.loads(REASONS.read_text(encoding="utf-8")).get("survivor", [])
    return {Mutant(entry["where"], entry["was"].strip(), entry["now"].strip()): entry["why"] for entry in entries}


def report(modules: Sequence[str]) -> int:
    """Print a line a module, every survivor without a reason, and every reason without a mutant."""
    known = reasons()
    all_of_them = results(modules)
    mutants = {name: describe(name) for name in all_of_them}
    living = [name for name, code in all_of_them.items() if code in {SURVIVED, NO_TESTS}]
    unexplained = [name for name in living if mutants[name] not in known]
    say(f"\n{'module':<12}{'mutants':>9}{'killed':>9}{'explained':>11}{'alive':>7}{'not run':>9}")
    for module in sorted({mutant.where.split(".")[0] for mutant in mutants.values()}):
        mine = {name: code for name, code in all_of_them.items() if mutants[name].where.split(".")[0] == module}
        alive = [name for name in unexplained if name in mine]
        explained = [name for name in living if name in mine and name not in alive]
        waiting = sum(code is None for code in mine.values())
        killed = len(mine) - len(alive) - len(explained) - waiting
        say(f"{module:<12}{len(mine):>9}{killed:>9}{len(explained):>11}{len(alive):>7}{waiting:>9}")
    for name in unexplained:
        mutant = mutants[name]
        note = " (no test runs it)" if all_of_them[name] == NO_TESTS else ""
        say(f"\n{mutant.where}{note}   {name}")
        say("\n".join(f"  - {line}" for line in mutant.was.splitlines()))
        say("\n".join(f"  + {line}" for line in mutant.now.splitlines()))
    there = set(mutants.values())
    stale = [entry for entry in known if entry not in there and (not modules or entry.where.split(".")[0] in modules)]
    for entry in stale:
        say(f"\n{REASONS}: {entry.where} has no such mutant any more: {entry.now}")
    killed_now = [mutants[name] for name, code in all_of_them.items() if code and mutants[name] in known]
    for mutant in killed_now:
        say(f"\n{REASONS}: {mutant.where} is killed by now, it needs no reason: {mutant.now}")
    return 1 if unexplained or stale else 0


if __name__ == "__main__":
    sys.exit(main())
