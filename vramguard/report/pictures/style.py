"""How a page looks: one sheet, inline, for light and dark, phone, desktop and paper. Nothing is fetched."""

from __future__ import annotations

import base64
import hashlib
from typing import Final

# Okabe and Ito's colours, which people with any of the three colour blindnesses can tell apart, and the ink that can
# be read on each. They serve both themes: every segment is outlined, and no meaning rests on a colour alone.
PALETTE: Final = (
    ("#0072b2", "#ffffff"),
    ("#e69f00", "#000000"),
    ("#009e73", "#000000"),
    ("#cc79a7", "#000000"),
    ("#56b4e9", "#000000"),
    ("#d55e00", "#000000"),
    ("#f0e442", "#000000"),
    ("#8c8c8c", "#000000"),
)
LIGHT: Final = {
    "bg": "#ffffff",
    "soft": "#f3f5f8",
    "line": "#cdd4dc",
    "ink": "#161b22",
    "dim": "#515b66",
    "fits": "#0b6b3a",
    "exceeds": "#a8201a",
    "unknown": "#7a5200",
    "curve": "#0b5ea8",
    "budget": "#a8201a",
}
DARK: Final = {
    "bg": "#0f141a",
    "soft": "#182029",
    "line": "#35414d",
    "ink": "#e8edf2",
    "dim": "#a7b2bd",
    "fits": "#5fd394",
    "exceeds": "#ff9a8f",
    "unknown": "#f0c35a",
    "curve": "#74b9ff",
    "budget": "#ff9a8f",
}

