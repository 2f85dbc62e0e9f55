"""The ledger survives the way through Pulumi's state."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, is_dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetswap.domain.errors import InputError
from fleetswap.domain.image.info import ImageInfo
from fleetswap.domain.image.source import FileImage, FlakeImage, NixImage
from fleetswap.domain.release.hardware import Range, Requirements, Volume
from fleetswap.domain.release.ledger import (
    Entry,
    HealthCheck,
    Identity,
    Image,
    Ledger,
    Machine,
    Network,
    from_plain,
    release_id,
    to_plain,
)
from fleetswap.domain.secrets.sealing import Sealing

texts = st.text(max_size=8)
maps = st.dictionaries(texts, texts, max_size=3)
machines = st.builds(
    Machine,
    instance_types=st.lists(texts, max_size=3).map(tuple),
    on_demand_base=st.integers(0, 9),
    on_demand_percent=st.integers(0, 100),
    root_gib=st.none() | st.integers(1, 99),
    policies=st.lists(texts, max_size=2).map(tuple),
    security_groups=st.lists(texts, max_size=2).map(tuple),
    secrets=st.none() | st.builds(Sealing, texts, st.booleans()),
)
checks = st.builds(
    HealthCheck,
    port=st.integers(1, 9),
    path=texts,
    codes=texts,
    interval=st.integers(5, 9),
    timeout=st.integers(2, 4),
    healthy=st.integers(2, 9),
    unhealthy=st.integers(2, 9),
    protocol=st.sampled_from(["http", "https"]),
    protocol_version=st.sampled_from(["http1", "http2", "grpc"]),
)
images = st.builds(
    Image,
    identity=texts,
    source=st.builds(NixImage, expression=texts, attr=st.none() | texts, args=maps, options=maps)
    | st.builds(FileImage, file=texts)
    | st.builds(FlakeImage, flake=texts, options=maps),
    packages=maps,
    changes=st.lists(texts, max_size=3).map(tuple),
    info=st.builds(
        ImageInfo,
        architecture=st.sampled_from(["x86_64", "arm64"]),
        boot_mode=st.sampled_from(["uefi", "uefi-preferred", "legacy-bios"]),
        ena=st.booleans(),
        tpm=st.sampled_from([None, "v2.0"]),
        root_device=st.sampled_from(["/dev/xvda", "/dev/sda1"]),
    ),
    asserted=st.lists(st.sampled_from(["boot_mode", "tpm"]), unique=True).map(tuple),
    measured=st.lists(st.tuples(st.sampled_from(["4", "12"]), texts), max_size=2).map(tuple),
)


@st.composite
def made(draw: st.DrawFn) -> Entry:
    image, machine, health = draw(images), draw(machines), draw(checks)
    return Entry(
        release_id("web", image.identity, machine, health, image.info),
        image,
        machine,
        health,
        draw(st.integers(1, 9)),
        left=draw(st.booleans()),
        made=draw(st.sampled_from(["", "2026-11-26T12:00:30Z"])),
        deprecated=draw(st.sampled_from(["", "2026-12-26T12:01:00Z"])),
    )


@st.composite
def ledgers(draw: st.DrawFn) -> Ledger:
    entries = tuple(draw(st.lists(made(), max_size=4, unique_by=lambda entry: entry.release)))
    names: list[str] = draw(st.permutations([entry.release for entry in entries]))
    here = draw(st.integers(0, 2))
    networks = st.none() | st.builds(
        Network,
        cidr=texts,
        zones=st.lists(texts, max_size=2).map(tuple),
        layout=st.integers(1, 2),
        vpc=st.none() | texts,
        ipv6=st.booleans(),
    )
    identities = st.none() | st.builds(Identity, stack=texts, service=texts, region=texts, account=texts)
    return Ledger(
        live=names[0] if names and here > 0 else None,
        standby=names[1] if len(names) > 1 and here > 1 else None,
        entries=entries,
        network=draw(networks),
        identity=draw(identities),
    )


@given(ledgers())
def test_a_ledger_comes_back_as_it_went(ledger: Ledger) -> None:
    """A release could not be declared again just as it was, so an unrelated update would replace machines."""
    # Pulumi hands numbers back as floats, and leaves out what is null.
    through_state = json.loads(json.dumps(to_plain(ledger)), parse_int=float)
    assert "null" not in json.dumps(to_plain(Ledger()))
    assert from_plain(through_state) == ledger


def at_default(value: object, where: str = "") -> Iterator[str]:
    """The fields, in dataclasses all the way down, that have their default."""
    if isinstance(value, tuple):
        for item in value:
            yield from at_default(item, where)
    if is_dataclass(value):
        for each in fields(value):
            given, at = getattr(value, each.name), f"{where}.{each.name}"
            unset = each.default_factory() if each.default_factory is not MISSING else each.default
            if given == unset:
                yield at
            yield from at_default(given, at)


REQUIREMENTS = Requirements(
    Range(2.0, 8.0),
    Range(1.0, 2.0),
    Range(0.5, 3.0),
    ("intel",),
    ("current",),
    ("c7*",),
    ("t*",),
    "included",
    "required",
    "excluded",
    ("ssd",),
    Range(0.5, 2.0),
    Range(1.0, 2.0),
    Range(0.5, 9.0),
    Range(1.0, 2.0),
    Range(1.0, 1.0),
    ("gpu",),
    50,
    20,
)


def test_every_field_is_read_back() -> None:
    """A setting that came later would be forgotten with the next update, and its release made anew under users."""
    sealing = Sealing("stack", attested=True)
    machine = Machine(
        ("c7i.large",),
        1,
        2,
        3,
        ("arn:aws:iam::aws:policy/A",),
        ("sg-1",),
        "arn:aws:kms:x",
        "/web/",
        sealing,
        (2,),
        REQUIREMENTS,
        1,
        "dedicated",
        "web",
        monitoring=True,
        volume=Volume(6000, 250, 300),
    )
    health = replace(HEALTH, protocol="https", protocol_version="grpc")
    nix = NixImage("nix/demo", {"version": "1"}, {"sandbox": "true"}, "image")
    ami = (
        ImageInfo("arm64", "uefi-preferred", ena=False, tpm="v2.0", root_device="/dev/sda1"),
        ("tpm",),
        (("4", "ab"),),
        "stack",
    )
    images = [
        Image("a", nix, {"p": "1"}, ("p 1",), *ami),
        Image("b", FileImage("web.raw"), {"p": "2"}, ("p 2",), *ami),
        Image("c", FlakeImage(".#web", {"cores": "2"}), {"p": "3"}, ("p 3",), *ami),
    ]
    times = {"made": "2026-11-26T12:00:30Z", "deprecated": "2026-12-26T12:01:00Z"}
    entries = tuple(
        Entry(
            release_id("web", image.identity, machine, health, image.info),
            image,
            machine,
            health,
            4,
            left=True,
            cores=1,
            **times,
        )
        for image in images
    )
    live, standby, _ = (each.release for each in entries)
    full = Ledger(live, standby, entries, Network("10.66.0.0/16", ("a", "b"), 2, "vpc-1", ipv6=True), HERE, "internal")
    assert set(at_default(full)) == {".entries.image.info.imds"}, "which has one value only"
    assert from_plain(json.loads(json.dumps(to_plain(full)), parse_int=float)) == full


def test_a_new_stack_has_an_empty_ledger() -> None:
    """The first deploy of a stack would fail."""
    assert from_plain(None) == Ledger()


@pytest.mark.parametrize(
    "damaged",
    [
        {"version": 5, "live": None, "standby": None, "entries": []},
        {"version": 0, "live": None, "standby": None, "entries": []},
        {"version": 1, "live": "web-gone", "standby": None, "entries": []},
        {"version": 1, "live": None},
        {"version": 1, "entries": [{"release": "x", "image": {}, "machine": {}}]},
        {"version": 1, "live": None, "standby": None, "entries": [{"release": "x"}]},
        {},
    ],
)
def test_a_damaged_ledger_is_refused(damaged: dict[str, object]) -> None:
    """A ledger that is half read would plan the deletion of a release that is live."""
    with pytest.raises(InputError):
        from_plain(damaged)


HERE = Identity(stack="shop/prod", service="web", region="eu-central-1", account="111122223333")
MACHINE = Machine(instance_types=("c7i.large",), on_demand_base=2, on_demand_percent=0)
HEALTH = HealthCheck(port=8080, path="/", codes="200", interval=5, timeout=3, healthy=2, unhealthy=2)


def entry(image: str, **changes: Any) -> Entry:
    one = Entry(
        release_id("web", image, MACHINE, HEALTH), Image(image, FileImage("disk.raw")), MACHINE, HEALTH, max_size=4
    )
    return replace(one, **changes)


RUNNING = Ledger(live=entry("2").release, standby=entry("1").release, entries=(entry("2"), entry("1")), identity=HERE)


def test_an_older_programs_ledger_is_read() -> None:
    """After an upgrade no stack could be deployed any more."""
    plain = to_plain(RUNNING)
    del plain["identity"]
    for each in plain["entries"]:
        del each["left"]
        assert "security_groups" not in each["machine"]
    assert from_plain(plain) == replace(RUNNING, identity=None)
    assert from_plain(plain).of(HERE).identity == HERE


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"service": "shop"}, "fleetswap:service cannot change while the fleet of web runs"),
        ({"region": "eu-west-1"}, "aws:region cannot change while the fleet runs in eu-central-1"),
        ({"account": "999900001111"}, "credentials belong to AWS account 999900001111, but .* in account 111122223333"),
        ({"stack": "shop/live"}, "this stack is named shop/live, but .* tags of shop/prod: .*pulumi stack rename"),
    ],
)
def test_another_identity_is_refused_under_a_live_release(changes: dict[str, str], told: str) -> None:
    """A second fleet would be made somewhere else and the one that serves be deleted, with a preview that says ok."""
    other = replace(HERE, **changes)
    with pytest.raises(InputError, match=told):
        RUNNING.of(other)
    assert RUNNING.of(HERE) == RUNNING
    assert Ledger().of(other).identity == other, "a stack in which nothing runs may be anything"


def edited(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    plain = to_plain(RUNNING)
    change(plain)
    return plain


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda plain: plain["entries"][0].update(image="sha256:1"), "cannot be read"),
        (lambda plain: plain.update(entries="none"), "cannot be read"),
        (lambda plain: plain.update(identity={"stack": "x"}), "cannot be read"),
        (lambda plain: plain.update(standby=plain["live"]), "as live and as standby"),
        (lambda plain: plain["entries"].append(plain["entries"][0]), "contains a release twice"),
        (lambda plain: plain["entries"][0]["health"].update(port=9090), "does not match its content"),
        (lambda plain: plain["entries"][1]["image"].update(identity="3"), "does not match its content"),
    ],
)
def test_a_ledger_that_was_edited_is_refused_in_one_line(change: Callable[[dict[str, Any]], object], told: str) -> None:
    """The target group of the live release would be replaced under its users, or a traceback be the answer."""
    with pytest.raises(InputError, match=told) as caught:
        from_plain(edited(change))
    assert "pulumi stack import" in str(caught.value)
    assert "\n" not in str(caught.value)


@given(texts, st.tuples(machines, checks), st.tuples(machines, checks))
def test_a_release_is_what_its_machines_are_made_of(
    identity: str, one: tuple[Machine, HealthCheck], other: tuple[Machine, HealthCheck]
) -> None:
    """Two different machines would share a release, and one of them would never be deployed."""
    assert (release_id("web", identity, *one) == release_id("web", identity, *other)) == (one == other)


def test_a_network_is_kept_once_a_fleet_stands_on_it() -> None:
    """A changed CIDR would replace the VPC under the live fleet, or a new stack and an old ledger be refused."""
    here, elsewhere = Network("10.0.0.0/16", ("a", "b")), Network("10.1.0.0/16", ("a", "b"))
    ledger = Ledger().on(here)
    assert ledger.network == here
    assert ledger.on(here) == ledger
    with pytest.raises(InputError, match=r"runs in 10\.0\.0\.0/16 in zones a, b"):
        ledger.on(elsewhere)
    on_ipv6 = replace(here, ipv6=True)
    assert ledger.on(on_ipv6).network == on_ipv6, "which can be added under machines"
    with pytest.raises(InputError, match=r"runs in 10\.0\.0\.0/16 in zones a, b with IPv6"):
        ledger.on(on_ipv6).on(here)
    existing = Ledger().on(Network(vpc="vpc-1"))
    with pytest.raises(InputError, match="runs in vpc-1: restore"):
        existing.on(here)
    with pytest.raises(InputError, match=r"runs in 10\.0\.0\.0/16"):
        ledger.on(Network(vpc="vpc-1"))


def test_an_older_network_is_one_of_halves() -> None:
    """An upgrade would divide the network of a running fleet anew, and replace the subnets that its machines are in."""
    plain = to_plain(replace(RUNNING, network=Network("10.0.0.0/16", ("a", "b"))))
    assert plain["version"] == 1, "the older program can still read it"
    assert plain["network"] == {"cidr": "10.0.0.0/16", "zones": ["a", "b"]}, "and sees no change in the outputs"
    assert from_plain(plain).network == Network("10.0.0.0/16", ("a", "b"), layout=1)


@pytest.mark.parametrize(
    "newer",
    [
        replace(RUNNING, network=Network("10.0.0.0/16", ("a", "b"), layout=2)),
        replace(RUNNING, network=Network(vpc="vpc-1")),
        replace(RUNNING, entries=(entry("2", machine=replace(MACHINE, security_groups=("sg-1",))),)),
        replace(RUNNING, entries=(entry("2", machine=replace(MACHINE, path="/web/")),)),
        replace(RUNNING, entries=(entry("2", machine=replace(MACHINE, kms_key="arn:aws:kms:x")),)),
        replace(RUNNING, entries=(entry("2", machine=replace(MACHINE, secrets=Sealing("stack"))),)),
        replace(RUNNING, entries=(entry("2", health=replace(HEALTH, protocol="https")),)),
        replace(RUNNING, entries=(replace(entry("2"), image=Image("2", FileImage("x"), info=ImageInfo(tpm="v2.0"))),)),
        replace(RUNNING, entries=(replace(entry("2"), image=Image("2", FlakeImage(".#web"))),)),
    ],
)
def test_what_an_older_program_would_misread_it_refuses(newer: Ledger) -> None:
    """After a downgrade the old program would replace the network under the live fleet."""
    assert to_plain(newer)["version"] == 2


@pytest.mark.parametrize(
    "newest",
    [
        replace(RUNNING, entries=(entry("2", machine=replace(MACHINE, kms_key="stack")),)),
        replace(RUNNING, entries=(replace(entry("2"), image=Image("2", FileImage("x"), kms_key="stack")),)),
    ],
)
def test_a_key_of_the_stack_is_not_read_by_a_program_that_takes_it_for_an_arn(newest: Ledger) -> None:
    """After a downgrade the old program would write "stack" into the launch template of the live fleet as its key."""
    assert to_plain(newest)["version"] == 3


def test_a_release_without_groups_of_its_own_keeps_its_id() -> None:
    """An upgrade would take every release for another one, and deploy each of them anew."""
    assert release_id("web", "2", MACHINE, HEALTH) == "web-004ece35"
    assert release_id("web", "2", replace(MACHINE, path="/"), HEALTH) == "web-004ece35"
    for other in (
        replace(MACHINE, security_groups=("sg-1",)),
        replace(MACHINE, path="/web/"),
        replace(MACHINE, kms_key="arn:aws:kms:x"),
        replace(MACHINE, secrets=Sealing("stack")),
    ):
        assert release_id("web", "2", other, HEALTH) != "web-004ece35"


def test_an_ami_that_is_what_it_always_was_leaves_no_trace() -> None:
    """After an upgrade every release would be another one; or an AMI that differs would be taken for one that runs."""
    assert release_id("web", "2", MACHINE, HEALTH, ImageInfo()) == "web-004ece35"
    (written,) = to_plain(Ledger(entries=(entry("2"),)))["entries"]
    assert "info" not in written["image"]
    assert "asserted" not in written["image"]
    others = (ImageInfo(architecture="arm64"), ImageInfo(tpm="v2.0"), ImageInfo(boot_mode="legacy-bios"))
    ids = {release_id("web", "2", MACHINE, HEALTH, info) for info in others}
    assert len(ids | {"web-004ece35"}) == 4


@pytest.mark.parametrize("info", [{"boot_mode": "bios"}, {"colour": "red"}, {"ena": "yes"}, []])
def test_an_ami_that_none_can_be_makes_a_ledger_that_cannot_be_read(info: object) -> None:
    """An AMI would be declared with what a newer program, or a hand, had written, and replace the live one's."""
    arm = replace(entry("2"), image=Image("2", FileImage("disk.raw"), info=ImageInfo(architecture="arm64")))
    plain = to_plain(Ledger(entries=(arm,)))
    assert plain["version"] == 2
    plain["entries"][0]["image"]["info"] = info
    with pytest.raises(InputError, match="ledger"):
        from_plain(plain)


