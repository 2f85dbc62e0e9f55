"""Settings are checked whole, before anything is touched, and told with the key's name."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fleetswap.domain.errors import InputError
from fleetswap.domain.image.source import FileImage, FlakeImage, NixImage
from fleetswap.domain.release.hardware import Range, Requirements
from fleetswap.domain.release.plan import Retention
from fleetswap_pulumi.parse import parse
from fleetswap_pulumi.settings import Settings
from infra import config

ROOT = Path(__file__).resolve().parents[2]
CERTIFICATE = "arn:aws:acm:us-east-1:111122223333:certificate/12345678-1234-1234-1234-123456789012"
WEB_ACL = "arn:aws:wafv2:us-east-1:111122223333:regional/webacl/web/a1b2c3d4-5678-90ab-cdef-EXAMPLE11111"
LISTENER = "arn:aws:elasticloadbalancing:us-east-1:111122223333:listener/app/shared/50dc6c495c0c9188/f2f7dc8efc522ab2"
VPC = {"id": "vpc-0a1b2c3d", "machine_subnets": ["subnet-0a1b2c3d", "subnet-1a1b2c3d"]}
SHARED: dict[str, Any] = {"priorities": [1000, 1005], "hosts": ["shop.example.com"]}
HTTPS = {"certificate_arn": CERTIFICATE}
GRPC = {"protocol_version": "grpc", "codes": "0,12", "path": "/grpc.health.v1.Health/Check"}
GOOD: dict[str, Any] = {"service": "web", "image": {"nix": {"expression": "nix/demo", "args": {"version": "1"}}}}


def raw(values: dict[str, Any]) -> dict[str, str]:
    """As the engine hands configuration over: objects as JSON, the rest as text."""
    return {key: json.dumps(value) if isinstance(value, (dict, list)) else str(value) for key, value in values.items()}


def read(**changes: Any) -> Settings:
    return parse(raw({**GOOD, **changes}), region="us-east-1")


@pytest.mark.parametrize(
    ("given", "timeout"), [(True, 180), ({}, 180), ({"timeout": 300}, 300), (False, None), (None, None)]
)
def test_a_boot_test_is_all_defaults_or_settings(given: object, timeout: int | None) -> None:
    """`boot_test: true` would be refused, or `false` boot every image."""
    found = read(image={**GOOD["image"], "boot_test": given}).image.boot_test
    assert (found.timeout if found is not None else None) == timeout


def test_a_boot_test_with_a_wrong_setting_is_told_by_its_key() -> None:
    """It would be used with its default."""
    with pytest.raises(InputError, match=r"fleetswap:image\.boot_test\.timeouts"):
        read(image={**GOOD["image"], "boot_test": {"timeouts": 3}})
    with pytest.raises(InputError, match=r"fleetswap:image\.boot_test\.accelerator"):
        read(image={**GOOD["image"], "boot_test": {"accelerator": "fast"}})


def test_defaults_are_enough() -> None:
    """A new user would have to set what has a sensible value."""
    settings = read()
    assert settings.capacity.min <= settings.capacity.max
    assert settings.listener_port == 80
    assert read(front={"certificate_arn": CERTIFICATE}).listener_port == 443
    assert settings.health.grace == 300, "a first boot from a new snapshot is slow"
    assert settings.capacity.warmup == 60, "and scaling does not wait for it"
    assert settings.drain == settings.front.idle_timeout == 60
    assert read(front={"idle_timeout": 4000}).drain == 3600, "the longest that ELBv2 allows"
    assert read(health={"drain": 5}).drain == 5


@pytest.mark.parametrize(
    ("image", "source"),
    [
        (".#web", FlakeImage(".#web")),
        ("github:acme/shop?dir=nix#web", FlakeImage("github:acme/shop?dir=nix#web")),
        ({"nix": {"flake": "./nix#web", "options": {"cores": 2}}}, FlakeImage("./nix#web", {"cores": "2"})),
        ({"nix": {"expression": "nix/demo", "attr": "a"}}, NixImage("nix/demo", {}, {}, "a")),
        ({"file": "web.raw"}, FileImage("web.raw")),
    ],
)
def test_an_image_is_named_in_three_ways(image: object, source: object) -> None:
    """A flake, the usual way to a NixOS image, would need an expression around it, or the wrong one be deployed."""
    assert read(image=image).image.source == source


@pytest.mark.parametrize("name", ["Pulumi.local.yaml", "Pulumi.prod.yaml", "Pulumi.staging.yaml"])
def test_the_files_that_we_ship_are_read(name: str) -> None:
    """The commented example would be refused by the program that it documents."""
    config = yaml.safe_load((ROOT / name).read_text())["config"]
    region = config.pop("aws:region")
    parse(raw({key.removeprefix("fleetswap:"): value for key, value in config.items()}), region=region)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"sevrice": "web"}, "fleetswap:sevrice is not a setting"),
        ({"capacity": {"mni": 2}}, "fleetswap:capacity.mni is not a setting"),
        ({"image": {}}, "fleetswap:image: give exactly one of `nix` and `file`"),
        ({"image": {"nix": {}}}, "fleetswap:image: give exactly one of `nix.flake` and `nix.expression`"),
        (
            {"image": {"nix": {"flake": ".#a", "expression": "b"}}},
            "give exactly one of `nix.flake` and `nix.expression`",
        ),
        ({"image": {"nix": {"flake": ".#a", "args": {"x": "1"}}}}, "`nix.args` is for `nix.expression` only"),
        ({"image": "--impure"}, r"fleetswap:image.nix.flake: must match"),
        ({"image": "images/web.raw"}, "fleetswap:image: images/web.raw is read as a flake: set image.file"),
        ({"image": {"file": "a", "nix": {"expression": "b"}}}, "exactly one"),
        ({"capacity": {"min": 3, "max": 2}}, "fleetswap:capacity.max: 2 is less than min (3)"),
        ({"capacity": {"min": 9}}, "fleetswap:capacity.max: 8 is less than min (9)"),
        ({"capacity": {"cpu_percent": 50, "requests_per_target": 9}}, "fleetswap:capacity.requests_per_target: target"),
        ({"capacity": {"schedules": {"a": {"recurrence": "0 8 * *", "min": 2}}}}, "schedules.a.recurrence: '0 8 * *'"),
        ({"capacity": {"schedules": {"a": {"recurrence": "0 8 * * *", "min": 9}}}}, "schedules.a.min: 9 is more than"),
        (
            {"capacity": {"schedules": {"a": {"recurrence": "0 8 * * *", "min": 2, "time_zone": "CEST"}}}},
            "capacity.schedules.a.time_zone: CEST is not in the IANA",
        ),
        ({"capacity": {"warm_pool": {"size": 9}}}, "capacity.warm_pool.size: 9 is more than max (8)"),
        ({"capacity": {"warm_pool": {"size": 1, "max_prepared": 2}}}, "max_prepared: 2 must be more than min (2)"),
        ({"capacity": {"warm_pool": {"size": 1, "max_prepared": 9}}}, "max_prepared: 9 is more than max (8)"),
        ({"capacity": {"warm_pool": {"size": 1, "state": "hibernated"}}}, "machines cannot hibernate: use stopped or"),
        ({"capacity": {"warm_pool": {"size": 1}}}, "set machine.on_demand_percent to 100, not 0"),
        (
            {
                "capacity": {"warm_pool": {"size": 1}},
                "machine": {"on_demand_percent": 100, "instance_types": [{"type": "m7i.large", "weight": 2}]},
            },
            "capacity.warm_pool: cannot be used with weights of machine.instance_types",
        ),
        ({"capacity": {"schedules": {"A b": {"recurrence": "0 8 * * *", "min": 2}}}}, "fleetswap:capacity.schedules"),
        ({"capacity": {"requests_per_target": 0}}, "fleetswap:capacity.requests_per_target: must be more than 0"),
        ({"capacity": {"healthy_percent": {"min": 20, "max": 130}}}, "capacity.healthy_percent.max: 130 exceeds min"),
        ({"capacity": {"healthy_percent": {"max": 90}}}, "capacity.healthy_percent.max: must be 100 or more, not 90"),
        ({"health": {"interval": 4}}, "fleetswap:health.interval"),
        ({"health": {"timeout": 5}}, "fleetswap:health.timeout: 5 must be less than interval (5)"),
        ({"service": "Web_1"}, "fleetswap:service"),
        ({"network": {"cidr": "10.0.0.0/8"}}, "fleetswap:network.cidr"),
        ({"network": {"cidr": "somewhere"}}, "fleetswap:network.cidr"),
        ({"endpoint": "http://example.com"}, "fleetswap:endpoint"),
        ({"upload": {"sparse": "zeros"}}, "fleetswap:upload.sparse"),
        (
            {"rollout": {"strategy": "blue-green"}},
            "fleetswap:rollout.strategy: 'blue-green' is neither `all-at-once` nor",
        ),
        (
            {"rollout": {"strategy": [{"weight": 25}, {"weight": 5}]}},
            "fleetswap:rollout.strategy: the weights of a rollout's steps must ascend",
        ),
        ({"rollout": {"strategy": [{"weight": 5}, {"weight": 0}]}}, "fleetswap:rollout.strategy[1].weight: "),
        ({"rollout": {"report_only": ["health"]}}, "fleetswap:rollout.report_only"),
        ({"rollout": {"alarms": ["a", "a"]}}, "fleetswap:rollout.alarms: names a twice"),
        ({"rollout": {"alerts": "ops@example.com"}}, "fleetswap:rollout.alerts"),
        ({"rollout": {"errors": {"ceiling": 5}}}, "fleetswap:rollout.errors.ceiling"),
        ({"rollout": {"hooks": [{"at": "sometimes", "command": ["a"]}]}}, "fleetswap:rollout.hooks[0].at: must be "),
        (
            {"rollout": {"hooks": [{"at": "end", "url": "https://a", "lambda": "f"}]}},
            "fleetswap:rollout.hooks[0]: must have exactly one of command, url and lambda, and has url and lambda",
        ),
        ({"rollout": {"hooks": [{"at": "end"}]}}, "must have exactly one of command, url and lambda, and has none"),
        (
            {"rollout": {"hooks": [{"at": "end", "command": ["a"], "token_env": "T"}]}},
            "fleetswap:rollout.hooks[0].token_env: is only for a url",
        ),
        ({"rollout": {"hooks": [{"at": "end", "url": "http://a.example.com"}]}}, "must begin with https://"),
        ({"rollout": {"hooks": [{"at": "end", "url": "ftp://a.example.com"}]}}, "must begin with https://"),
        ({"rollout": {"hooks": [{"at": "end", "url": "https://u:p@a"}]}}, "must not contain a user or a password"),
        ({"rollout": {"hooks": [{"at": "end", "url": "https://"}]}}, "is not a URL"),
        ({"rollout": {"hooks": [{"at": "end", "url": "https://a/\nx"}]}}, "is not a URL"),
        ({"rollout": {"hooks": [{"at": "end", "url": "https://a:b"}]}}, "is not a URL"),
        ({"rollout": {"hooks": [{"at": "end", "lambda": "a/b"}]}}, "the name or the ARN of a Lambda function"),
        ({"rollout": {"pause": [{"at": "before-lunch"}]}}, "is neither `before-traffic` nor the weight of a step"),
        ({"rollout": {"pause": [{"at": 20}]}}, "fleetswap:rollout.pause[0].at: no step has the weight 20"),
        ({"tags": {"aws:x": "1"}}, "fleetswap:tags"),
        ({"tags": {"fleetswap:stack": "mine"}}, "is reserved"),
        ({"region": "us-east-1"}, "use aws:region"),
        ({"machine": "{broken"}, "fleetswap:machine"),
        ({"service": "a--b"}, "two hyphens in a row"),
        ({"service": "internal"}, 'must not begin with "internal-"'),
        ({"service": "internal-api"}, 'must not begin with "internal-"'),
        ({"service": "sg-web"}, 'must not begin with "sg-"'),
        ({"account": "1234"}, "fleetswap:account"),
        ({"network": {"zones": ["a", "a"]}}, "names a twice"),
        ({"network": {"zones": ["us-east-1a", "us-east-1b"]}}, "fleetswap:network.zones[0]"),
        ({"health": {"codes": "299-200"}}, "299-200 is not a range"),
        ({"health": {"codes": "200,404-200"}}, "404-200 is not a range"),
        ({"health": {"grace": 7201}}, "fleetswap:health.grace"),
        ({"capacity": {"warmup": 4000}}, "fleetswap:capacity.warmup"),
        ({"capacity": {"warmup": 0}}, "fleetswap:capacity.warmup"),  # never reaches AWS, which takes 300 s then
        ({"front": {"idle_timeout": 4001}}, "fleetswap:front.idle_timeout"),
        ({"front": {"certificate_arn": ""}}, "fleetswap:front.certificate_arn"),
        ({"front": {"certificate_arn": "arn:aws:acm:x"}}, "fleetswap:front.certificate_arn"),
        (
            {"front": {"certificate_arn": CERTIFICATE.replace("us-east", "eu-west")}},
            "fleetswap:front.certificate_arn: arn:",
        ),
        (
            {"front": {"priorities": [1000]}},
            "priorities: must be the first and the last priority, such as [1000, 1019]",
        ),
        ({"front": {"priorities": "1-9"}}, "priorities: must be the first and the last priority, such as [1000, 1019]"),
        ({"health": {"codes": 200}}, "fleetswap:health.codes: must be text, not 200: put it in quotes"),
        ({"front": {"priorities": [1, 9]}}, "fleetswap:front.priorities: is only for an existing listener"),
        ({"front": {"certificates": [CERTIFICATE]}}, "fleetswap:front.certificates: needs certificate_arn"),
        ({"front": {"redirect_http": True}}, "fleetswap:front.redirect_http: needs certificate_arn"),
        (
            {"front": {"certificate_arn": CERTIFICATE, "redirect_http": True, "port": 80}},
            "fleetswap:front.redirect_http: needs another port than 80",
        ),
        (
            {"front": {"certificate_arn": CERTIFICATE, "certificates": [CERTIFICATE]}},
            "which is certificate_arn already",
        ),
        (
            {"front": {"certificate_arn": CERTIFICATE, "certificates": [CERTIFICATE.replace("us-east", "eu-west")]}},
            "fleetswap:front.certificates[0]: arn:",
        ),
        ({"front": {"web_acl_arn": WEB_ACL.replace("us-east", "eu-west")}}, "fleetswap:front.web_acl_arn: arn:"),
        (
            {"front": {"web_acl_arn": WEB_ACL.replace("regional", "global")}},
            "fleetswap:front.web_acl_arn: must be the ARN of a regional web ACL",
        ),
        (
            {"front": {"sources": ["10.0.0.1/8"]}},
            "fleetswap:front.sources[0]: 10.0.0.1/8 is not the first address of its CIDR block: write 10.0.0.0/8",
        ),
        ({"front": {"sources": []}}, "fleetswap:front.sources: must have 1 or more elements"),
        (
            {"front": {"sources": ["everyone"]}},
            "fleetswap:front.sources[0]: must be a CIDR block such as 203.0.113.0/24, not 'everyone'",
        ),
        ({"front": {"hosts": ["localhost"]}}, "fleetswap:front.hosts[0]: must be a host name"),
        ({"front": {"hosts": ["shop.example.c0m"]}}, "fleetswap:front.hosts[0]: must be a host name"),
        ({"front": {"hosts": [f"{'x' * 117}.example.com"]}}, "fleetswap:front.hosts[0]: must have 128 characters"),
        ({"front": {"hosts": ["a.example.com"] * 2}}, "fleetswap:front.hosts: names a.example.com twice"),
        ({"front": {"paths": ["api"]}}, "fleetswap:front.paths[0]: must be a path"),
        ({"front": {"paths": ["/a b"]}}, "fleetswap:front.paths[0]: must be a path"),
        ({"front": {"hosts": [f"{n}.example.com" for n in range(6)]}}, "hosts and paths have 6 values"),
        ({"front": {"paths": [f"/{n}" for n in range(5)]}}, "hosts, paths and preview_sources have 5 values"),
        (
            {"front": {"paths": ["/a", "/b"], "preview_sources": ["10.0.0.0/8", "10.0.0.0/9", "10.0.0.0/10"]}},
            "fleetswap:front.preview_sources: hosts, paths and preview_sources have 5 values",
        ),
        ({"front": {"paths": ["/*/*/*", "/a/*/*/?"]}}, "6 wildcards, and a rule can have at most 5"),
        ({"front": {"domain": {"name": "shop.example.com"}}}, "exactly one of `zone` and `zone_id`"),
        (
            {"front": {"domain": {"name": "shop.example.com", "zone": "example.com", "zone_id": "Z1"}}},
            "exactly one of `zone` and `zone_id`",
        ),
        (
            {"front": {"domain": {"name": "badexample.com", "zone": "example.com"}}},
            "fleetswap:front.domain: badexample.com is not in zone example.com",
        ),
        (
            {"front": {"hosts": ["*.example.org"], "domain": {"name": "a.example.com", "zone": "example.com"}}},
            "fleetswap:front.domain.name: a.example.com is none of hosts",
        ),
        (
            {"front": {"access_logs": {"bucket": "Logs"}}},
            "fleetswap:front.access_logs.bucket: must be the name of an S3 bucket",
        ),
        ({"front": {"access_logs": {"bucket": "logs", "prefix": "/web"}}}, "must not begin or end with a slash"),
        ({"front": {"access_logs": {"bucket": "logs", "prefix": "AWSLogs"}}}, "must not contain AWSLogs"),
        ({"front": {"idle_timeout": 90}, "health": {"drain": 60}}, "health.drain: 60 is less than front.idle_timeout"),
        (
            {"front": {"listener_arn": LISTENER.replace("/app/", "/net/")}},
            "fleetswap:front.listener_arn: must be the ARN of a listener of an Application Load Balancer",
        ),
        ({"front": {"listener_arn": LISTENER.replace("us-east", "eu-west"), **SHARED}}, "front.listener_arn: arn:"),
        ({"front": {"listener_arn": LISTENER, **SHARED}}, "fleetswap:network.vpc: is missing"),
        (
            {
                "front": {"listener_arn": LISTENER, **SHARED},
                "network": {"vpc": {**VPC, "balancer_subnets": ["subnet-2a1b2c3d", "subnet-3a1b2c3d"]}},
            },
            "fleetswap:network.vpc.balancer_subnets: is for a load balancer of the stack's own",
        ),
        ({"front": {"sources": ["::/0"]}}, "fleetswap:front.sources: has IPv6 addresses, and network.ipv6 is not set"),
        ({"front": {"listener_arn": LISTENER, "hosts": ["a.b"]}}, "fleetswap:front.priorities: is missing"),
        ({"front": {"listener_arn": LISTENER, "priorities": [1, 9]}}, "fleetswap:front.hosts: is missing"),
        ({"front": {"listener_arn": LISTENER, **SHARED, "priorities": [9, 1]}}, "9 to 1 is not a range"),
        ({"front": {"listener_arn": LISTENER, **SHARED, "priorities": [49_990, 50_001]}}, "is not a range"),
        ({"front": {"listener_arn": LISTENER, **SHARED, "priorities": [1, 5]}}, "has 5 priorities"),
        ({"health": {"protocol": "HTTPS"}}, "fleetswap:health.protocol"),
        ({"health": {"codes": "199"}}, "fleetswap:health.codes: 199 is not a status code of HTTP"),
        ({"health": {"codes": "200-500"}}, "fleetswap:health.codes: 500 is not a status code of HTTP"),
        (
            {"health": {**GRPC, "codes": "100"}, "front": HTTPS},
            "fleetswap:health.codes: 100 is not a status code of gRPC",
        ),
        ({"health": {**GRPC, "path": "/healthz"}, "front": HTTPS}, "fleetswap:health.path: /healthz is not /package"),
        ({"health": GRPC}, "fleetswap:health.protocol_version: grpc needs HTTPS: set front.certificate_arn"),
        ({"health": {"protocol_version": "http2"}}, "fleetswap:health.protocol_version: http2 needs HTTPS"),
        (
            {"health": GRPC, "front": {**HTTPS, "http2": False}},
            "grpc needs clients that use HTTP/2, and front.http2 is false",
        ),
        (
            {"health": {"protocol_version": "http2"}, "front": {**HTTPS, "http2": False}},
            "http2 needs clients that use HTTP/2, and front.http2 is false",
        ),
        ({"machine": {"instance_types": ["c7i.large", "c7i.large"]}}, "names c7i.large twice"),
        ({"machine": {"instance_types": ["large"]}}, "fleetswap:machine.instance_types[0]"),
        ({"machine": {"policies": ["CloudWatchAgentServerPolicy"]}}, "fleetswap:machine.policies[0]"),
        ({"tags": {f"key-{n}": "1" for n in range(41)}}, "41 tags are too many: the maximum is 40"),
        ({"tags": {"team": "x" * 256}}, "a value at most 255"),
        ({"tags": {"": "x"}}, "a key has 1 to 127 characters"),
        ({"tags": {"Name": "mine"}}, "tag 'Name' cannot be set"),
        ({"tags": {"team": "a&b"}}, "may hold letters, digits"),
        ({"tags": {"Team": "a", "team": "b"}}, "Team, team differ only in case"),
        ({"image": {"ami": {"boot_mode": "bios"}}}, "fleetswap:image.ami.boot_mode"),
        ({"image": {"ami": {"architecture": "aarch64"}}}, "fleetswap:image.ami.architecture"),
        ({"network": {"cidr": "127.0.0.0/16"}}, "not a network for hosts"),
        ({"network": {"cidr": "169.254.0.0/16"}}, "not a network for hosts"),
        ({"health": {"path": "/gesund/ä"}}, "fleetswap:health.path"),
        ({"rollout": {"probe_path": "/ä"}}, "fleetswap:rollout.probe_path"),
        ({"rollout": {"alarms": [f"a-{n}" for n in range(101)]}}, "fleetswap:rollout.alarms"),
        ({"rollout": {"warm": 1e12}}, "fleetswap:rollout.warm"),
        ({"rollout": {"bake": 1e9}}, "fleetswap:rollout.bake"),
        ({"rollout": {"interval": 0.0001}}, "fleetswap:rollout.interval"),
        ({"rollout": {"strategy": [{"weight": 5, "hold": 1e9}]}}, "fleetswap:rollout.strategy[0].hold: "),
        ({"rollout": {"probe_host": "http://shop"}}, "fleetswap:rollout.probe_host"),
        ({"image": {"nix": {"expression": "x", "args": {"version": 1.1}}}}, "1.1 may have been written otherwise"),
    ],
)
def test_what_is_wrong_is_told_by_its_key(changes: dict[str, Any], told: str) -> None:
    """A misspelt safety setting would be ignored in silence, or told without saying where."""
    with pytest.raises(InputError) as caught:
        read(**changes)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("port", 443),
        ("certificate_arn", CERTIFICATE),
        ("certificates", [CERTIFICATE]),
        ("redirect_http", True),
        ("internal", False),
        ("sources", ["0.0.0.0/0"]),
        ("access_logs", {"bucket": "logs"}),
        ("web_acl_arn", WEB_ACL),
        ("deletion_protection", False),
        ("idle_timeout", 60),
        ("http2", True),
    ],
)
def test_an_existing_listener_takes_no_setting_of_an_own_load_balancer(given: str, value: object) -> None:
    """The setting would be ignored in silence: whoever restricted `sources` would believe that it has an effect."""
    with pytest.raises(InputError, match=f"fleetswap:front.{given}: belongs to a load balancer of the stack's own"):
        read(front={"listener_arn": LISTENER, **SHARED, given: value})


def test_all_that_is_wrong_with_the_front_door_is_told_together() -> None:
    """Whoever moves to an existing listener would learn of the next wrong key with each try."""
    with pytest.raises(InputError) as caught:
        read(front={"listener_arn": LISTENER, "port": 80, "internal": True}, capacity={"min": 9})
    told = re.findall(r"fleetswap:[\w.]+", str(caught.value))
    keys = ["capacity.max", "front.port", "front.internal", "front.hosts", "front.priorities"]
    assert told == [f"fleetswap:{key}" for key in keys]


def test_a_front_door_may_have_all_of_it() -> None:
    """What AWS takes would be refused."""
    settings = read(
        front={
            "certificate_arn": CERTIFICATE,
            "certificates": [CERTIFICATE.replace("1234", "4321")],
            "redirect_http": True,
            "internal": True,
            "sources": ["10.0.0.0/8", "2001:DB8::/32"],
            "hosts": ["*.example.com"],
            "paths": ["/api/*"],
            "preview_sources": ["203.0.113.7", "2001:db8::/64"],
            "domain": {"name": "shop.example.com", "zone": "example.com"},
            "access_logs": {"bucket": "example-logs", "prefix": "web/alb"},
            "web_acl_arn": WEB_ACL,
            "deletion_protection": True,
            "idle_timeout": 30,
            "http2": True,
        },
        health={**GRPC, "protocol": "https", "drain": 30},
        network={"ipv6": True},
        rollout={"probe_path": "/api/healthz"},
    )
    assert settings.front.sources == ("10.0.0.0/8", "2001:db8::/32"), "as EC2 tells them"
    assert settings.front.preview_sources == ("203.0.113.7/32", "2001:db8::/64")
    shared = read(front={"listener_arn": LISTENER, **SHARED}, network={"vpc": VPC}, health=GRPC)
    assert shared.front.priorities == (1000, 1005)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"capacity": {"min": 0}}, "fleetswap:capacity.min: must be 1 or more, not 0"),
        ({"capacity": {"cpu_percent": 200}}, "fleetswap:capacity.cpu_percent: must be 100 or less, not 200"),
        ({"capacity": {"max": "many"}}, "fleetswap:capacity.max: must be a whole number, not 'many'"),
        ({"capacity": "many"}, "fleetswap:capacity: must be an object, not 'many'"),
        (
            {"service": "Web"},
            "fleetswap:service: must be 2 to 15 lowercase letters, digits and hyphens that begin with a letter"
            " and do not end with a hyphen, not 'Web'",
        ),
        ({"rollout": {"again": "maybe"}}, "fleetswap:rollout.again: must be true or false, not 'maybe'"),
        ({"rollout": {"alarms": "a"}}, "fleetswap:rollout.alarms: must be a list, not 'a'"),
        ({"rollout": {"probe_statuses": []}}, "fleetswap:rollout.probe_statuses: must have 1 or more elements"),
        ({"network": {"zones": ["a"]}}, "fleetswap:network.zones: must have 2 or more elements"),
        ({"rollout": {"shortage": "wait"}}, "fleetswap:rollout.shortage: must be 'abort' or 'on-demand', not 'wait'"),
        ({"tags": {"team": 1}}, "fleetswap:tags.team: must be text, not 1: put it in quotes"),
        ({"tags": {"a:b": 1}}, 'fleetswap:tags["a:b"]: must be text, not 1: put it in quotes'),
    ],
)
def test_what_is_wrong_is_told_in_the_words_of_a_settings_file(changes: dict[str, Any], told: str) -> None:
    """Who edits YAML would read of tuples and instances of models."""
    with pytest.raises(InputError) as caught:
        read(**changes)
    assert str(caught.value).endswith(told)


ASKED = {"vcpus": {"min": 2}, "memory_mib": {"min": 4096}}


def test_all_that_is_wrong_is_told_at_once() -> None:
    """A user would mend one key a run."""
    with pytest.raises(InputError) as caught:
        read(service="", capacity={"min": 0}, nonsense="1")
    for key in ("fleetswap:service", "fleetswap:capacity.min", "fleetswap:nonsense"):
        assert key in str(caught.value)


def test_a_bad_element_does_not_make_its_list_too_short() -> None:
    """A user who gave one element, a wrong one, would also read that there is none."""
    with pytest.raises(InputError) as caught:
        read(rollout={"probe_statuses": [99]}, machine={"instance_types": ["large"]})
    told = re.findall(r"fleetswap:[\w.\[\]]+", str(caught.value))
    assert told == ["fleetswap:machine.instance_types[0].type", "fleetswap:rollout.probe_statuses[0]"]


def test_what_does_not_fit_together_is_told_with_the_rest() -> None:
    """A user would mend the keys one by one, and only then learn that two of them do not go together."""
    with pytest.raises(InputError) as caught:
        read(
            service="",
            capacity={"min": 3, "max": 2, "warmup": 0},
            health={"timeout": 5, "path": "healthz"},
            front={"certificate_arn": CERTIFICATE.replace("us-east", "eu-west")},
            rollout={"strategy": [{"weight": 25}, {"weight": 5}], "alarms": ["a", "a"], "warm": -1},
        )
    told = re.findall(r"fleetswap:[\w.\[\]]+", str(caught.value))
    assert told == [
        "fleetswap:service",
        "fleetswap:capacity.max",
        "fleetswap:capacity.warmup",
        "fleetswap:front.certificate_arn",
        "fleetswap:health.path",
        "fleetswap:health.timeout",
        "fleetswap:rollout.strategy",
        "fleetswap:rollout.alarms",
        "fleetswap:rollout.warm",
    ]


def test_a_missing_region_is_told() -> None:
    """The region would be whatever the environment of the deploying machine says."""
    with pytest.raises(InputError, match="aws:region is missing"):
        parse(raw(GOOD), region=None)


@given(st.dictionaries(st.sampled_from(sorted(Settings.model_fields)), st.text(max_size=12)))
def test_no_text_crashes_the_reader(values: dict[str, str]) -> None:
    """A typing error would end in a traceback instead of a line that names the key."""
    with contextlib.suppress(InputError):
        parse(values, region="us-east-1")


@pytest.mark.parametrize("region", ["us-east-1", "us-gov-west-1", "cn-north-1", "eusc-de-east-1", "us-isob-east-1"])
def test_the_regions_of_every_partition_are_taken(region: str) -> None:
    """A stack in a partition that AWS opened later could not be deployed."""
    assert parse(raw(GOOD), region=region).region == region


@pytest.mark.parametrize("service", ["ab", "web-1", "internals", "sgweb", "a-b-c"])
def test_names_that_aws_takes_are_taken(service: str) -> None:
    """A good name would be refused."""
    assert read(service=service).service == service


def test_instance_types_of_every_form_are_taken() -> None:
    """A good instance type would be refused for a letter in its name."""
    names = ["g5.xlarge", "c7gn.large", "a1.large", "m7i-flex.large", "t3.micro", "u-6tb1.metal", "inf2.xlarge"]
    assert read(machine={"instance_types": names}).machine.types_for("x86_64") == tuple(names)


@pytest.mark.parametrize(
    ("machine", "told"),
    [
        (
            {"instance_types": [{"type": "c7i.large", "weight": 0}]},
            ["machine.instance_types[0].weight: must be 1 or more"],
        ),
        (
            {"instance_types": [{"type": "c7i.large", "weight": 1000}]},
            ["machine.instance_types[0].weight: must be 999"],
        ),
        (
            {"instance_types": [{"type": "c7i.large", "weight": 9}]},
            ["machine.instance_types: a weight of 9 is more than"],
        ),
        ({"instance_types": ["c7i.large", {"type": "c7i.large", "weight": 2}]}, ["names c7i.large twice"]),
        (
            {"instance_types": ["c7i.large"], "requirements": ASKED, "threads_per_core": 1},
            ["machine.requirements: cannot be used with `instance_types`", "machine.threads_per_core: needs"],
        ),
        ({"requirements": {"vcpus": {"min": 2}}}, ["machine.requirements.memory_mib is missing"]),
        ({"requirements": {**ASKED, "vcpus": {"max": 2}}}, ["machine.requirements.vcpus.min is missing"]),
        ({"requirements": {**ASKED, "vcpus": {"min": 3, "max": 2}}}, ["machine.requirements.vcpus: has a max of 2"]),
        ({"requirements": {**ASKED, "generations": ["next"]}}, ["machine.requirements.generations[0]"]),
        (
            {"requirements": {**ASKED, "exclude": ["C7*"]}},
            ["machine.requirements.exclude[0]: must be an instance type, wi"],
        ),
        (
            {
                "requirements": {
                    **ASKED,
                    "allow": ["c7*"],
                    "exclude": ["t*"],
                    "accelerators": {"max": 0},
                    "accelerator_types": ["gpu"],
                    "local_storage": "excluded",
                    "local_storage_types": ["ssd"],
                }
            },
            ["machine.requirements.exclude", "machine.requirements.accelerators", "machine.requirements.local_storage"],
        ),
        ({"threads_per_core": 3}, ["machine.threads_per_core: must be 1 or 2"]),
        ({"tenancy": "host"}, ["machine.tenancy: must be 'default' or 'dedicated'"]),
        ({"placement_group": ""}, ["machine.placement_group: must be the name of a placement group"]),
        ({"volume": {"initialization_rate": 99}}, ["machine.volume.initialization_rate: must be 100 or more"]),
        ({"volume": {"initialization_rate": 301}}, ["machine.volume.initialization_rate: must be 300 or less"]),
        ({"volume": {"iops": 2999}}, ["machine.volume.iops: must be 3000 or more"]),
        ({"volume": {"throughput": 2001}, "root_gib": 100}, ["machine.volume.throughput: must be 2000 or less"]),
        (
            {"volume": {"iops": 3501, "throughput": 1000}},
            [
                "machine.volume.iops: 3501 need a volume of 8 GiB or more",
                "machine.volume.throughput: 1000 needs 4000 IOPS",
            ],
        ),
        ({"volume": {"throughput": 751}}, ["machine.volume.throughput: 751 needs 3004 IOPS"]),
    ],
)
def test_machines_that_aws_would_not_launch_are_refused(machine: dict[str, Any], told: list[str]) -> None:
    """The launch template or the group would be refused half-way through the update, or no launch would succeed."""
    with pytest.raises(InputError) as caught:
        read(machine=machine)
    for each in told:
        assert each in str(caught.value)


def test_machines_at_their_limits_are_taken() -> None:
    """A setting that AWS takes would be refused."""
    read(machine={"volume": {"iops": 3500, "throughput": 875, "initialization_rate": 300}, "root_gib": 7})
    read(machine={"volume": {"iops": 80_000, "throughput": 2000}, "root_gib": 160})
    read(machine={"volume": {"iops": 3000, "throughput": 750}})
    weighted = read(machine={"instance_types": ["c7i.large", {"type": "c7i.xlarge", "weight": 2}]}).machine
    assert (weighted.types_for("x86_64"), weighted.weights) == (("c7i.large", "c7i.xlarge"), (1, 2))
    assert read(machine={"instance_types": [{"type": "c7i.large", "weight": 1}]}).machine.weights == ()
    asked = read(machine={"requirements": ASKED}).machine
    assert (asked.types_for("arm64"), asked.attributes) == ((), Requirements(Range(2.0), Range(4096.0)))


def test_without_instance_types_the_architecture_decides() -> None:
    """An image for arm64 could not be deployed without a list of types; or a running fleet's types would change."""
    machine = read().machine
    assert machine.types_for("x86_64") == ("c7i.large", "c7a.large", "m7i.large", "m7a.large")
    assert machine.types_for("arm64") == ("c7g.large", "c6g.large", "m7g.large", "m6g.large")