_RULES: Final = """
*{box-sizing:border-box}
html{color-scheme:light dark;-webkit-text-size-adjust:100%}
body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1180px;margin:0 auto;padding:24px 16px 48px}
h1,h2,h3,p,dl,figure,table,li,code,td,th{overflow-wrap:anywhere}
h1{font-size:1.6rem;line-height:1.2;margin:0 0 4px;unicode-bidi:isolate}
h2{font-size:1.2rem;margin:40px 0 8px;padding-bottom:4px;border-bottom:1px solid var(--line)}
h3{font-size:1rem;margin:24px 0 8px}
p{margin:8px 0;max-width:80ch}
code{font:0.875em/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;unicode-bidi:isolate}
.dim,figcaption{color:var(--dim);font-size:.9rem}
.answer{border:1px solid var(--line);border-left:8px solid var(--tone);background:var(--soft);border-radius:6px;
padding:16px;margin:20px 0}
.answer p{margin:0;font-size:1.05rem;max-width:none}
.answer strong{color:var(--tone);font-size:1.5rem;line-height:1.2;display:block;letter-spacing:.02em}
.fits{--tone:var(--fits)}.exceeds{--tone:var(--exceeds)}.unknown{--tone:var(--unknown)}
.word{color:var(--tone);font-weight:600;white-space:nowrap}
.keys{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:16px 0 0}
.keys div,.pairs div{min-width:0}
.keys dt,.pairs dt{color:var(--dim);font-size:.85rem}
.keys dd{margin:0;font-size:1.15rem;font-weight:600;font-variant-numeric:tabular-nums}
.keys small{display:block;font-size:.8rem;font-weight:400;color:var(--dim)}
.pairs{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(220px,100%),1fr));gap:10px 24px;margin:12px 0}
.pairs dd,.rows dd{margin:0}
.rows{margin:12px 0}.rows div{display:grid;grid-template-columns:minmax(180px,28%) 1fr;gap:4px 16px;padding:6px 0;
border-bottom:1px solid var(--line)}
.rows div:last-child{border-bottom:0}.rows dt{color:var(--dim);font-size:.9rem}
.wide{overflow-x:auto;margin:12px 0;border:1px solid var(--line);border-radius:6px}
.wide:focus-visible,summary:focus-visible,a:focus-visible{outline:3px solid var(--curve);outline-offset:2px}
table{border-collapse:collapse;width:100%;font-size:.9rem}
.wide table{white-space:nowrap;border-collapse:separate;border-spacing:0}
.wide thead th{white-space:normal;vertical-align:bottom}
.wide .w{white-space:normal;min-width:120px}
.wide th,.wide td{overflow-wrap:normal}
th,td{padding:6px 10px;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}
tbody tr:last-child>*{border-bottom:0}
thead th{background:var(--soft);font-size:.85rem}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
tr.sum>*{border-top:2px solid var(--line);font-weight:600}
tr.now{background:var(--soft)}
a{color:var(--curve)}
details{margin:8px 0}summary{cursor:pointer;padding:6px 0}
ol,ul{padding-left:1.4em;margin:8px 0}li{margin:3px 0}
svg{display:block;max-width:100%}
svg text{font-family:inherit;fill:var(--ink)}
.key{display:inline-block;width:14px;height:14px;vertical-align:-2px;margin-right:8px}
figure{margin:12px 0}
.bar{width:100%;height:124px}
.bar text{font-size:13px}
.bar .in{font-size:12.5px;font-weight:600;paint-order:stroke;stroke-width:4px}
.seg,.key rect{stroke:var(--ink);stroke-width:1}
.room{fill:none;stroke:var(--line);stroke-width:1}
.cap{stroke:var(--ink);stroke-width:2}
.bud{stroke:var(--budget);stroke-width:2.5;stroke-dasharray:7 4}
svg .tb{fill:var(--budget);font-weight:600}
.range{stroke:var(--ink);stroke-width:1.5}
.curves{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(400px,100%),1fr));gap:24px;margin:12px 0}
.curves figure{margin:0;min-width:0;max-width:540px}
.chart{width:100%;height:auto}
.chart text{font-size:12.5px}
.chart .tick{fill:var(--dim);font-size:12px}
.chart .halo{paint-order:stroke;stroke:var(--bg);stroke-width:4px;stroke-linejoin:round}
.grid{stroke:var(--line);stroke-width:1;opacity:.6}
.band{fill:var(--curve);opacity:.2}
.hi{fill:none;stroke:var(--curve);stroke-width:2.25}
.lo{fill:none;stroke:var(--curve);stroke-width:1.75;stroke-dasharray:4 3}
.dot{fill:var(--curve)}.hit{fill:transparent}
.lead{stroke:var(--ink);stroke-width:1;stroke-dasharray:2 3}
.mark{fill:var(--bg);stroke:var(--ink);stroke-width:2}
.strip{width:96px;height:16px}
.strip .used{fill:var(--tone)}
@media (max-width:700px){
main{padding:16px 16px 40px}.wide th,.wide td{padding:6px 7px}
.wide th[scope=row]{white-space:normal;min-width:124px;position:sticky;left:0;background:var(--bg)}
.wide .now th[scope=row]{background:var(--soft)}h1{font-size:1.35rem}.answer{padding:12px}
.stack,.stack tbody,.stack tr,.stack th,.stack td{display:block;width:100%}
.stack thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.stack tr{padding:8px 0;border-bottom:1px solid var(--line)}
.stack th,.stack td{border:0;padding:2px 10px}
.stack td.n,.stack td.s{display:inline-block;width:auto;padding-right:4px}
.stack td.s:empty{display:none}
.stack td[data-label]::before{content:attr(data-label) ": ";color:var(--dim)}
.stack .n{text-align:left;white-space:normal}
.roomy{display:none}.rows div{grid-template-columns:1fr}
}
@media (min-width:701px){
.stack{table-layout:fixed}
.stack .c0{width:24%}.stack .c2,.stack .c3{width:15%}.stack .c4{width:92px}.stack .c5{width:76px}
}
@media print{
main{max-width:none;padding:0}h2,h3{break-after:avoid}figure,.answer,tr{break-inside:avoid}
.wide{overflow:visible;font-size:10px}.wide table{white-space:normal}.wide th[scope=row]{white-space:nowrap}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
}
"""


def _variables(colours: dict[str, str]) -> str:
    return "{" + "".join(f"--{name}:{value};" for name, value in colours.items()) + "}"


def _sheet() -> str:
    slots = "".join(
        f".g{slot}{{fill:{fill}}}svg .i{slot}{{fill:{ink};stroke:{fill}}}" for slot, (fill, ink) in enumerate(PALETTE)
    )
    dark = f"@media screen and (prefers-color-scheme:dark){{:root{_variables(DARK)}}}"
    return f":root{_variables(LIGHT)}{dark}{slots}{_RULES}"


SHEET: Final = _sheet()
# Nothing is loaded, run or sent: only this very sheet is applied, and no other that a page might be made to hold.
POLICY: Final = (
    "default-src 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(SHEET.encode()).digest()).decode()
    + "'; base-uri 'none'; form-action 'none'"
)
