/** The style of the live page: light and dark, wide and narrow. States are told by words, and only helped by colour. */
export const style = `
:root {
  color-scheme: light dark;
  --paper: #f6f7f9; --card: #ffffff; --ink: #17202b; --soft: #566375; --line: #dde2e9;
  --blue: #1d63c9; --good: #17713b; --good-bg: #dff3e6; --wait: #8a5300; --wait-bg: #fdeecf; --bad: #b02a2a; --bad-bg: #fbe3e1;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #11161d; --card: #1a212b; --ink: #e8edf3; --soft: #9dabbc; --line: #2c3643;
    --blue: #6ea8ff; --good: #7ddba0; --good-bg: #143524; --wait: #f4c675; --wait-bg: #3b2d10; --bad: #ff9d96; --bad-bg: #431f1f;
  }
}
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body { margin: 0 auto; padding: 1.25rem; max-width: 76rem; background: var(--paper); color: var(--ink);
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; font-variant-numeric: tabular-nums; }
header { display: flex; flex-wrap: wrap; align-items: center; justify-content: space-between; gap: .5rem 1rem; margin-bottom: 1rem; }
h1 { margin: 0; font-size: 1.35rem; letter-spacing: -.01em; }
h1 span { color: var(--soft); font-weight: 400; }
h2 { margin: 0 0 .75rem; font-size: 1rem; }
section, form { background: var(--card); border: 1px solid var(--line); border-radius: .75rem; padding: 1rem 1.1rem; margin-bottom: 1rem; }
.note { margin: 0; color: var(--soft); }
#status, .state { display: inline-block; margin: 0; padding: .1rem .6rem; border-radius: 1rem; font-size: .87rem; font-weight: 600; white-space: nowrap;
  color: var(--wait); background: var(--wait-bg); }
[data-state=good] { color: var(--good) !important; background: var(--good-bg) !important; }
[data-state=bad] { color: var(--bad) !important; background: var(--bad-bg) !important; }
form { display: flex; flex-wrap: wrap; align-items: center; gap: .6rem; }
form label { font-weight: 600; }
form .note { flex-basis: 100%; }
input, button { font: inherit; color: inherit; padding: .4rem .7rem; border: 1px solid var(--soft); border-radius: .45rem; background: var(--paper); }
input { flex: 1 1 14rem; min-width: 0; }
button { background: var(--blue); border-color: var(--blue); color: var(--card); font-weight: 600; cursor: pointer; }
:focus-visible { outline: 3px solid var(--blue); outline-offset: 2px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem; margin: 0 0 1rem; }
.tiles dt { color: var(--soft); font-size: .85rem; }
.tiles dd { margin: 0; font-size: 1.5rem; font-weight: 600; letter-spacing: -.02em; overflow-wrap: anywhere; }
figure { margin: 0; }
figcaption { color: var(--soft); font-size: .85rem; margin-top: .35rem; }
#chart { display: block; width: 100%; height: 5rem; border-bottom: 1px solid var(--line); }
#chart .ok { fill: var(--blue); } #chart .no { fill: var(--bad); }
table { width: 100%; border-collapse: collapse; }
th { text-align: left; color: var(--soft); font-size: .85rem; font-weight: 500; }
th, td { padding: .4rem .6rem .4rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
tbody tr:last-child > * { border-bottom: 0; }
tbody th { color: var(--ink); font-size: 1rem; font-weight: 600; overflow-wrap: anywhere; }
td small, th small { display: block; color: var(--soft); font-weight: 400; font-size: .85rem; }
td { overflow-wrap: anywhere; }
meter { display: block; width: 100%; max-width: 9rem; height: .6rem; margin-top: .2rem; }
ul, ol { margin: 0; padding: 0; list-style: none; }
#events, #benches { display: grid; gap: .3rem; }
#events li, #benches li { display: grid; grid-template-columns: 6.5rem 1fr; gap: .75rem; overflow-wrap: anywhere; }
#events time, #benches b { color: var(--soft); font-weight: 400; }
.pair { display: grid; grid-template-columns: 2fr 3fr; gap: 1rem; }
#events { max-height: 19rem; overflow-y: auto; }
@media (max-width: 46rem) {
  body { padding: .75rem; }
  .pair { display: block; }
  .tiles { grid-template-columns: 1fr 1fr; }
  table, tbody, tr, td, tbody th { display: block; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  tbody tr { padding: .6rem 0; border-bottom: 1px solid var(--line); }
  tbody tr:last-child { border-bottom: 0; }
  th, td { border: 0; padding: .12rem 0; }
  td { display: grid; grid-template-columns: 6.5rem 1fr; gap: 0 .5rem; }
  td::before { content: attr(data-label); color: var(--soft); font-size: .87rem; }
  td > * { grid-column: 2; justify-self: start; }
  #recent tr { display: flex; flex-wrap: wrap; align-items: baseline; gap: .1rem .7rem; padding: .5rem 0; }
  #recent td { display: block; }
  #recent td::before { content: none; }
  #recent td[data-label=Attempts], #recent td[data-label=Tokens] { display: none; }
  #recent td small { display: inline; margin-left: .4rem; }
  #events li, #benches li { grid-template-columns: 1fr; gap: 0; }
}
`
