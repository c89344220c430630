"""The style sheet of the picture: plain rules, so that viewers which know no variables show it too."""

from __future__ import annotations

LIGHT = {
    "ink": "#1c2330",
    "soft": "#576174",
    "line": "#8c96a8",
    "face": "#ffffff",
    "edge": "#a9b2c1",
    "frame": "#f5f7fa",
    "list": "#ffffff",
    "rim": "#d3d9e2",
    "completed": "#1a7340",
    "failed": "#b3261e",
    "running": "#1a5fb4",
    "waiting": "#8a5300",
    "cancelled": "#5b5f66",
    "compensated": "#75399e",
    "failed-face": "#fdecea",
    "running-face": "#e9f1fc",
    "waiting-face": "#fdf3dd",
}
DARK = {
    "ink": "#e8ebf1",
    "soft": "#a5afc0",
    "line": "#7d8798",
    "face": "#212734",
    "edge": "#566074",
    "frame": "#181d27",
    "list": "#1d2330",
    "rim": "#39414f",
    "completed": "#6fd39a",
    "failed": "#ff9d94",
    "running": "#8fbcff",
    "waiting": "#f2bf62",
    "cancelled": "#aeb4bf",
    "compensated": "#d3a4f5",
    "failed-face": "#3a1f20",
    "running-face": "#1c2c46",
    "waiting-face": "#362a14",
}
_FONT = 'system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans KR","Noto Sans CJK KR","Apple SD Gothic Neo",sans-serif'
_MONO = 'ui-monospace,"SFMono-Regular",Menlo,Consolas,"Noto Sans Mono CJK KR",monospace'
_SHAPES = f"""
.flow-graph{{font-family:{_FONT};font-size:11.5px}}
.flow-graph .title{{font-size:14px;font-weight:600}}
.flow-graph .detail{{font-family:{_MONO};font-size:10.5px}}
.flow-graph .label{{font-weight:600}}
.flow-graph .hit{{fill:none;pointer-events:all}}
.flow-graph .sign,.flow-graph .state-sign,.flow-graph .arrow,.flow-graph .aside-line{{fill:none}}
.flow-graph .sign{{stroke-width:1.4;stroke-linejoin:round;stroke-linecap:round}}
.flow-graph .state-sign{{stroke-width:2.2;stroke-linejoin:round;stroke-linecap:round}}
.flow-graph .arrow{{stroke-width:1.5}}
.flow-graph .aside-line,.flow-graph .aside{{stroke-dasharray:5 4}}
.flow-graph .face{{stroke-width:1.3}}
.flow-graph .state{{font-weight:600}}
.flow-graph .is-failed .face,.flow-graph .frame.is-failed{{stroke-width:2.6}}
.flow-graph .is-running .face,.flow-graph .frame.is-running,.flow-graph .is-waiting .face,
.flow-graph .frame.is-waiting{{stroke-width:2.2}}
.flow-graph .is-skipped .face,.flow-graph .is-pending .face,.flow-graph .frame.is-skipped,
.flow-graph .frame.is-pending{{stroke-dasharray:4 3}}
.flow-graph .is-cancelled .face,.flow-graph .frame.is-cancelled{{stroke-dasharray:9 4}}
.flow-graph a:hover .title{{text-decoration:underline}}
"""
_STATES = ("completed", "failed", "running", "waiting", "cancelled", "compensated")


def _colours(of: dict[str, str]) -> str:
    rules = [
        f".flow-graph text{{fill:{of['ink']}}}",
        f".flow-graph .type,.flow-graph .detail,.flow-graph .label{{fill:{of['soft']}}}",
        f".flow-graph .sign{{stroke:{of['soft']}}}",
        f".flow-graph .arrow{{stroke:{of['line']}}}.flow-graph .tip{{fill:{of['line']}}}",
        f".flow-graph .aside-line{{stroke:{of['line']}}}",
        f".flow-graph .face{{fill:{of['face']};stroke:{of['edge']}}}",
        f".flow-graph .frame{{fill:{of['frame']};stroke:{of['edge']}}}",
        f".flow-graph .frame.list,.flow-graph .frame.aside{{fill:{of['list']};stroke:{of['rim']}}}",
        f".flow-graph .state-sign{{stroke:{of['soft']}}}.flow-graph .state{{fill:{of['soft']}}}",
        f".flow-graph .is-skipped .title,.flow-graph .is-pending .title{{fill:{of['soft']}}}",
    ]
    for state in _STATES:
        rules += [
            f".flow-graph .is-{state} .face,.flow-graph .frame.is-{state}{{stroke:{of[state]}}}",
            f".flow-graph .is-{state} .state-sign{{stroke:{of[state]}}}",
            f".flow-graph .is-{state} .state{{fill:{of[state]}}}",
        ]
        if f"{state}-face" in of:
            rules.append(f".flow-graph .is-{state} .face{{fill:{of[f'{state}-face']}}}")
    return "\n".join(rules)


STYLE = f"{_SHAPES}{_colours(LIGHT)}\n@media (prefers-color-scheme:dark){{\n{_colours(DARK)}\n}}\n"
"""Rules for everything inside ``.flow-graph``."""
