"""An audit on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from dimitra.lineage.audit import Audit
from dimitra.lineage.findings import short

_COLOURS = {"broken": "red", "absent": "yellow", "note": "cyan"}
_SHOWN_NUMBERS = 40


def _value(number: float | None) -> str:
    return "–" if number is None else f"{number:g}"


def _interval(number: Mapping[str, Any]) -> str:
    low, high = number.get("low"), number.get("high")
    return "" if low is None or high is None else f"{low:g} to {high:g}"


def _change(change: Mapping[str, Any] | None) -> str:
    """Of an ablation: its change against the full model."""
    return "" if change is None else f"{change['mean']:+g} ({_interval(change)}) against full"


def _numbers(audit: Audit) -> Iterator[Table | str]:
    if not audit.numbers:
        return
    table = Table("method", "metric", "value", "n", "95 %", "note", box=None)
    shown = [one for one in audit.numbers if one["value"] is not None or audit.target.metric]
    for one in shown[:_SHOWN_NUMBERS]:
        dropped = f"{one['dropped']} dropped" if one.get("dropped") else ""
        metric = f"{one['dataset']}.{one['metric']}" if "dataset" in one else one["metric"]
        cells = (
            *(one["method"], metric, _value(one["value"]), str(one["n"])),
            *(_interval(one), one.get("reason") or dropped or _change(one.get("change"))),
        )
        table.add_row(*map(escape, cells))
    yield table
    if shown[_SHOWN_NUMBERS:]:
        yield f"and {len(shown) - _SHOWN_NUMBERS} more: name one, FILE#METHOD.METRIC, or use --json"


def _variants(audit: Audit) -> Iterator[Table | str]:
    """What each variant rests on; of a single one, all that its lineage tells."""
    if not audit.variants:
        return
    table = Table("variant", "commit", "against full", "models", "shards", "evaluator", box=None)
    for one in audit.variants:
        changes = ", ".join(f"{key} {value}" for key, value in one["against_full"].items())
        models = ", ".join(
            f"{path.removeprefix('models/')} {short(md5)}" for path, md5 in one["models"].items()
        )
        cells = (one["variant"], short(one["commit"]), changes, models)
        table.add_row(*map(escape, (*cells, short(one["shards"]), short(one["evaluator"]))))
    yield "[bold]made by experiments of their own[/]"
    yield table
    if len(audit.variants) > 1:
        return
    (one,) = audit.variants
    yield escape(f"  experiment {one['experiment']}, seed {one['seed']}, commit {one['commit']}")
    parameters = {name: str(value) for name, value in one["params"].items()}
    code = {f"code of {name}": digest for name, digest in one["code"].items()}
    for name, value in {**parameters, **code, **one["digests"]}.items():
        witness = one["witnesses"].get(name)
        shown = value if name in parameters else short(value)
        yield escape(f"  {name} {shown}" + (f"; that commit's {witness}" if witness else ""))


def _clips(one: Mapping[str, Any]) -> str:
    clips = one["clips"]
    if clips is None:
        return ""
    lost = f", {clips['quarantined']} quarantined" if clips["quarantined"] else ""
    return f"{clips['in']} in, {clips['out']} out{lost}"


def _stages(audit: Audit) -> Iterator[Table | str]:
    table = Table("stage", "commit", "code", "made", "clips", "", box=None)
    for one in audit.stages:
        made = ", ".join(f"{path} {short(digest)}" for path, digest in one["outputs"].items())
        known = ", ".join(f"{name} {short(digest)}" for name, digest in one["digests"].items())
        edited = "+edits" if one["uncommitted"] else ""
        cells = (one["stage"], f"{short(one['commit'])}{edited}", short(one["code"]), made)
        table.add_row(*map(escape, (*cells, _clips(one), known)))
    yield "[bold]rests on[/]"
    yield table


def _training(audit: Audit) -> Iterator[str]:
    for one in audit.stages:
        if "model" not in one["digests"]:
            continue
        own = {key: value for key, value in one["params"].items() if key.startswith("train.")}
        listed = ", ".join(f"{key} {value}" for key, value in own.items())
        digest = one["digests"]["model"]
        yield f"[bold]{one['stage']}[/] model {short(digest)}, commit {short(one['commit'])}"
        if listed:
            yield f"  {escape(listed)}"
        yield f"  its run in MLflow: tags.`lineage.digest.model` = '{digest}'"


def _split(audit: Audit) -> Iterator[str]:
    for dataset, proof in audit.split.items():
        shared = ", ".join(f"{count} {kind}" for kind, count in proof["shared"].items())
        sides = "; ".join(
            f"{side} {proof[side]['clips']} clips, {proof[side]['identities']} identities, "
            f"{proof[side]['source_videos']} source videos"
            for side in ("train", "test")
        )
        name = escape(f"{dataset} ({proof['version']})")
        yield f"[bold]split[/] {name}: {sides}"
        yield f"  shared by both: {shared.replace('_', ' ')} (by {proof['by']})"


def _assets(audit: Audit) -> Iterator[Table]:
    if not audit.assets:
        return
    source = Column("from", overflow="fold")
    table = Table("weights", "which", "sha256", "licence", source, "stages", box=None)
    for one in audit.assets:
        cells = (one["name"], one["reference"], short(one["sha256"]), one["licence"])
        archive = one["source"].partition("!")[0]  # which of its files: --json
        table.add_row(*map(escape, (*cells, archive, ", ".join(one["stages"]))))
    yield table


def _history(audit: Audit) -> Iterator[Table | str]:
    for one in audit.history:
        source = one["source"]
        yield f"[bold]clip {one['clip_id']}[/]" + (f", {one['side']}" if one["side"] else "")
        if source is not None:
            yield escape(
                f"  from {source['path']}, sha256 {short(source['sha256'])}, identity "
                f"{source['identity']}, source video {source['source_video']}"
            )
        for row in one["quarantined"]:
            yield escape(f"  quarantined by {row['stage']}: {row['reason']}: {row['message']}")
        table = Table("stage", "lies in", "sha256", box=None)
        for row in one["shards"]:
            table.add_row(row["stage"], row["shard"], short(row["sha256"]))
        if one["shards"]:
            yield table
        for row in one["metrics"]:
            why = f"; dropped: {row['dropped']}" if row["dropped"] else ""
            values = ", ".join(f"{key} {value:g}" for key, value in row["values"].items())
            yield escape(f"  {row['table']} {row['method']}: {values or 'no values'}{why}")


def _causes(audit: Audit) -> Iterator[Table | str]:
    if audit.causes is None:
        return
    if not audit.causes:
        yield "[bold]changed[/]: nothing; it is the same in both revisions"
        return
    table = Table("because of", "what", "before", "after", "enters at", box=None)
    for one in audit.causes:
        cells = (one["kind"], one["what"], one["before"], one["after"], ", ".join(one["stages"]))
        table.add_row(*map(escape, cells))
    yield "[bold]it changed[/]"
    yield table


def _findings(audit: Audit) -> Iterator[str]:
    for finding in sorted(audit.findings):
        colour = _COLOURS[finding.kind]
        yield f"[{colour}]{finding.kind}[/] {escape(f'{finding.where}: {finding.message}')}"


def print_audit(audit: Audit, console: Console) -> None:
    """Print an audit, its verdict last."""
    console.print(f"[bold]{escape(audit.target.name)}[/]")
    parts = (_numbers, _variants, _history, _stages, _training, _split, _assets, _causes, _findings)
    for part in parts:
        for line in part(audit):
            console.print(line, soft_wrap=True)
    if audit.replay is not None:
        console.print(escape(f"replay: {audit.replay['message']}"), soft_wrap=True)
    broken = sum(finding.kind == "broken" for finding in audit.findings)
    away = sum(finding.kind == "absent" for finding in audit.findings)
    tail = f"; {away} not here" if away else ""
    if broken:
        console.print(f"[red]{broken} broken[/]{tail}")
    else:
        console.print(f"[green]every link holds[/]{tail}")
