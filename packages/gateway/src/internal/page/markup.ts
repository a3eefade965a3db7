/** The document of the live page. Style and script stand where the comments are. */
export const markup = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Evenkeel gateway</title>
<link rel="icon" href="data:,">
<style>/* style */</style>
</head>
<body>
<header>
  <h1>Evenkeel <span>gateway</span></h1>
  <p id="status" role="status" data-state="waiting">Connecting</p>
</header>
<noscript><p class="note">This page needs JavaScript. The same is told by <code>/ready</code> and <code>/metrics</code>.</p></noscript>
<form id="door" hidden>
  <label for="token">Client token</label>
  <input id="token" type="password" autocomplete="off" spellcheck="false" required aria-describedby="token-note">
  <button>Show</button>
  <p id="token-note" class="note">It stays in this tab, and is sent to this gateway alone.</p>
</form>
<main id="main" hidden>
  <section aria-labelledby="traffic">
    <h2 id="traffic">Traffic</h2>
    <dl class="tiles">
      <div><dt>Requests per second</dt><dd id="rate"></dd></div>
      <div><dt>In work</dt><dd id="inwork"></dd></div>
      <div><dt>Waiting for a key</dt><dd id="waiting"></dd></div>
      <div><dt>Failed, last minute</dt><dd id="failed"></dd></div>
      <div><dt>Tokens per minute</dt><dd id="tokens"></dd></div>
      <div><dt>Cost, since the start</dt><dd id="cost"></dd></div>
    </dl>
    <figure>
      <svg id="chart" viewBox="0 0 600 80" preserveAspectRatio="none" role="img" aria-labelledby="caption"></svg>
      <figcaption id="caption"></figcaption>
    </figure>
  </section>
  <section aria-labelledby="keys-title">
    <h2 id="keys-title">Keys</h2>
    <table id="keys">
      <thead><tr><th scope="col">Key</th><th scope="col">State</th><th scope="col">In flight</th><th scope="col">Credit</th><th scope="col">Latency</th><th scope="col">Served</th><th scope="col">Failed</th><th scope="col">Spent</th></tr></thead>
      <tbody></tbody>
    </table>
    <p id="more" class="note" hidden></p>
  </section>
  <div class="pair">
  <section aria-labelledby="benches-title">
    <h2 id="benches-title">Benches</h2>
    <p id="no-benches" class="note">No model, and not OpenRouter itself: only keys, if any, as above.</p>
    <ul id="benches"></ul>
  </section>
  <section aria-labelledby="events-title">
    <h2 id="events-title">What happened</h2>
    <p id="no-events" class="note">Nothing worth telling.</p>
    <ol id="events" tabindex="0" aria-labelledby="events-title"></ol>
  </section>
  </div>
  <section aria-labelledby="recent-title">
    <h2 id="recent-title">Last requests</h2>
    <p id="no-recent" class="note">None yet.</p>
    <table id="recent">
      <thead><tr><th scope="col">When</th><th scope="col">Outcome</th><th scope="col">Model</th><th scope="col">Key</th><th scope="col">Attempts</th><th scope="col">Took</th><th scope="col">Tokens</th><th scope="col">Cost</th></tr></thead>
      <tbody></tbody>
    </table>
  </section>
</main>
<script>/* script */</script>
</body>
</html>
`
