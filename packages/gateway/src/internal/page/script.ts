/**
 * The script of the live page, in the JavaScript that browsers run: it reads the feed, and writes text, never markup, so that
 * no name of a key or a model can be more than a name. `test/Page.test.ts` type-checks it.
 */
export const script = `"use strict";
(() => {
  /** @param {string} id @returns {any} */
  const $ = (id) => document.getElementById(id);
  const store = "evenkeel-gateway-token";
  /** How far the server's clock is ahead of this one, in milliseconds. */
  let ahead = 0;
  /** @type {any} */
  let last;

  const locale = navigator.language;
  /** @param {number} digits */
  const fixed = (digits) => new Intl.NumberFormat(locale, { maximumFractionDigits: digits });
  const whole = fixed(0), tenths = fixed(1);
  /** @param {number | null | undefined} usd */
  const money = (usd) => {
    if (usd == null) return "\\u2013";
    const small = Math.abs(usd) < 0.1 && usd !== 0;
    return "$" + usd.toLocaleString(locale, small ? { maximumSignificantDigits: 3 } : { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  };
  /** @param {number} ms */
  const span = (ms) => {
    const s = Math.max(0, Math.ceil(ms / 1000));
    if (s < 100) return s + " s";
    if (s < 6000) return Math.round(s / 60) + " min";
    return s < 172800 ? Math.round(s / 3600) + " h" : Math.round(s / 86400) + " days";
  };
  /** @param {number} ms */
  const took = (ms) => (ms < 1000 ? whole.format(ms) + " ms" : tenths.format(ms / 1000) + " s");
  const clock = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const now = () => Date.now() + ahead;

  /** @param {Element} node @param {string} text */
  const say = (node, text) => { if (node.textContent !== text) node.textContent = text; };
  /** @param {string} tag @param {string} [text] @param {string} [name] */
  const make = (tag, text, name) => {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    if (name !== undefined) node.className = name;
    return node;
  };
  /**
   * One child for each item, kept as long as its item is, so that a reader does not lose their place.
   * @param {HTMLElement} parent @param {any[]} items @param {(item: any) => unknown} keyOf
   * @param {() => HTMLElement} create @param {(node: any, item: any) => void} fill
   */
  const each = (parent, items, keyOf, create, fill) => {
    const old = new Map();
    for (const child of Array.from(parent.children)) old.set(child.getAttribute("data-key"), child);
    items.forEach((item, i) => {
      const key = String(keyOf(item));
      let node = old.get(key);
      old.delete(key);
      if (node === undefined) { node = create(); node.setAttribute("data-key", key); }
      fill(node, item);
      if (parent.children[i] !== node) parent.insertBefore(node, parent.children[i] || null);
    });
    for (const node of old.values()) node.remove();
  };
  /** @param {string[]} labels */
  const row = (labels) => () => {
    const tr = make("tr");
    labels.forEach((label, i) => {
      const cell = make(i === 0 ? "th" : "td");
      if (i === 0) cell.setAttribute("scope", "row"); else cell.setAttribute("data-label", label);
      cell.append(make("span"), make("small"));
      tr.append(cell);
    });
    return tr;
  };
  /** @param {any} tr @param {number} i @param {string} text @param {string} [more] */
  const cell = (tr, i, text, more = "") => {
    const [main, small] = tr.children[i].children;
    say(main, text);
    say(small, more);
    small.hidden = more === "";
    return main;
  };
  /** @param {Element} node @param {string} state @param {string} [name] */
  const mark = (node, state, name) => {
    node.setAttribute("data-state", state);
    if (name !== undefined) node.className = name;
  };

  const busy = ["saturated", "paced", "warming", "probing", "draining"];
  /** @param {number | null | undefined} until */
  const left = (until) => (until == null ? "" : until - now() > 3e9 * 1000 ? "until further notice" : "back in " + span(until - now()));
  const keyRow = row(["Key", "State", "In flight", "Credit", "Latency", "Served", "Failed", "Spent"]);
  /** @param {any} tr @param {any} key */
  const fillKey = (tr, key) => {
    cell(tr, 0, key.id, [key.account, key.tier ? "tier " + key.tier : ""].filter(Boolean).join(", "));
    const scope = key.scope && key.scope !== "key" && key.scope !== "request" ? " (" + key.scope + ")" : "";
    const state = cell(tr, 1, key.reason ? key.reason + scope : "ready", key.reason ? left(key.until) : "");
    mark(state, !key.reason ? "good" : busy.includes(key.reason) ? "waiting" : "bad", "state");
    cell(tr, 2, whole.format(key.inFlight) + (key.maxInFlight == null ? "" : " of " + whole.format(key.maxInFlight)));
    const capped = key.creditLimit > 0 && key.credit != null;
    const resets = key.creditResetsAt == null ? "" : "filled up in " + span(key.creditResetsAt - now());
    const credit = key.credit == null ? "uncapped, or not known" : money(key.credit) + (capped ? " of " + money(key.creditLimit) : "");
    cell(tr, 3, credit, [resets, key.creditStale ? "old reading" : "", key.burnRate > 0 ? money(key.burnRate) + " an hour" : ""].filter(Boolean).join(", "));
    let meter = tr.children[3].querySelector("meter");
    if (capped && meter === null) { meter = make("meter"); tr.children[3].append(meter); }
    if (meter !== null) {
      meter.hidden = !capped;
      meter.setAttribute("aria-label", "credit left of " + key.id);
      if (capped) { meter.max = key.creditLimit; meter.low = key.creditLimit / 5; meter.high = key.creditLimit / 2; meter.optimum = key.creditLimit; meter.value = Math.max(0, key.credit); }
    }
    cell(tr, 4, key.latency == null ? "\\u2013" : took(key.latency));
    cell(tr, 5, whole.format(key.succeeded));
    cell(tr, 6, whole.format(key.faulted), key.ignored ? whole.format(key.ignored) + " of the callers' own" : "");
    cell(tr, 7, money(key.spent));
  };

  const pastRow = row(["When", "Outcome", "Model", "Key", "Attempts", "Took", "Tokens", "Cost"]);
  /** @param {any} tr @param {any} past */
  const fillPast = (tr, past) => {
    cell(tr, 0, clock.format(past.at));
    const outcome = cell(tr, 1, past.status === 499 ? "gone" : past.code ? past.status + " " + past.code : String(past.status));
    mark(outcome, past.status === 499 ? "waiting" : past.code ? "bad" : "good", "state");
    cell(tr, 2, past.model || "\\u2013", past.route.replace("/v1/", "") + (past.stream ? ", streamed" : ""));
    cell(tr, 3, past.keyId || "\\u2013");
    cell(tr, 4, past.attempts ? whole.format(past.attempts) : "\\u2013");
    cell(tr, 5, took(past.durationMillis));
    cell(tr, 6, past.tokens ? whole.format(past.tokens) : "\\u2013");
    cell(tr, 7, money(past.cost));
  };

  /** @param {any} e */
  const told = (e) => {
    const of = (e.scope === "key" ? "" : e.scope + " ") + e.id + (e.within ? " for " + e.within : "");
    switch (e._tag) {
      case "Settled": return e.keyId + " failed: " + [e.outcome.class || e.outcome.reason, e.outcome.status].filter(Boolean).join(", ");
      case "Hedged": return "No answer for " + took(e.delayMillis) + ": a second copy is sent";
      case "Queued": return "A request waits for a key";
      case "Refused": return "No key could serve a request: " + e.keys.map((/** @type {any} */ key) => key.keyId + " " + key.reason).join(", ");
      case "TimedOut": return "The deadline of a request has passed";
      case "Benched": return of + " is benched: " + e.reason;
      case "Readmitted": return of + " is back";
      default: return e.keyId + ": " + e._tag.replace(/([a-z])([A-Z])/g, "$1 $2").toLowerCase();
    }
  };

  const svg = "http://www.w3.org/2000/svg";
  /** @param {any[]} minute */
  const chart = (minute) => {
    const most = Math.max(1, ...minute.map((s) => s.requests));
    const bars = minute.flatMap((s, x) => {
      const bad = s.failures / most * 78, good = s.requests / most * 78 - bad;
      return [{ name: "ok", x, y: 80 - bad - good, height: good }, { name: "no", x, y: 80 - bad, height: bad }];
    });
    while ($("chart").children.length < bars.length) $("chart").append(document.createElementNS(svg, "rect"));
    bars.forEach(({ name, x, y, height }, n) => {
      const rect = $("chart").children[n];
      rect.setAttribute("class", name);
      rect.setAttribute("x", x * 10 + 1); rect.setAttribute("width", 8);
      rect.setAttribute("y", y); rect.setAttribute("height", height);
    });
    say($("caption"), "Requests of the last minute, second by second; at most " + whole.format(most) + " in one.");
  };

  const draw = () => {
    const f = last;
    if (f === undefined) return;
    const over = f.minute.slice(-11, -1);
    /** @param {any[]} of @param {string} name */
    const sum = (of, name) => of.reduce((all, s) => all + s[name], 0);
    say($("rate"), tenths.format(sum(over, "requests") / over.length));
    say($("inwork"), whole.format(f.inFlight));
    say($("waiting"), whole.format(f.waiting));
    const asked = sum(f.minute, "requests"), failed = sum(f.minute, "failures");
    say($("failed"), whole.format(failed) + (asked ? " of " + whole.format(asked) : ""));
    say($("tokens"), whole.format(sum(f.minute, "tokens")));
    say($("cost"), money(f.total.cost));
    chart(f.minute);
    each($("keys").tBodies[0], f.keys, (key) => key.id, keyRow, fillKey);
    $("more").hidden = f.keyCount === f.keys.length;
    say($("more"), "And " + whole.format(f.keyCount - f.keys.length) + " more.");
    $("no-benches").hidden = f.benches.length > 0;
    each($("benches"), f.benches, (b) => b.scope + " " + b.id + " " + b.within, () => { const li = make("li"); li.append(make("b"), make("span")); return li; }, (li, b) => {
      say(li.children[0], b.until == null ? "" : span(b.until - now()));
      say(li.children[1], b.scope + " " + b.id + (b.within ? " for " + b.within : "") + ": " + b.reason);
    });
    $("no-recent").hidden = f.recent.length > 0;
    $("recent").hidden = f.recent.length === 0;
    each($("recent").tBodies[0], f.recent, (past) => past.id, pastRow, fillPast);
    $("no-events").hidden = f.events.length > 0;
    each($("events"), f.events, (e) => e.n, () => { const li = make("li"); li.append(make("time"), make("span")); return li; }, (li, e) => {
      say(li.children[0], clock.format(e.at));
      say(li.children[1], told(e));
    });
    const ready = f.keys.filter((/** @type {any} */ key) => !key.reason || busy.slice(0, 4).includes(key.reason)).length;
    const text = f.draining ? "Draining" : ready === 0 ? "No key can serve" : ready === f.keys.length ? "Ready" : "Ready, with " + ready + " of " + f.keys.length + " keys";
    say($("status"), text);
    mark($("status"), f.draining ? "waiting" : ready === 0 ? "bad" : "good");
    $("main").hidden = false;
  };

  /** @param {boolean} wrong */
  const ask = (wrong) => {
    sessionStorage.removeItem(store);
    $("main").hidden = true;
    $("door").hidden = false;
    say($("status"), wrong ? "This token is none" : "A token is needed");
    mark($("status"), wrong ? "bad" : "waiting");
    $("token").focus();
  };

  const follow = async () => {
    const token = sessionStorage.getItem(store);
    const response = await fetch("events", { cache: "no-store", headers: token === null ? {} : { authorization: "Bearer " + token } });
    if (response.status === 401) { ask(token !== null); return true; }
    if (!response.ok || response.body === null) throw new Error(String(response.status));
    $("door").hidden = true;
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return false;
      const parts = (text + value).split("\\n\\n");
      text = parts.pop() || "";
      const data = parts.pop();
      if (data === undefined) continue;
      last = JSON.parse(data.slice(6));
      ahead = last.at - Date.now();
      draw();
    }
  };

  const run = async () => {
    for (let wait = 1000; ; wait = Math.min(wait * 2, 15000)) {
      const since = Date.now();
      try { if (await follow()) return; } catch { /* Said below. */ }
      if (Date.now() - since > 5000) wait = 1000;
      say($("status"), "Not connected, trying again");
      mark($("status"), "bad");
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  };

  $("door").addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    // What no header can hold is no token.
    const token = $("token").value.trim();
    if (!/^[\\x21-\\x7e]+$/.test(token)) { ask(true); return; }
    sessionStorage.setItem(store, token);
    $("token").value = "";
    void run();
  });
  void run();
})();
`