def test_a_protocol_that_is_what_it_always_was_leaves_no_trace() -> None:
    """After an upgrade, the releases in the field would have other ids than their ledger says: it would be refused."""
    plain = Machine(("c7i.large",), 0, 0)
    before = release_id("web", "sha256:1", plain, HEALTH)
    assert before == "web-8da984ad"
    assert release_id("web", "sha256:1", plain, replace(HEALTH, protocol="http", protocol_version="http1")) == before
    assert release_id("web", "sha256:1", plain, replace(HEALTH, protocol="https")) != before
    assert release_id("web", "sha256:1", plain, replace(HEALTH, protocol_version="grpc")) != before
    entry = Entry(before, Image("sha256:1", FileImage("x")), plain, HEALTH, 1)
    (written,) = to_plain(Ledger(entries=(entry,)))["entries"]
    assert not {"protocol", "protocol_version"} & set(written["health"])


def test_a_live_release_stays_behind_its_front_door() -> None:
    """AWS would replace the load balancer of a live fleet, or refuse its target groups on another one half-way."""
    assert RUNNING.behind("").front == ""
    assert "front" not in to_plain(RUNNING)
    with pytest.raises(InputError, match=r"fleetswap:front.listener_arn and front.internal cannot change .* a public"):
        RUNNING.behind("internal")
    internal = replace(RUNNING, live=None, standby=None).behind("internal")
    assert internal.front == "internal"
    plain = to_plain(internal)
    assert (plain["version"], from_plain(plain).front) == (2, "internal")
    with pytest.raises(InputError, match="while the fleet is behind internal: restore"):
        replace(RUNNING, front="internal").behind("arn:x")