def configured(monkeypatch: pytest.MonkeyPatch, values: dict[str, str], secret: tuple[str, ...] = ()) -> Settings:
    """Read the settings as a program does that the engine has started."""
    monkeypatch.setenv("PULUMI_CONFIG", json.dumps(values))
    monkeypatch.setenv("PULUMI_CONFIG_SECRET_KEYS", json.dumps(secret))
    with_project = pulumi.runtime.Settings(project="shop", stack="prod")
    monkeypatch.setattr(pulumi.runtime.settings, "SETTINGS", with_project)
    return config.read()


KEYS = {"aws:region": "us-east-1", **{f"fleetswap:{key}": value for key, value in raw(GOOD).items()}}


def test_what_other_programs_set_is_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of an environment that several projects share would stop every deploy."""
    more = {"pulumi:tags": "{}", "gcp:project": "x", "fleet:size": "2"}
    assert configured(monkeypatch, KEYS | more, secret=("gcp:project",)).service == "web"


@pytest.mark.parametrize("key", ["fleetswp:capacity", "Fleetswap:capacity", "shop:capacity"])
def test_a_key_that_only_looks_like_ours_is_told(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """A misspelt namespace, or a forgotten one, would leave the default in force and say nothing."""
    with pytest.raises(InputError, match=f"not settings of this program: {key}: its settings begin with fleetswap:"):
        configured(monkeypatch, KEYS | {key: "{}"})


def test_a_secret_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What somebody wanted to hide would stand in clear in previews and in the state."""
    with pytest.raises(InputError, match="fleetswap:image was set with --secret") as caught:
        configured(monkeypatch, KEYS, secret=("fleetswap:image",))
    assert "nix/demo" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"min_age": "24"}, r"retention\.min_age: must be a whole number of minutes, hours or days, such as 90m"),
        ({"min_age": 3600}, r"retention\.min_age: .* not '3600'"),
        ({"min_age": "1.5h"}, r"retention\.min_age"),
        ({"min_age": "-1h"}, r"retention\.min_age"),
        ({"min_age": "9999d"}, r"retention\.min_age: must be at most 3650d, not 9999d"),
        ({"deprecate_after": "30m"}, r"retention\.deprecate_after: must be 1h or more, not 30m"),
        ({"warm": 0}, r"retention\.warm: must be 1 or more"),
        ({"images": 51, "min_age": "x"}, r"(?s)retention\.images.*retention\.min_age"),
    ],
)
def test_a_time_of_the_retention_that_is_none_is_told_by_its_key(given: dict[str, Any], said: str) -> None:
    """A number without a unit would keep AMIs for seconds, or for years; or a deploy would fail half-way at EC2."""
    with pytest.raises(InputError, match=said):
        read(retention=given)


