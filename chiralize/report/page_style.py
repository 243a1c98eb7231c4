"""Colours and layout of the HTML page. Words and shapes say all that a colour says."""

from __future__ import annotations

LIGHT = {
    "ground": "#ffffff",
    "panel": "#f3f5f7",
    "ink": "#1f2328",
    "soft": "#535c66",
    "line": "#d0d7de",
    "edge": "#6b7580",
    "accent": "#0b5cad",
    "good": "#176f2c",
    "warning": "#855700",
    "failed": "#a2240c",
    "step0": "#eaf2f8",
    "step1": "#a9d3ea",
    "step2": "#f0c75e",
    "step3": "#e8803a",
    "step4": "#b3200e",
}
DARK = {
    "ground": "#14181d",
    "panel": "#1f262d",
    "ink": "#e6e9ee",
    "soft": "#adb7c1",
    "line": "#3a434c",
    "edge": "#8994a0",
    "accent": "#7fb4f0",
    "good": "#5fd08a",
    "warning": "#f0b647",
    "failed": "#ff8f77",
    "step0": "#2a3744",
    "step1": "#2f6f94",
    "step2": "#b98a1f",
    "step3": "#e0742c",
    "step4": "#ff5a45",
}
_LAYOUT = """
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,sans-serif;margin:0;color:var(--ink);background:var(--ground)}
header,main,footer{max-width:64rem;margin:0 auto;padding:0 1rem}
header{padding-top:1.2rem}footer{padding-top:1rem;padding-bottom:2rem;color:var(--soft)}
h1{font-size:1.3rem;margin:0 0 .6rem;overflow-wrap:anywhere}
h2{font-size:1.1rem;margin:0;overflow-wrap:anywhere}h3{font-size:1rem;margin:1rem 0 .3rem}
section,details{margin:1.6rem 0;border-top:1px solid var(--line);padding-top:.8rem}
section>h2{margin-bottom:.5rem}p{margin:.35rem 0;overflow-wrap:anywhere}.hint{color:var(--soft)}
a{color:var(--accent)}code{overflow-wrap:anywhere}
summary{cursor:pointer}summary h3{display:inline}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
.badge{display:inline-block;padding:0 .6rem;border-radius:1rem;color:var(--ground);font-size:1rem;white-space:nowrap}
.badge.is-good{background:var(--good)}.badge.is-warning{background:var(--warning)}.badge.is-failed{background:var(--failed)}
.sentence{font-size:1.1rem;margin:0;padding:.7rem 1rem;border-left:.4rem solid var(--good);background:var(--panel)}
.sentence.is-warning{border-color:var(--warning)}.sentence.is-failed{border-color:var(--failed)}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(13rem,1fr));gap:.6rem;margin:.8rem 0 0}
.facts div{background:var(--panel);padding:.5rem .8rem}.facts dt{color:var(--soft)}.facts dd{margin:0;font-weight:600}
.facts dd .note{display:block;font-weight:400;color:var(--soft)}
.good{color:var(--good)}.bad{color:var(--failed)}.unsure{color:var(--warning)}.icon{font-weight:700}
ul.warnings{list-style:none;margin:.3rem 0;padding:0}.warnings li{margin:.4rem 0;padding:.4rem .8rem;
border-left:.3rem solid var(--warning);background:var(--panel)}.warnings b{color:var(--warning)}
.scroll{overflow-x:auto;margin:.5rem 0}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}caption{text-align:left;color:var(--soft)}
th,td{padding:.15rem .9rem .15rem 0;text-align:left;vertical-align:top}th{color:var(--soft);font-weight:600}
.r{text-align:right}td.r{white-space:nowrap}.unseen{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.bars{margin:.5rem 0;display:grid;grid-template-columns:minmax(5rem,2fr) 3fr minmax(3rem,auto);gap:.1rem .6rem}
.bars span{overflow-wrap:anywhere;font-size:.9rem}.bars .track{position:relative;height:.8rem;align-self:center;
background:var(--panel);border-bottom:1px solid var(--edge)}
.bars i{position:absolute;left:0;top:0;bottom:0;background:var(--accent)}
.bars .over{background:var(--failed)}
.bars b{position:absolute;top:-.2rem;bottom:-.2rem;border-left:2px dashed var(--ink)}
.pictures{display:flex;flex-wrap:wrap;gap:1rem 2rem}figure{margin:0;flex:1 1 20rem;max-width:min(26rem,100%)}
figcaption{margin:.2rem 0}
figure.beside{flex:1 1 100%;max-width:none;display:flex;flex-wrap:wrap;align-items:center;gap:0 2rem}
.beside svg{flex:0 1 26rem}.beside figcaption{flex:1 1 16rem;max-width:30rem}
svg{display:block;width:100%;height:auto}img{max-width:100%;background:#fff}
svg text{font:12px system-ui,sans-serif;fill:var(--ink)}svg .soft{fill:var(--soft)}svg .strong{font-weight:700}
svg text.halo{paint-order:stroke;stroke:var(--ground);stroke-width:3px}
.bone{stroke:var(--edge);stroke-width:2}.joint{stroke:var(--ink);stroke-width:1}.joint.small{stroke-width:.4}
.axis{stroke:var(--edge)}.grid{stroke:var(--line)}.even{stroke:var(--edge);stroke-dasharray:5 4}
.band{fill:var(--step1);opacity:.55}.median{stroke:var(--edge);stroke-width:2;fill:none}
.other{fill:var(--ground);stroke:var(--ink);stroke-width:2}.here{stroke:var(--accent);stroke-width:4}
.here.unknown{stroke-dasharray:3 5}.spot{fill:var(--accent);stroke:var(--ground);stroke-width:1.5}
.curve{fill:none;stroke:var(--accent);stroke-width:2}.curve.second{stroke:var(--ink);stroke-dasharray:6 4}
.mark{stroke:var(--edge);stroke-dasharray:2 2}
.key{display:flex;flex-wrap:wrap;gap:.2rem 1rem;list-style:none;margin:.3rem 0;padding:0}
.key svg{display:inline-block;width:20px;height:20px;vertical-align:-5px;margin-right:.3rem}
@media print{details>*{display:block}}
"""


def style() -> str:
    """The style sheet of a page, light or dark as the reader's system is."""
    steps = "".join(f".step{step}{{fill:var(--step{step})}}" for step in range(5))
    return (
        f":root{{color-scheme:light dark;{_variables(LIGHT)}}}\n"
        f"@media(prefers-color-scheme:dark){{:root{{{_variables(DARK)}}}}}{_LAYOUT}{steps}\n"
    )


def _variables(colours: dict[str, str]) -> str:
    """Colours as CSS variables: `--ink:#1f2328;`."""
    return "".join(f"--{name}:{colour};" for name, colour in colours.items())