def test_a_retention_is_as_long_as_it_says() -> None:
    """An AMI would go too early, by a unit that was misread."""
    found = read(retention={"images": 2, "warm": 3, "min_age": "90m", "deprecate_after": "7d"}).retention.retention
    assert found == Retention(images=2, warm=3, min_age=5400, deprecate_after=604_800)
    assert read().retention.retention == Retention(images=5, warm=1, min_age=86_400, deprecate_after=2_592_000)
    never = read(retention={"min_age": 0, "deprecate_after": None}).retention.retention
    assert (never.min_age, never.deprecate_after) == (0, None)


def test_all_that_contradicts_itself_in_pauses_is_reported_at_once() -> None:
    """A user would correct one, and be told of the next; or a person believe to be asked, and never be."""
    plain = {"service": "web", "image": '{"file": "a.raw"}'}
    pauses = [{"at": "before-traffic"}, {"at": 10}, {"at": 20}]
    with pytest.raises(InputError) as raised:
        parse(
            {"service": "web", "image": '{"file": "a.raw"}', "rollout": json.dumps({"pause": pauses})},
            region="us-east-1",
        )
    assert "fleetswap:rollout.pause[1].at: pauses where pause 0 does" in str(raised.value)
    assert "fleetswap:rollout.pause[2].at: no step has the weight 20 (the steps have 10, 100)" in str(raised.value)
    local = {"hooks": [{"at": "end", "url": "http://localhost:8080/"}, {"at": "end", "url": "http://[::1]/"}]}
    assert parse({**plain, "rollout": json.dumps(local)}, region="us-east-1")
